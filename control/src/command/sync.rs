//! `control sync`: plan and carry out, once.
//!
//! "Once" may take two rounds: some objects can only be written when the cluster
//! has answered to others (nodedns' configuration names a ClusterIP that the
//! first round brought about). What was tried in the first round is not tried
//! again.

use std::process::ExitCode;

use daemon::exit::Failure;

use super::{block_on, connect, read_cluster};
use crate::apply::{self, End, Outcome, Report};
use crate::cli::{Flags, Format};
use crate::client::Server;
use crate::cluster::Cluster;
use crate::desired::{Note, desired};
use crate::object::Key;
use crate::observe;
use crate::observed::Observed;
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
    let observed = super::observe(server, cluster).await?;
    let mut report = Report::default();
    round(server, cluster, &observed, format, &mut report).await?;
    let waiting: Vec<_> = report.notes.iter().filter_map(waits).cloned().collect();
    if waiting.is_empty() || report.outcomes.is_empty() {
        return Ok(report);
    }
    match observe::observe(server, cluster).await {
        Ok(observed) => round(server, cluster, &observed, format, &mut report).await?,
        // The first round has been carried out and must be reported, come what may.
        Err(error) => {
            for key in waiting {
                let end = End::Failed(error.to_string());
                done(Outcome { key, end }, format, &mut report)?;
            }
        }
    }
    Ok(report)
}

/// Plans from `observed` and carries out what has not been tried yet.
async fn round(
    server: &Server,
    cluster: &Cluster,
    observed: &Observed,
    format: Format,
    report: &mut Report,
) -> Result<(), Failure> {
    let plan = plan(desired(cluster, observed), observed);
    report.notes = plan.notes;
    for operation in plan.operations {
        if !report.has(&operation.key) {
            let outcome = apply::apply(server, operation, &report.outcomes).await;
            done(outcome, format, report)?;
        }
    }
    Ok(())
}

fn done(outcome: Outcome, format: Format, report: &mut Report) -> Result<(), Failure> {
    if format == Format::Text {
        output::print(&text::outcome(&outcome)).map_err(Failure::failed)?;
    }
    report.outcomes.push(outcome);
    Ok(())
}

const fn waits(note: &Note) -> Option<&Key> {
    match note {
        Note::Waits { object, .. } => Some(object),
        _ => None,
    }
}
