//! Who undoes what control writes: an API server that keeps its own endpoints, or a CKE
//! that has not been stopped. `metadata.managedFields` tells (KEP-555).

use serde_json::Value;

use super::{Desired, Fighter, Note};
use crate::FIELD_MANAGER;
use crate::object::Object;
use crate::observed::Observed;

/// Adds `object`, and a note if somebody else has written its field at `path` otherwise.
pub(super) fn add(desired: &mut Desired, observed: &Observed, object: Object, path: &[&str]) {
    let live = observed.objects.get(&object.key);
    let other = live.filter(|live| at(live, path) != at(&object.content, path));
    if let Some(by) = other.and_then(|live| fighter(live, path)) {
        let object = object.key.clone();
        desired.notes.push(Note::Fought { object, by });
    }
    desired.objects.push(object);
}

fn at<'a>(object: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(object, |value, field| &value[field])
}

/// Who else has written the field at `path` of `live`. CKE writes by ordinary updates, and
/// is not blamed before our first apply.
fn fighter(live: &Value, path: &[&str]) -> Option<Fighter> {
    let entries = live["metadata"]["managedFields"].as_array()?;
    let have_we_applied = entries
        .iter()
        .any(|entry| entry["manager"] == FIELD_MANAGER && entry["operation"] == "Apply");
    entries
        .iter()
        .filter(|entry| has(&entry["fieldsV1"], path))
        .find_map(|entry| {
            let by_update = entry["operation"] == "Update";
            match entry["manager"].as_str()? {
                "kube-apiserver" => Some(Fighter::ApiServer),
                FIELD_MANAGER if by_update && have_we_applied => Some(Fighter::Cke),
                _ => None,
            }
        })
}

fn has(fields: &Value, path: &[&str]) -> bool {
    path.iter()
        .try_fold(fields, |fields, name| fields.get(format!("f:{name}")))
        .is_some()
}
