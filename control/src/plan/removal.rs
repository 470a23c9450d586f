//! Nodes that are in no cluster.yml any more: which are removed, and which guard keeps
//! one.

use super::{Action, Left, Limits, Operation, Plan, Reason};
use crate::desired::{MASTER, Members};
use crate::object::Key;
use crate::observed::{Observed, SeenNode};

/// Adds the removals to the plan, or says why they are not done.
pub(super) fn add(plan: &mut Plan, members: &Members, observed: &Observed, limits: &Limits) {
    let is_member = |name: &str, node: &SeenNode| {
        members.names.contains(name)
            || node
                .addresses
                .iter()
                .any(|address| members.addresses.contains(address))
    };
    let gone: Vec<_> = observed
        .nodes
        .iter()
        .filter(|(name, node)| !is_member(name, node))
        .collect();
    let allowed = limits
        .remove_nodes
        .unwrap_or_else(|| (observed.nodes.len() / 10).max(1));
    let keeps_control_plane = observed
        .nodes
        .iter()
        .any(|(name, node)| is_member(name, node) && is_ready_control_plane(node));
    for (name, node) in &gone {
        let why = if gone.len() > allowed {
            Some(format!(
                "{} of {} Nodes are not in cluster.yml, and at most {allowed} are removed at \
                 once; if cluster.yml is right, say --remove-nodes {}",
                gone.len(),
                observed.nodes.len(),
                gone.len()
            ))
        } else if is_ready_control_plane(node) && !keeps_control_plane {
            Some(
                "it is the last ready Node of the control plane; it is removed once one of \
                 cluster.yml's is ready"
                    .to_owned(),
            )
        } else {
            None
        };
        let key = Key::node(name);
        match why {
            Some(why) => plan.left.push(Left {
                key,
                reason: Reason::Blocked { why },
            }),
            None => plan.operations.push(Operation {
                key,
                plural: "nodes".to_owned(),
                action: Action::RemoveNode {
                    uid: node.uid.clone(),
                    drain: limits.drain,
                },
                reason: Reason::Unregistered,
                changes: Vec::new(),
                depends_on: Vec::new(),
            }),
        }
    }
}

fn is_ready_control_plane(node: &SeenNode) -> bool {
    node.ready && node.labels.contains_key(MASTER)
}
