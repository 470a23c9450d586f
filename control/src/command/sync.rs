//! `control sync`: plan and carry out, once.

use std::process::ExitCode;

use daemon::exit::Failure;

use super::{block_on, connect, read_wish};
use crate::cli::{self, Flags, Format};
use crate::keeper::keeper;
use crate::output::{self, json, text};
use crate::sync::{Pen, SyncError, sync};

pub(super) fn run(flags: &Flags, options: &cli::Limits) -> Result<ExitCode, Failure> {
    let report = block_on(async {
        let wish = read_wish(flags, options)?;
        let server = connect(flags, &wish.cluster).await?;
        if let Some(keeper) = keeper(&server).await.map_err(failed)? {
            return Err(failed(format!(
                "`control run` ({keeper}) keeps this cluster; change its files, or stop it first"
            )));
        }
        let by = super::instance();
        let pen = Pen {
            by: &by,
            may_write: &|| true,
        };
        let synced = sync(&server, &wish, &pen, |outcome| match flags.output {
            Format::Text => output::print(&text::outcome(outcome)),
            Format::Json => Ok(()),
        });
        synced.await.map_err(|error| match error {
            SyncError::Unread(error) => Failure::failed(error),
            SyncError::Lost => Failure::failed(anyhow::anyhow!("stopped")),
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
