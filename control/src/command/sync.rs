//! `control sync`: plan and carry out, once.

use std::process::ExitCode;

use daemon::exit::Failure;

use super::{block_on, connect, read_wish};
use crate::apply::Report;
use crate::cli::{self, Flags, Format};
use crate::client::Server;
use crate::holder;
use crate::output::{self, json, text};
use crate::record::Scribe;
use crate::sync::{Pen, Scope, SyncError, idle, sync};
use crate::wish::Wish;

pub(super) fn run(flags: &Flags, options: &cli::Limits) -> Result<ExitCode, Failure> {
    let report = block_on(async {
        let wish = read_wish(flags, options)?;
        let server = connect(flags, &wish.cluster).await?;
        if let Some(other) = holder::other(&server).await.map_err(failed)? {
            return Err(failed(holder::refused(&other)));
        }
        // A look at what is as wanted writes nothing, not even the Lease.
        match idle(&server, &wish).await.map_err(Failure::failed)? {
            Some(report) => Ok(report),
            None => write(flags, &server, &wish).await,
        }
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

/// Makes the cluster as wished, while it holds the Lease.
async fn write(flags: &Flags, server: &Server, wish: &Wish) -> Result<Report, Failure> {
    let by = super::instance();
    let held = holder::holding(server, &by, async |until| {
        let pen = Pen {
            scope: Scope::Cluster,
            scribe: &Scribe::new(&by),
            may_write: &|| holder::may_write(until),
        };
        sync(server, wish, &pen, |outcome| match flags.output {
            Format::Text => output::print(&text::outcome(outcome)),
            Format::Json => Ok(()),
        })
        .await
    });
    let synced = held.await.map_err(failed)?;
    synced.map_err(|error| match error {
        SyncError::Unread(error) => Failure::failed(error),
        SyncError::Lost => failed(
            "stopped in the middle: the Lease kube-system/cke-control could not be kept; run it again"
                .to_owned(),
        ),
        SyncError::Untold(error) => Failure::failed(error),
    })
}

fn failed(why: String) -> Failure {
    Failure::failed(anyhow::anyhow!(why))
}
