//! `control plan`: what `sync` would do. It only ever reads.

use std::process::ExitCode;

use daemon::exit::Failure;

use super::{block_on, connect, observe, read_cluster};
use crate::cli::{self, Flags, Format};
use crate::desired::desired;
use crate::output::{self, json, text};
use crate::plan::{Plan, plan};

pub(super) fn run(flags: &Flags, options: &cli::Plan) -> Result<ExitCode, Failure> {
    let plan = block_on(make(flags)).map_err(|failure| failure.or_code(FAILED))?;
    let text = match flags.output {
        Format::Text => text::plan(&plan, options.verbose),
        Format::Json => json::plan(&plan),
    };
    output::print(&text).map_err(|error| Failure::with_code(FAILED, error))?;
    Ok(if plan.operations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(CHANGES)
    })
}

async fn make(flags: &Flags) -> Result<Plan, Failure> {
    let cluster = read_cluster(flags)?;
    let server = connect(flags, &cluster).await?;
    let observed = observe(&server, &cluster).await?;
    Ok(plan(desired(&cluster, &observed), &observed))
}

/// The plan is not empty, in the manner of `kubectl diff`.
const CHANGES: u8 = 1;
/// There is no plan.
const FAILED: u8 = 3;
