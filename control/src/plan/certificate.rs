//! Secrets into which a certificate is issued: the operation that writes one, and those
//! whose certificate is somebody else's to keep.

use serde_json::{Value, json};

use super::diff::Change;
use super::field_path::FieldPath;
use super::owner::Owners;
use super::{Action, Left, Operation, Reason, secret};
use crate::desired::WantedCertificate;
use crate::object::Key;

/// Who else keeps the certificate of the live Secret; it is then left to them.
pub(super) fn kept(key: &Key, live: Option<&Value>) -> Option<Left> {
    let owners = Owners::of(live?);
    let fields: Vec<_> = FIELDS.iter().map(|name| field(name)).collect();
    let mut by: Vec<_> = fields
        .iter()
        .flat_map(|field| owners.keepers(field))
        .collect();
    by.sort_unstable();
    by.dedup();
    if by.is_empty() {
        return None;
    }
    Some(Left {
        key: key.clone(),
        reason: Reason::Conflict {
            fields: fields.iter().map(FieldPath::to_string).collect(),
            by: by.into_iter().map(str::to_owned).collect(),
        },
    })
}

/// `operation`, which creates or updates the Secret, with a new certificate.
pub(super) fn issue(
    mut operation: Operation,
    wanted: &WantedCertificate,
    live: Option<&Value>,
) -> Operation {
    let exists = matches!(operation.action, Action::Update(_));
    operation.action = match operation.action {
        Action::Create(content) | Action::Update(content) => Action::Issue {
            content,
            names: wanted.names.clone(),
            exists,
        },
        other => other,
    };
    if !exists {
        return operation;
    }
    // A new revision is told as one: what the operator wants has changed as well.
    if matches!(operation.reason, Reason::Drift { .. }) {
        operation.reason = Reason::Certificate {
            defect: wanted.defect.clone(),
        };
    }
    let data = live.map(|live| &live["data"]);
    let mut renewed: Vec<_> = FIELDS
        .iter()
        .map(|name| Change {
            field: field(name),
            live: data.and_then(|data| data.get(*name)).cloned(),
            desired: Some(json!("")),
        })
        .collect();
    secret::hide(&operation.key, &mut renewed);
    operation.changes.extend(renewed);
    operation
}

fn field(name: &str) -> FieldPath {
    FieldPath::of(&["data", name])
}

const FIELDS: [&str; 2] = ["tls.crt", "tls.key"];
