//! `control validate`: cluster.yml read and checked, no server asked.

use std::process::ExitCode;

use daemon::exit::Failure;

use super::read_cluster;
use crate::cli::{Flags, Format};
use crate::output::{self, json, text};

pub(super) fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let cluster = read_cluster(flags)?;
    let text = match flags.output {
        Format::Text => text::cluster(&flags.cluster, &cluster),
        Format::Json => json::cluster(&cluster),
    };
    output::print(&text).map_err(Failure::failed)?;
    Ok(ExitCode::SUCCESS)
}
