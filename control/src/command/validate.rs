//! `control validate`: cluster.yml and the resources read and checked, no server asked.

use std::process::ExitCode;

use daemon::exit::Failure;

use super::{read_cluster, read_resources};
use crate::cli::{Flags, Format};
use crate::output::{self, json, text};

pub(super) fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let cluster = read_cluster(flags)?;
    let resources = read_resources(flags)?;
    let text = match flags.output {
        Format::Text => text::cluster(&flags.cluster, &cluster, resources.as_ref()),
        Format::Json => json::cluster(&cluster, resources.as_ref()),
    };
    output::print(&text).map_err(Failure::failed)?;
    Ok(ExitCode::SUCCESS)
}
