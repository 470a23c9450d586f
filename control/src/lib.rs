//! control: reconciles a cluster's own resources from one cluster.yml.

mod cli;
mod command;
mod demo;

use std::ffi::OsString;
use std::process::ExitCode;

use cli::{Cli, Command};
use daemon::exit::Failure;

/// Runs the command line `args`, the program's name first.
///
/// # Errors
/// The command line is wrong, or what it asks for failed.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Result<ExitCode, Failure> {
    let cli: Cli = match daemon::exit::parse(args) {
        Ok(cli) => cli,
        Err(ended) => return ended,
    };
    match cli.command {
        Command::Demo(args) => command::demo::run(&args),
        Command::DemoPart(args) => command::demo::run_part(args),
    }
}
