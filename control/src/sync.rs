//! From what is wanted to what was done: observe, decide, carry out.
//!
//! "Once" may take two rounds: some objects can only be written when the cluster
//! has answered to others (nodedns' configuration names a ClusterIP that the
//! first round brought about). What was tried in the first round is not tried
//! again.

use std::collections::BTreeSet;

use crate::apply::{self, End, Outcome, Report};
use crate::client::{RequestError, Server};
use crate::desired::{self, Note, webhook};
use crate::encryption::Encryption;
use crate::object::Key;
use crate::observe;
use crate::observed::{Authority, Observed};
use crate::plan::{Left, Operation, Plan, Reason, plan};
use crate::record::Scribe;
use crate::wish::Wish;

/// What is written, whether it still may be, and who writes it down.
pub(crate) struct Pen<'a> {
    pub(crate) scope: Scope,
    pub(crate) may_write: &'a dyn Fn() -> bool,
    pub(crate) scribe: &'a Scribe,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All.
    Cluster,
    /// All but the endpoints, which somebody else in this process keeps.
    AllButEndpoints,
}

/// Reads the cluster and decides; writes nothing.
pub(crate) async fn decide(server: &Server, wish: &Wish) -> Result<Plan, RequestError> {
    Ok(read(server, wish).await?.1)
}

/// The same, with what was read.
pub(crate) async fn read(server: &Server, wish: &Wish) -> Result<(Observed, Plan), RequestError> {
    let observed = observe::observe(server, wish).await?;
    let plan = decided(server, wish, &observed).await;
    Ok((observed, plan))
}

/// What is to be told when nothing is to be written; None when something is, or may be.
pub(crate) async fn idle(server: &Server, wish: &Wish) -> Result<Option<Report>, RequestError> {
    let (observed, plan) = read(server, wish).await?;
    let is_blocked = |left: &Left| matches!(left.reason, Reason::Blocked { .. });
    if !plan.operations.is_empty()
        || plan.left.iter().any(is_blocked)
        || observed.encryption.done().is_some()
        || webhook::is_asked_for(wish.resources.as_ref())
    {
        return Ok(None);
    }
    let mut report = Report::default();
    report.left = plan.left;
    report.notes = plan.notes;
    Ok(Some(report))
}

/// Makes the cluster as wished; `done` hears of each outcome as it comes.
pub(crate) async fn sync<E>(
    server: &Server,
    wish: &Wish,
    pen: &Pen<'_>,
    mut done: impl FnMut(&Outcome) -> Result<(), E>,
) -> Result<Report, SyncError<E>> {
    let mut observed = observe::observe(server, wish)
        .await
        .map_err(SyncError::Unread)?;
    if !(pen.may_write)() {
        return Err(SyncError::Lost);
    }
    // A second round does not try the endpoints again.
    let mut report = Report::default();
    report
        .notes
        .extend(tend_authority(wish, &mut observed).await);
    tend_encryption(server, wish, &mut observed).await;
    round(server, wish, pen, &observed, &mut report, &mut done).await?;
    let waiting: Vec<_> = report.notes.iter().filter_map(waits).cloned().collect();
    if waiting.is_empty() || report.outcomes.is_empty() {
        return Ok(report);
    }
    match observe::observe(server, wish).await {
        Ok(observed) => round(server, wish, pen, &observed, &mut report, &mut done).await?,
        // The first round has been carried out and must be reported, come what may.
        Err(error) => {
            for key in waiting {
                let end = End::Failed(error.to_string());
                let warnings = Vec::new();
                add(Outcome { key, end, warnings }, &mut report, &mut done)?;
            }
        }
    }
    Ok(report)
}

/// Why there is no report.
pub(crate) enum SyncError<E> {
    /// The cluster could not be read.
    Unread(RequestError),
    /// We may write no more: the Lease is lost, or the program ends.
    Lost,
    /// Nobody takes the outcomes any more.
    Untold(E),
}

/// Makes the authority for webhooks where one is asked for, or lets the replacement of one
/// go on, before anything is decided from it. Where secrets are from now on is to be known.
async fn tend_authority(wish: &Wish, observed: &mut Observed) -> Option<Note> {
    let resources = wish.resources.as_ref();
    let is_unknown = matches!(observed.authority, Authority::Unknown { .. });
    if is_unknown || !webhook::is_asked_for(resources) {
        return None;
    }
    let progress = webhook::progress(resources, observed);
    let tended = match wish.store.tend(progress, observed.now).await {
        Ok(trust) => Authority::Trusted(trust),
        Err(error) => Authority::Unknown {
            why: error.to_string(),
        },
    };
    match (
        std::mem::replace(&mut observed.authority, tended),
        &observed.authority,
    ) {
        (Authority::Missing { store }, Authority::Trusted(_)) => {
            Some(Note::AuthorityMade { store })
        }
        _ => None,
    }
}

/// Writes down that a step of a rotation of the encryption key is done, once every API server
/// has proven it, before anything is decided for the next one.
async fn tend_encryption(server: &Server, wish: &Wish, observed: &mut Observed) {
    let Some(step) = observed.encryption.done() else {
        return;
    };
    observed.encryption = match wish.store.advance_key(step).await {
        Ok(()) => observe::encryption(server, wish).await,
        Err(error) => Encryption::Unknown {
            why: error.to_string(),
        },
    };
}

async fn decided(server: &Server, wish: &Wish, observed: &Observed) -> Plan {
    let desired = desired::desired(&wish.cluster, wish.resources.as_ref(), observed);
    let plan = plan(desired, observed, &wish.limits);
    observe::refine(server, plan, observed).await
}

/// Plans from `observed` and carries out what has not been tried yet.
async fn round<E>(
    server: &Server,
    wish: &Wish,
    pen: &Pen<'_>,
    observed: &Observed,
    report: &mut Report,
    done: &mut impl FnMut(&Outcome) -> Result<(), E>,
) -> Result<(), SyncError<E>> {
    let plan = decided(server, wish, observed).await;
    // What an earlier round found out in passing is to be known, too.
    report.notes.retain(|note| {
        matches!(
            note,
            Note::Fought { .. } | Note::Unrecorded { .. } | Note::AuthorityMade { .. }
        )
    });
    report.notes.extend(plan.notes);
    report.notes.dedup();
    report.left = plan.left;
    let blocked: Vec<_> = report
        .left
        .extract_if(.., |left| matches!(left.reason, Reason::Blocked { .. }))
        .collect();
    for left in blocked {
        if let Reason::Blocked { why } = left.reason
            && !report.has(&left.key)
        {
            let outcome = Outcome {
                key: left.key,
                end: End::Failed(why),
                warnings: Vec::new(),
            };
            add(outcome, report, done)?;
        }
    }
    let elsewhere = match pen.scope {
        Scope::Cluster => BTreeSet::new(),
        Scope::AllButEndpoints => desired::endpoint_keys(),
    };
    let operations: Vec<_> = plan
        .operations
        .into_iter()
        .filter(|operation| !report.has(&operation.key) && !elsewhere.contains(&operation.key))
        .collect();
    if operations.is_empty() {
        return Ok(());
    }
    if !(pen.may_write)() {
        return Err(SyncError::Lost);
    }
    let batch = match pen.scribe.begin(server, &operations).await {
        Ok(batch) => Some(batch),
        Err(error) => {
            let why = error.to_string();
            report.notes.push(Note::Unrecorded { why });
            None
        }
    };
    let first = report.outcomes.len();
    let carried_out = carry_out(server, wish, operations, pen, report, done).await;
    if let Some(batch) = batch {
        let outcomes = &report.outcomes[first..];
        // Whoever begins next calls them cut off.
        let _ = batch.end(server, outcomes).await;
    }
    carried_out
}

async fn carry_out<E>(
    server: &Server,
    wish: &Wish,
    operations: Vec<Operation>,
    pen: &Pen<'_>,
    report: &mut Report,
    done: &mut impl FnMut(&Outcome) -> Result<(), E>,
) -> Result<(), SyncError<E>> {
    for operation in operations {
        if !(pen.may_write)() {
            return Err(SyncError::Lost);
        }
        let outcome = apply::apply(server, wish, operation, report).await;
        add(outcome, report, done)?;
    }
    Ok(())
}

fn add<E>(
    outcome: Outcome,
    report: &mut Report,
    done: &mut impl FnMut(&Outcome) -> Result<(), E>,
) -> Result<(), SyncError<E>> {
    done(&outcome).map_err(SyncError::Untold)?;
    report.add(outcome);
    Ok(())
}

const fn waits(note: &Note) -> Option<&Key> {
    match note {
        Note::Waits { object, .. } => Some(object),
        _ => None,
    }
}
