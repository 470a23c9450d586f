//! Who undoes what control writes: an API server that keeps its own endpoints, or a CKE
//! that has not been stopped. `metadata.managedFields` tells (KEP-555).

use serde_json::Value;

use super::Fighter;
use crate::FIELD_MANAGER;

/// Who else has written the field at `path` of `live`. CKE writes by ordinary updates, and
/// is not blamed before our first apply.
pub(super) fn fighter(live: &Value, path: &[&str]) -> Option<Fighter> {
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
