//! `control sync`: plan and carry out, once.

use std::process::ExitCode;

use daemon::exit::Failure;

use super::{block_on, connect, read_wish};
use crate::cli::{self, Flags, Format};
use crate::holder::{holding, may_write};
use crate::output::{self, json, text};
use crate::sync::{Pen, SyncError, sync};

pub(super) fn run(flags: &Flags, options: &cli::Limits) -> Result<ExitCode, Failure> {
    let report = block_on(async {
        let wish = read_wish(flags, options)?;
        let server = connect(flags, &wish.cluster).await?;
        let by = super::instance();
        let held = holding(&server, &by, async |until| {
            let pen = Pen {
                by: &by,
                may_write: &|| may_write(until),
            };
            sync(&server, &wish, &pen, |outcome| match flags.output {
                Format::Text => output::print(&text::outcome(outcome)),
                Format::Json => Ok(()),
            })
            .await
        });
        let synced = held.await.map_err(failed)?;
        synced.map_err(|error| match error {
            SyncError::Unread(error) => Failure::failed(error),
            SyncError::Lost => failed(
                "stopped in the middle: the Lease kube-system/cke-control could not be kept; run it \
                 again"
                    .to_owned(),
            ),
            SyncError::Untold(error) => Failure::failed(error),
        })
    })?;
    let end = match flags.output {
        Format::Text => text::report(&report),
        Format::Json => json::report(&report),
    };
    output::print(&end).map_err(Failure::failed)?;
    if report.is_success() {
        Ok(ExitCode::SUCCESS)
    } else {
        // Each failure has been named in its line.
        Err(Failure::reported(1))
    }
}

fn failed(why: String) -> Failure {
    Failure::failed(anyhow::anyhow!(why))
}
