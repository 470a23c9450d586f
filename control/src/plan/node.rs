//! What a Node must be given, and what taken away.
//!
//! kubelet and others write the same object: labels and annotations are merged
//! by key, so that nobody's edit is lost. Taints are one list that only a whole
//! new list can change; the patch therefore holds for the version that was read,
//! and `apply` makes a new one when somebody was faster.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Taint as LiveTaint;
use serde_json::{Map, Value, json};

use super::diff::Change;
use super::field_path::FieldPath;
use super::{Action, Operation, Reason};
use crate::cluster::Taint;
use crate::desired::{WantedNode, is_synchronised};
use crate::object::Key;
use crate::observed::SeenNode;

/// A patch of one Node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodePatch {
    /// What it is for: from this a new patch can be made.
    pub wanted: WantedNode,
    /// A JSON merge patch; with the resourceVersion when it replaces the taints.
    pub body: Value,
}

/// What to do about the Node; None when it is as wanted.
pub(super) fn operation(wanted: WantedNode, live: &SeenNode) -> Option<Operation> {
    let (patch, changes) = patch(wanted, live)?;
    Some(Operation {
        key: Key::node(&patch.wanted.name),
        plural: "nodes".to_owned(),
        action: Action::PatchNode(patch),
        reason: Reason::Drift {
            fields: changes.iter().map(|c| c.field.to_string()).collect(),
            by: Vec::new(),
        },
        changes,
        depends_on: Vec::new(),
    })
}

/// The patch that makes `live` as wanted, and what it changes; None when there is
/// nothing to change.
pub(crate) fn patch(wanted: WantedNode, live: &SeenNode) -> Option<(NodePatch, Vec<Change>)> {
    let labels = pairs("labels", &wanted.labels, &live.labels);
    let annotations = wanted
        .annotations
        .iter()
        .map(|(key, value)| (key.clone(), Some(value.clone())))
        .collect();
    let annotations = pairs("annotations", &annotations, &live.annotations);
    let mut body = json!({});
    for (map, changes) in [("annotations", &annotations), ("labels", &labels)] {
        if !changes.is_empty() {
            body["metadata"][map] = changes
                .iter()
                .map(|(key, change)| (key.clone(), json!(change.desired)))
                .collect::<Map<_, _>>()
                .into();
        }
    }
    let mut changes: Vec<_> = [annotations, labels]
        .into_iter()
        .flatten()
        .map(|(_, change)| change)
        .collect();
    let taints = taints(&wanted.taints, &live.taints);
    // `taints` keeps the order of what is there, so that any difference is a change.
    if taints != live.taints {
        body["metadata"]["resourceVersion"] = json!(live.resource_version);
        body["spec"]["taints"] = json!(taints);
        changes.push(Change {
            field: FieldPath::of(&["spec", "taints"]),
            live: Some(json!(live.taints)),
            desired: Some(json!(taints)),
        });
    }
    (!changes.is_empty()).then_some((NodePatch { wanted, body }, changes))
}

/// The keys whose value is not as wanted; a wanted None must not be there.
fn pairs(
    map: &str,
    wanted: &BTreeMap<String, Option<String>>,
    live: &BTreeMap<String, String>,
) -> Vec<(String, Change)> {
    wanted
        .iter()
        .filter(|(key, value)| live.get(*key) != value.as_ref())
        .map(|(key, value)| {
            let change = Change {
                field: FieldPath::of(&["metadata", map, key]),
                live: live.get(key).map(|value| json!(value)),
                desired: value.as_ref().map(|value| json!(value)),
            };
            (key.clone(), change)
        })
        .collect()
}

/// The whole list as it ought to be: live taints that nobody asked to change keep
/// their place, a key that cluster.yml names is cluster.yml's alone.
fn taints(wanted: &[Taint], live: &[LiveTaint]) -> Vec<LiveTaint> {
    let is_wanted = |taint: &LiveTaint| wanted.iter().any(|want| says_the_same(want, taint));
    let is_named = |taint: &LiveTaint| wanted.iter().any(|want| want.key == taint.key);
    let kept: Vec<LiveTaint> = live
        .iter()
        .filter(|taint| is_wanted(taint) || !(is_named(taint) || is_synchronised(&taint.key)))
        .cloned()
        .collect();
    let new: Vec<LiveTaint> = wanted
        .iter()
        .filter(|want| !kept.iter().any(|taint| says_the_same(want, taint)))
        .map(|want| LiveTaint {
            key: want.key.clone(),
            value: Some(want.value.clone()).filter(|value| !value.is_empty()),
            effect: want.effect.to_string(),
            time_added: None,
        })
        .collect();
    [kept, new].concat()
}

fn says_the_same(wanted: &Taint, live: &LiveTaint) -> bool {
    wanted.key == live.key
        && wanted.effect.as_str() == live.effect
        && wanted.value == live.value.as_deref().unwrap_or_default()
}
