//! `control sync`: plan and carry out, once.
//!
//! "Once" may take two rounds: some objects can only be written when the cluster
//! has answered to others (nodedns' configuration names a ClusterIP that the
//! first round brought about). What was tried in the first round is not tried
//! again.

use std::collections::BTreeSet;
use std::process::ExitCode;

use daemon::exit::Failure;

use super::{block_on, connect, observe, read_cluster};
use crate::apply::{self, Report};
use crate::cli::{Flags, Format};
use crate::client::Server;
use crate::cluster::Cluster;
use crate::desired::{Note, desired};
use crate::output::{self, json, text};
use crate::plan::plan;

pub(super) fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let report = block_on(async {
        let cluster = read_cluster(flags)?;
        let server = connect(flags, &cluster).await?;
        sync(&server, &cluster, flags.output).await
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

async fn sync(server: &Server, cluster: &Cluster, format: Format) -> Result<Report, Failure> {
    let mut report = Report::default();
    for _ in 0..ROUNDS {
        let observed = observe(server, cluster).await?;
        let mut plan = plan(desired(cluster, &observed), &observed);
        let tried: BTreeSet<_> = report.outcomes.iter().map(|o| o.key.clone()).collect();
        plan.operations
            .retain(|operation| !tried.contains(&operation.key));
        let waits = plan
            .notes
            .iter()
            .any(|note| matches!(note, Note::Waits { .. }));
        let again = waits && !plan.operations.is_empty();
        report.notes.clone_from(&plan.notes);
        for operation in plan.operations {
            let outcome = apply::apply(server, operation, &report.outcomes).await;
            if format == Format::Text {
                output::print(&text::outcome(&outcome)).map_err(Failure::failed)?;
            }
            report.outcomes.push(outcome);
        }
        if !again {
            break;
        }
    }
    Ok(report)
}

/// The first brings about what the second waits for; nothing waits longer.
const ROUNDS: usize = 2;
