//! One object that is ours: whether it must be written, why, and as which
//! revision; and which of its fields are somebody else's now.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::diff::{Change, differences};
use super::field_path::FieldPath;
use super::owner::Owners;
use super::{Action, Left, Operation, Reason, secret};
use crate::object::{Key, Object};

/// What to do about one object.
#[derive(Debug, Default)]
pub(super) struct Decision {
    pub(super) operation: Option<Operation>,
    pub(super) left: Option<Left>,
}

/// What to do about `wanted`; nothing when `live` is as wanted, unless it is to be written
/// `anyway`.
pub(super) fn decide(
    wanted: Object,
    plural: &str,
    live: Option<&Value>,
    depends_on: Vec<Key>,
    anyway: bool,
) -> Decision {
    let Object { key, mut content } = wanted;
    let plural = plural.to_owned();
    let has_revision = has_revision(&key);
    let Some(live) = live else {
        if has_revision {
            set_revision(&mut content, 1);
        }
        return Decision {
            operation: Some(Operation {
                key,
                plural,
                action: Action::Create(content),
                reason: Reason::Missing,
                changes: Vec::new(),
                depends_on,
            }),
            left: None,
        };
    };
    let owners = Owners::of(live);
    let from = revision(live);
    if has_revision {
        set_revision(&mut content, from.unwrap_or(1));
    }
    let mut leftovers = owners.leftovers(live, &content);
    // What somebody else has written, too, stays whether we drop it or not.
    leftovers.retain(|left| {
        let is_shared = owners.others(&left.field).next().is_some();
        !(is_shared && left.live.as_ref().is_some_and(is_one_value))
    });
    let (theirs, mut changes): (Vec<_>, Vec<_>) = differences(&content, live)
        .into_iter()
        .partition(|change| is_theirs(&owners, change));
    for change in &theirs {
        change.field.remove(&mut content);
    }
    let left = conflict(&key, &owners, &theirs);
    // A field that is still ours and differs is one about which we changed our mind.
    let ours = !leftovers.is_empty() || changes.iter().any(|change| is_ours(&owners, change));
    changes.extend(leftovers);
    if changes.is_empty() && !anyway {
        return Decision {
            operation: None,
            left,
        };
    }
    let image = image(&changes);
    let reason = match from {
        Some(from) if has_revision && (ours || image.is_some()) => {
            let to = from.saturating_add(1);
            set_revision(&mut content, to);
            image.unwrap_or(Reason::Revision { from, to })
        }
        _ => drift(&owners, &changes),
    };
    secret::hide(&key, &mut changes);
    let operation = Some(Operation {
        key,
        plural,
        action: Action::Update(content),
        reason,
        changes,
        depends_on,
    });
    Decision { operation, left }
}

/// CKE counts no revisions of endpoints, which follow the health of servers.
fn has_revision(key: &Key) -> bool {
    let is_endpoints = matches!(key.kind.as_str(), "Endpoints" | "EndpointSlice")
        || key.kind == "Service" && key.name == "cke-etcd";
    let is_control_plane = matches!(key.namespace.as_deref(), Some("default" | "kube-system"))
        && (key.name.starts_with("kubernetes")
            || key.name == "cke-etcd"
            || key.name.starts_with("cke-etcd-ipv"));
    !(is_endpoints && is_control_plane)
}

fn is_one_value(value: &Value) -> bool {
    !(value.is_object() || value.is_array())
}

fn is_ours(owners: &Owners<'_>, change: &Change) -> bool {
    change.live.is_some() && owners.are_we(&change.field)
}

/// The annotations that CKE and control keep are nobody else's to keep.
fn is_theirs(owners: &Owners<'_>, change: &Change) -> bool {
    change.live.is_some()
        && !OWN_ANNOTATIONS
            .iter()
            .any(|own| change.field == FieldPath::of(&["metadata", "annotations", own]))
        && owners.keepers(&change.field).next().is_some()
}

fn conflict(key: &Key, owners: &Owners<'_>, theirs: &[Change]) -> Option<Left> {
    if theirs.is_empty() {
        return None;
    }
    let by: BTreeSet<_> = theirs
        .iter()
        .flat_map(|change| owners.keepers(&change.field))
        .collect();
    Some(Left {
        key: key.clone(),
        reason: Reason::Conflict {
            fields: theirs.iter().map(|c| c.field.to_string()).collect(),
            by: by.into_iter().map(str::to_owned).collect(),
        },
    })
}

fn drift(owners: &Owners<'_>, changes: &[Change]) -> Reason {
    let by: BTreeSet<_> = changes
        .iter()
        .filter(|change| change.live.is_some())
        .flat_map(|change| owners.others(&change.field))
        .collect();
    Reason::Drift {
        fields: changes.iter().map(|c| c.field.to_string()).collect(),
        by: by.into_iter().map(str::to_owned).collect(),
    }
}

fn image(changes: &[Change]) -> Option<Reason> {
    let annotation = FieldPath::of(&["metadata", "annotations", IMAGE]);
    let change = changes.iter().find(|change| change.field == annotation)?;
    let text = |value: &Option<Value>| Some(value.as_ref()?.as_str()?.to_owned());
    Some(Reason::Image {
        from: text(&change.live)?,
        to: text(&change.desired)?,
    })
}

/// The revision that `live` carries; None when it has none that is a number.
fn revision(live: &Value) -> Option<u64> {
    live.get("metadata")?
        .get("annotations")?
        .get(REVISION)?
        .as_str()?
        .parse()
        .ok()
}

fn set_revision(content: &mut Value, revision: u64) {
    content["metadata"]["annotations"][REVISION] = json!(revision.to_string());
}

const REVISION: &str = "cke.cybozu.com/revision";
const IMAGE: &str = "cke.cybozu.com/image";
const OWN_ANNOTATIONS: [&str; 2] = [REVISION, IMAGE];
