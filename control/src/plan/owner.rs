//! Who wrote a field last: what `metadata.managedFields` says (KEP-555).
//!
//! Two questions are answered from it. When a field differs: did we change our
//! mind (the field is still ours), or did somebody else change it? And: which
//! fields did we once write and no longer want? Their content is in no manifest
//! any more, so that a comparison alone would never see them.

use serde_json::Value;

use super::diff::Change;
use super::field_path::{FieldPath, Step, find_item, item_of};
use crate::FIELD_MANAGER;

/// The field managers of one live object.
pub(super) struct Owners<'a> {
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    manager: &'a str,
    ours: bool,
    /// Whether what it has is to be left to it: another applier's, or an autoscaler's
    /// by way of `scale`.
    kept: bool,
    fields: &'a Value,
}

impl<'a> Owners<'a> {
    /// Reads them from `live`; what does not look like managed fields is passed over.
    pub(super) fn of(live: &'a Value) -> Self {
        let entries = live
            .pointer("/metadata/managedFields")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let manager = entry.get("manager")?.as_str()?;
                let applied = entry.get("operation")?.as_str()? == "Apply";
                let ours = applied && manager == FIELD_MANAGER;
                let scales = entry.get("subresource").is_some_and(|name| name == "scale");
                Some(Entry {
                    manager,
                    ours,
                    kept: !ours && (applied || scales),
                    fields: entry.get("fieldsV1")?,
                })
            })
            .collect();
        Self { entries }
    }

    /// Whether the last to write `field` were we.
    pub(super) fn are_we(&self, field: &FieldPath) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.ours && owns(entry.fields, &field.0))
    }

    /// Who else has `field`.
    pub(super) fn others(&self, field: &FieldPath) -> impl Iterator<Item = &'a str> {
        self.entries
            .iter()
            .filter(|entry| !entry.ours && owns(entry.fields, &field.0))
            .map(|entry| entry.manager)
    }

    /// Who else has `field` and is to keep it: another applier, or who scales.
    pub(super) fn keepers(&self, field: &FieldPath) -> impl Iterator<Item = &'a str> {
        self.entries
            .iter()
            .filter(|entry| entry.kept && owns(entry.fields, &field.0))
            .map(|entry| entry.manager)
    }

    /// Whether we have ever applied the object.
    pub(super) fn have_we_applied(&self) -> bool {
        self.entries.iter().any(|entry| entry.ours)
    }

    /// Fields of `live` that are ours and that `desired` does not have.
    pub(super) fn leftovers(&self, live: &Value, desired: &Value) -> Vec<Change> {
        let mut changes = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.ours) {
            let at = At {
                path: FieldPath::default(),
                live,
                desired,
            };
            collect_leftovers(entry.fields, &at, &mut changes);
        }
        changes
    }
}

/// Whether a set of fields has the one at `steps`. A leaf has all below it.
fn owns(fields: &Value, steps: &[Step]) -> bool {
    let Some(fields) = fields.as_object() else {
        return false;
    };
    let Some((first, rest)) = steps.split_first() else {
        return true;
    };
    if fields.is_empty() {
        return true;
    }
    let below = match first {
        Step::Field(name) => fields.get(&format!("f:{name}")),
        Step::Item(keys) => fields
            .iter()
            .find(|(name, _)| item_of(name).as_ref() == Some(keys))
            .map(|(_, below)| below),
    };
    below.is_some_and(|below| owns(below, rest))
}

/// The same place in the live object and in the desired one.
struct At<'a> {
    path: FieldPath,
    live: &'a Value,
    desired: &'a Value,
}

impl<'a> At<'a> {
    fn step(&self, step: Step) -> (Option<&'a Value>, Option<&'a Value>, FieldPath) {
        let find = |value: &'a Value| match &step {
            Step::Field(name) => value.get(name),
            Step::Item(keys) => find_item(value.as_array()?, keys),
        };
        (find(self.live), find(self.desired), self.path.child(step))
    }
}

fn collect_leftovers(fields: &Value, at: &At<'_>, changes: &mut Vec<Change>) {
    for (name, below) in fields.as_object().into_iter().flatten() {
        let step = if let Some(field) = name.strip_prefix("f:") {
            Step::Field(field.to_owned())
        } else if let Some(keys) = item_of(name) {
            Step::Item(keys)
        } else {
            continue;
        };
        match at.step(step) {
            (Some(live), Some(desired), path) => {
                collect_leftovers(
                    below,
                    &At {
                        path,
                        live,
                        desired,
                    },
                    changes,
                );
            }
            (Some(live), None, field) => changes.push(Change {
                field,
                live: Some(live.clone()),
                desired: None,
            }),
            (None, _, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn live() -> Value {
        json!({
            "metadata": {
                "labels": {"a": "1", "b": "2"},
                "managedFields": [
                    {"manager": "cke", "operation": "Apply", "fieldsV1": {
                        "f:metadata": {"f:labels": {"f:a": {}, "f:b": {}}},
                        "f:rules": {},
                        "f:spec": {"f:ports": {
                            "k:{\"port\":53,\"protocol\":\"UDP\"}": {".": {}, "f:name": {}},
                        }},
                    }},
                    {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {
                        "f:data": {"f:Corefile": {}},
                    }},
                    {"manager": "cke", "operation": "Update", "fieldsV1": {
                        "f:data": {"f:x": {}},
                    }},
                    {"manager": 7},
                ],
            },
            "data": {"Corefile": "x"},
            "rules": [],
            "spec": {"ports": [{"port": 53, "protocol": "UDP", "name": "dns"}]},
        })
    }

    #[test]
    fn a_field_belongs_to_who_applied_it() {
        let live = live();
        let owners = Owners::of(&live);
        assert!(owners.are_we(&FieldPath::of(&["metadata", "labels", "a"])));
        assert!(owners.are_we(&FieldPath::of(&["rules", "below a leaf"])));
        assert!(!owners.are_we(&FieldPath::of(&["metadata", "labels", "c"])));
        assert!(
            !owners.are_we(&FieldPath::of(&["data", "x"])),
            "an Update is not an Apply"
        );
        let corefile = FieldPath::of(&["data", "Corefile"]);
        assert!(!owners.are_we(&corefile));
        assert_eq!(
            owners.others(&corefile).collect::<Vec<_>>(),
            ["kubectl-edit"]
        );
    }

    #[test]
    fn an_item_belongs_to_who_applied_it() {
        let live = live();
        let keys = json!({"port": 53, "protocol": "UDP"});
        let item =
            FieldPath::of(&["spec", "ports"]).child(Step::Item(keys.as_object().unwrap().clone()));
        assert!(Owners::of(&live).are_we(&item.field("name")));
        assert!(!Owners::of(&live).are_we(&item.field("targetPort")));
    }

    #[test]
    fn what_we_wrote_once_and_no_longer_want_is_found() {
        let live = live();
        let desired = json!({
            "metadata": {"labels": {"a": "1"}},
            "rules": [],
            "spec": {"ports": []},
        });
        let fields: Vec<_> = Owners::of(&live)
            .leftovers(&live, &desired)
            .iter()
            .map(|change| change.field.to_string())
            .collect();
        assert_eq!(
            fields,
            ["metadata.labels.b", "spec.ports[port=53,protocol=UDP]"]
        );
    }

    #[test]
    fn appliers_and_who_scales_keep_what_they_have_and_updaters_do_not() {
        let live = json!({"metadata": {"managedFields": [
            {"manager": "helm", "operation": "Apply", "fieldsV1": {"f:data": {"f:a": {}}}},
            {"manager": "hpa", "operation": "Update", "subresource": "scale",
                "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:data": {"f:b": {}}}},
        ]}});
        let owners = Owners::of(&live);
        let keepers = |path: &[&str]| owners.keepers(&FieldPath::of(path)).collect::<Vec<_>>();
        assert_eq!(keepers(&["data", "a"]), ["helm"]);
        assert_eq!(keepers(&["spec", "replicas"]), ["hpa"]);
        assert_eq!(keepers(&["data", "b"]), Vec::<&str>::new());
        assert!(!owners.have_we_applied());
    }

    #[test]
    fn what_others_wrote_is_no_leftover() {
        let live = live();
        let mut desired = live.clone();
        desired["data"] = json!({});
        assert!(Owners::of(&live).leftovers(&live, &desired).is_empty());
    }
}
