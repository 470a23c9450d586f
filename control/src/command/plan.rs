//! `control plan`: what `sync` would do. It only ever reads.

use std::process::ExitCode;

use daemon::exit::Failure;

use super::{block_on, connect, read_wish};
use crate::cli::{self, Flags, Format};
use crate::output::{self, json, text};
use crate::plan::Plan;
use crate::sync;

pub(super) fn run(flags: &Flags, options: &cli::Plan) -> Result<ExitCode, Failure> {
    let plan = block_on(make(flags, options)).map_err(|failure| failure.or_code(FAILED))?;
    let text = match flags.output {
        Format::Text => text::plan(&plan, options.verbose),
        Format::Json => json::plan(&plan),
    };
    output::print(&text).map_err(|error| Failure::with_code(FAILED, error))?;
    Ok(if plan.is_converged() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(CHANGES)
    })
}

async fn make(flags: &Flags, options: &cli::Plan) -> Result<Plan, Failure> {
    let wish = read_wish(flags, &options.limits)?;
    let server = connect(flags, &wish.cluster).await?;
    sync::decide(&server, &wish).await.map_err(Failure::failed)
}

/// The plan is not empty, in the manner of `kubectl diff`.
const CHANGES: u8 = 1;
/// There is no plan.
const FAILED: u8 = 3;
