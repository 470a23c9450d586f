//! The command line of control.

use crate::command::demo;
use crate::demo::PartArgs;

/// Reconciles a cluster's own resources from one cluster.yml
#[derive(Debug, clap::Parser)]
#[command(name = "control", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show rivers and nodedns at work on this machine, without root and without a cluster
    Demo(demo::Args),
    /// Part of the demo, started by it
    #[command(hide = true)]
    DemoPart(PartArgs),
}
