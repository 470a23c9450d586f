//! Who keeps the cluster, how it is, and what was done last.

use serde_json::Value;

use crate::client::{RequestError, Server};
use crate::kind::Kinds;
use crate::lease;
use crate::observe::{self, Health};
use crate::plan::Plan;
use crate::record::{self, Record};
use crate::ssh::Ssh;
use crate::sync;
use crate::wish::Wish;
use checks::{Check, Verdict};

pub(crate) mod checks;

/// What `control status` tells.
pub(crate) struct Status {
    /// Who holds the Lease, and when they last said so; None when nobody does.
    pub(crate) holder: Option<(String, String)>,
    pub(crate) health: Health,
    pub(crate) plan: Plan,
    /// What must hold beside it.
    pub(crate) checks: Vec<Check>,
    /// The last operations, the last one last.
    pub(crate) records: Vec<Record>,
}

/// Asks the cluster for all of it, and at most so many records; its nodes, too, where SSH is to
/// lead there.
pub(crate) async fn read(
    server: &Server,
    wish: &Wish,
    ssh: Option<&Result<Ssh, String>>,
    most_records: usize,
) -> Result<Status, RequestError> {
    let (key, kinds) = (lease::key(), Kinds::default());
    let kind = kinds.of(&key).expect("a Lease is Kubernetes' own");
    let lease = server.object(&key, kind).await?;
    let mut records = record::read(server).await?.list;
    records.drain(..records.len().saturating_sub(most_records));
    let (observed, plan) = sync::read(server, wish).await?;
    Ok(Status {
        holder: lease.as_ref().and_then(holder),
        health: observe::health(server, wish).await,
        checks: checks::all(server, wish, &observed, ssh).await,
        plan,
        records,
    })
}

impl Status {
    /// Whether all is as it ought to be, as far as it could be looked at.
    pub(crate) fn is_well(&self) -> bool {
        let is_bad = |check: &Check| check.verdict == Verdict::Bad;
        self.health.is_well() && self.plan.is_converged() && !self.checks.iter().any(is_bad)
    }
}

fn holder(lease: &Value) -> Option<(String, String)> {
    let text = |field: &str| lease["spec"][field].as_str().map(str::to_owned);
    let holder = text("holderIdentity").filter(|holder| !holder.is_empty())?;
    Some((holder, text("renewTime").unwrap_or_default()))
}
