//! What left the directory of resources: named, and deleted if the operator asks for that. The
//! [inventory](crate::inventory) is written last, so that what fails to be deleted stays in it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::owner::Owners;
use super::{Action, Left, Limits, Operation, Plan, Reason, object};
use crate::desired::Note;
use crate::inventory::{key, read, write};
use crate::object::Key;
use crate::observed::Observed;

/// Adds deletions, if asked for and within limits, and the inventory itself.
pub(super) fn add(
    plan: &mut Plan,
    registered: &BTreeSet<Key>,
    observed: &Observed,
    limits: &Limits,
) {
    let live = observed.objects.get(&key());
    let known: Vec<Key> = live.map(read).unwrap_or_default();
    let gone: Vec<(&Key, &Value)> = known
        .iter()
        .filter(|known| !registered.contains(known))
        .filter(|known| !registered.iter().any(|key| is_same(key, known)))
        .filter_map(|key| Some((key, observed.objects.get(key)?)))
        .collect();
    let allowed = limits
        .prune_limit
        .unwrap_or_else(|| (known.len() / 10).max(1));
    let mut kept = registered.clone();
    let mut deleted = Vec::new();
    for (key, object) in &gone {
        match deletion(key, object, observed, limits, gone.len(), allowed) {
            Ok(Some(operation)) => {
                deleted.push((*key).clone());
                plan.operations.push(operation);
            }
            Ok(None) => {
                kept.insert((*key).clone());
            }
            Err(why) => {
                kept.insert((*key).clone());
                plan.left.push(Left {
                    key: (*key).clone(),
                    reason: Reason::Blocked { why },
                });
            }
        }
    }
    if !gone.is_empty() && !limits.prune {
        let objects = gone.iter().map(|(key, _)| (*key).clone()).collect();
        plan.notes.push(Note::Unregistered { objects });
    }
    let decision = object::decide(write(&kept), "configmaps", live, deleted, false);
    plan.operations.extend(decision.operation);
    plan.left.extend(decision.left);
}

/// The deletion of one object, None when deleting is not asked for, or why it must not be.
fn deletion(
    key: &Key,
    object: &Value,
    observed: &Observed,
    limits: &Limits,
    gone: usize,
    allowed: usize,
) -> Result<Option<Operation>, String> {
    if !limits.prune {
        return Ok(None);
    }
    if gone > allowed {
        return Err(format!(
            "{gone} objects are registered no longer, and at most {allowed} are deleted at once; \
             if the directory is right, say --prune-limit {gone}"
        ));
    }
    if TOO_MUCH.contains(&key.kind.as_str()) {
        return Err(format!(
            "a {} takes with it all that is in it; delete it by hand",
            key.kind
        ));
    }
    if !Owners::of(object).have_we_applied() {
        return Err("somebody else has made it anew; it is not ours to delete".to_owned());
    }
    let kind = observed
        .kinds
        .of(key)
        .ok_or_else(|| "the API server does not know its kind any more".to_owned())?;
    let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
    Ok(Some(Operation {
        key: key.clone(),
        plural: kind.plural.clone(),
        action: Action::Delete {
            uid: uid.to_owned(),
        },
        reason: Reason::Unregistered,
        changes: Vec::new(),
        depends_on: Vec::new(),
    }))
}

/// Whether both name one object, in whatever version of its group.
fn is_same(a: &Key, b: &Key) -> bool {
    let group = |key: &Key| {
        let (group, _) = key.api_version.split_once('/')?;
        Some(group.to_owned())
    };
    a.kind == b.kind && a.namespace == b.namespace && a.name == b.name && group(a) == group(b)
}

/// Deleting these deletes what the operator may not have thought of.
const TOO_MUCH: [&str; 2] = ["CustomResourceDefinition", "Namespace"];
