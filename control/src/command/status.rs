//! `control status`: who keeps the cluster, how it is, what was done last.

use std::process::ExitCode;

use daemon::exit::Failure;
use serde_json::Value;

use super::{block_on, connect, read_wish};
use crate::cli::{self, Flags, Format};
use crate::kind::Kinds;
use crate::lease;
use crate::observe::{self, Health};
use crate::output::{self, json, text};
use crate::plan::Plan;
use crate::record::{self, Record};
use crate::sync;

/// What `status` tells.
pub(crate) struct Status {
    /// Who holds the Lease, and when they last said so; None when nobody does.
    pub(crate) holder: Option<(String, String)>,
    pub(crate) health: Health,
    pub(crate) plan: Plan,
    /// The last operations, the last one last.
    pub(crate) records: Vec<Record>,
}

pub(super) fn run(flags: &Flags, options: &cli::Status) -> Result<ExitCode, Failure> {
    let status = block_on(read(flags, options)).map_err(|failure| failure.or_code(FAILED))?;
    let said = match flags.output {
        Format::Text => text::status(&status),
        Format::Json => json::status(&status),
    };
    output::print(&said).map_err(|error| Failure::with_code(FAILED, error))?;
    let is_well = status.health.is_well() && status.plan.is_converged();
    Ok(if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

async fn read(flags: &Flags, options: &cli::Status) -> Result<Status, Failure> {
    let wish = read_wish(flags, &cli::Limits::default())?;
    let server = connect(flags, &wish.cluster).await?;
    let (key, kinds) = (lease::key(), Kinds::default());
    let kind = kinds.of(&key).expect("a Lease is Kubernetes' own");
    let lease = server.object(&key, kind).await.map_err(Failure::failed)?;
    let mut records = record::read(&server).await.map_err(Failure::failed)?.list;
    records.drain(..records.len().saturating_sub(options.records));
    Ok(Status {
        holder: lease.as_ref().and_then(holder),
        health: observe::health(&server, &wish).await,
        plan: sync::decide(&server, &wish)
            .await
            .map_err(Failure::failed)?,
        records,
    })
}

fn holder(lease: &Value) -> Option<(String, String)> {
    let text = |field: &str| lease["spec"][field].as_str().map(str::to_owned);
    let holder = text("holderIdentity").filter(|holder| !holder.is_empty())?;
    Some((holder, text("renewTime").unwrap_or_default()))
}

/// There is no answer.
const FAILED: u8 = 3;
