//! One object that is ours: whether it must be written, why, and as which
//! revision.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::diff::{Change, differences};
use super::owner::Owners;
use super::{Action, Operation, Reason};
use crate::object::{Key, Object};

/// What to do about `wanted`; None when `live` is as wanted.
pub(super) fn operation(wanted: Object, live: Option<&Value>) -> Option<Operation> {
    let Object { key, mut content } = wanted;
    let depends_on = dependencies(&key, &content);
    let Some(live) = live else {
        set_revision(&mut content, 1);
        return Some(Operation {
            key,
            action: Action::Create(content),
            reason: Reason::Missing,
            changes: Vec::new(),
            depends_on,
        });
    };
    let owners = Owners::of(live);
    let from = revision(live);
    set_revision(&mut content, from.unwrap_or(1));
    let mut changes = differences(&content, live);
    let leftovers = owners.leftovers(live, &content);
    // A field that is still ours and differs is one about which we changed our mind.
    let ours = !leftovers.is_empty() || changes.iter().any(|change| is_ours(&owners, change));
    changes.extend(leftovers);
    if changes.is_empty() {
        return None;
    }
    let reason = match from {
        Some(from) if ours => {
            let to = from.saturating_add(1);
            set_revision(&mut content, to);
            Reason::Revision { from, to }
        }
        _ => drift(&owners, &changes),
    };
    Some(Operation {
        key,
        action: Action::Update(content),
        reason,
        changes,
        depends_on,
    })
}

fn is_ours(owners: &Owners<'_>, change: &Change) -> bool {
    change.live.is_some() && owners.are_we(&change.field)
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

/// The role that a binding grants, and the accounts it grants it to.
fn dependencies(key: &Key, content: &Value) -> Vec<Key> {
    let text = |value: &Value, field: &str| Some(value.get(field)?.as_str()?.to_owned());
    let role = content.get("roleRef").and_then(|role| {
        let kind = text(role, "kind")?;
        let namespace = key.namespace.clone().filter(|_| kind == "Role");
        Some(Key {
            api_version: key.api_version.clone(),
            kind,
            namespace,
            name: text(role, "name")?,
        })
    });
    let accounts = content
        .get("subjects")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|subject| text(subject, "kind").as_deref() == Some("ServiceAccount"))
        .filter_map(|subject| {
            let (namespace, name) = (text(subject, "namespace")?, text(subject, "name")?);
            Some(Key::core("ServiceAccount", &namespace, &name))
        });
    role.into_iter().chain(accounts).collect()
}

const REVISION: &str = "cke.cybozu.com/revision";
