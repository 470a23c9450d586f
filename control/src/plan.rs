//! What to do: a pure function of what ought to be and what is.
//!
//! [`plan`] turns [`Desired`] and [`Observed`] into operations in CKE's order,
//! each with its reason and the fields that differ. `control plan` prints them;
//! `apply` carries them out. What is not as wanted and is not written either stands in
//! [`Plan::left`], with the reason. An empty plan means that the cluster is as wanted.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::desired::{Desired, Note, Refusal, WantedCertificate};
use crate::kind::Kind;
use crate::object::{Key, Object};
use crate::observed::Observed;

pub use diff::Change;
pub use field_path::{FieldPath, Step};
pub use node::NodePatch;
pub use operation::{Action, Left, Operation};
pub use reason::Reason;
pub use secret::shown;

mod certificate;
mod dependency;
mod diff;
mod encryption;
mod field_path;
mod hold;
mod inventory;
mod node;
mod object;
mod operation;
mod owner;
mod quantity;
mod rank;
mod reason;
mod removal;
mod secret;
mod shape;

pub(crate) use node::patch as node_patch;

/// What to do, in order, and what to know.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Steps, the first to be done first.
    pub operations: Vec<Operation>,
    /// What is not as wanted and is left as it is.
    pub left: Vec<Left>,
    /// What holds wishes back.
    pub notes: Vec<Note>,
}

/// How far a plan may go in taking things away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Delete objects that left the directory of resources.
    pub prune: bool,
    /// At most this many of them; a tenth of all, and at least one, when not said.
    pub prune_limit: Option<usize>,
    /// Remove at most this many Nodes; a tenth of all, and at least one, when not said.
    pub remove_nodes: Option<usize>,
    /// Evict the pods of a Node before it is removed.
    pub drain: bool,
}

/// Compares what ought to be with what is.
#[must_use]
pub fn plan(desired: Desired, observed: &Observed, limits: &Limits) -> Plan {
    let mut plan = Plan {
        left: desired.refused.into_iter().map(refused).collect(),
        notes: desired.notes,
        ..Plan::default()
    };
    let definitions = dependency::Definitions::among(&desired.objects);
    for wanted in desired.objects {
        let certificate = desired.certificates.get(&wanted.key);
        add_object(
            &mut plan,
            wanted,
            certificate,
            &definitions,
            desired.members.count,
            observed,
        );
    }
    let nodes = desired.nodes.into_iter().filter_map(|wanted| {
        let live = observed.nodes.get(&wanted.name)?;
        node::operation(wanted, live)
    });
    plan.operations.extend(nodes);
    removal::add(&mut plan, &desired.members, observed, limits);
    if let Some(registered) = &desired.registered {
        inventory::add(&mut plan, registered, observed, limits);
    }
    encryption::add(&mut plan, &observed.encryption);
    rank::sort(&mut plan.operations);
    plan.left.sort_by(|a, b| a.key.cmp(&b.key));
    plan
}

fn refused(Refusal { key, why }: Refusal) -> Left {
    Left {
        key,
        reason: Reason::Blocked { why },
    }
}

fn add_object(
    plan: &mut Plan,
    wanted: Object,
    certificate: Option<&WantedCertificate>,
    definitions: &dependency::Definitions,
    nodes: usize,
    observed: &Observed,
) {
    let key = wanted.key.clone();
    let mut leave = |reason| {
        plan.left.push(Left {
            key: key.clone(),
            reason,
        });
    };
    let kind = match kind(&wanted, observed) {
        Ok(kind) => kind,
        Err(why) => return leave(Reason::Blocked { why }),
    };
    let depends_on = dependency::dependencies(&wanted, definitions);
    let live = observed.objects.get(&wanted.key);
    let kept = certificate.and_then(|_| certificate::kept(&key, live));
    let certificate = certificate.filter(|_| kept.is_none());
    let decision = object::decide(
        wanted,
        &kind.plural,
        live,
        depends_on,
        certificate.is_some(),
    );
    if let Some(mut operation) = decision.operation {
        if let Some(wanted) = certificate {
            operation = certificate::issue(operation, wanted, live);
        }
        match hold::hold(&key, nodes, observed) {
            Some(held) => leave(held),
            None => plan.operations.push(operation),
        }
    }
    plan.left.extend(decision.left);
    plan.left.extend(kept);
}

/// The kind of an object that can be written, or why it cannot.
fn kind<'a>(wanted: &Object, observed: &'a Observed) -> Result<&'a Kind, String> {
    let Key {
        kind,
        api_version,
        namespace,
        ..
    } = &wanted.key;
    let known = observed.kinds.of(&wanted.key).ok_or_else(|| {
        format!(
            "the API server knows no {kind} in {api_version}; is its CustomResourceDefinition \
             missing? One that is served later can be named in trusted_rest_mappings"
        )
    })?;
    match (known.namespaced, namespace) {
        (true, None) => Err(format!(
            "a {kind} stands in a namespace; give metadata.namespace"
        )),
        (false, Some(_)) => Err(format!(
            "a {kind} has no namespace; remove metadata.namespace"
        )),
        _ => rank::check(&wanted.content, known.namespaced).map(|()| known),
    }
}

impl Plan {
    /// Whether the cluster is as wanted, but for what is rightly somebody else's.
    #[must_use]
    pub fn is_converged(&self) -> bool {
        self.operations.is_empty()
            && self
                .left
                .iter()
                .all(|left| matches!(left.reason, Reason::Conflict { .. }))
    }

    /// The updates that a dry run can tell more about: the server may take what differs
    /// for what it has.
    pub fn doubtful(&self) -> impl Iterator<Item = (&Key, &str, &Value)> {
        self.operations.iter().filter_map(|operation| {
            let Action::Update(content) = &operation.action else {
                return None;
            };
            Some((&operation.key, operation.plural.as_str(), content))
        })
    }

    /// The plan without the updates that would change nothing, as `tried` shows: the
    /// objects that the server made of them in a dry run.
    #[must_use]
    pub fn refined(mut self, tried: &BTreeMap<Key, Value>, observed: &Observed) -> Self {
        self.operations.retain_mut(|operation| {
            let (Some(tried), Some(live)) = (
                tried.get(&operation.key),
                observed.objects.get(&operation.key),
            ) else {
                return true;
            };
            operation
                .changes
                .retain(|change| change.field.find(tried) != change.field.find(live));
            if let Reason::Drift { fields, .. } = &mut operation.reason {
                *fields = operation
                    .changes
                    .iter()
                    .map(|c| c.field.to_string())
                    .collect();
            }
            !operation.changes.is_empty()
        });
        self
    }
}

#[cfg(test)]
mod tests;
