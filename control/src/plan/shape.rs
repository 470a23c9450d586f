//! How server-side apply treats the maps and lists of an object: as one value, or as a
//! set of fields and items that each have owners of their own.
//!
//! The live object tells it itself, whatever its kind: in `metadata.managedFields` a list
//! whose items have keys is written `k:{…}`, a set `v:…`, and what is one value is a leaf.
//! Where nobody owns anything yet, the well-known lists of Kubernetes' own kinds help out.

use serde_json::{Map, Value};

use super::field_path::{FieldPath, Step, item_of};

/// What all field managers together know of one place.
pub(super) struct Shape<'a> {
    fields: Vec<&'a Map<String, Value>>,
}

impl<'a> Shape<'a> {
    /// The root of `live`.
    pub(super) fn of(live: &'a Value) -> Self {
        let entries = live
            .pointer("/metadata/managedFields")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        Self {
            fields: entries
                .filter_map(|entry| entry.get("fieldsV1")?.as_object())
                .collect(),
        }
    }

    /// The place one step below.
    pub(super) fn child(&self, step: &Step) -> Self {
        let below = |fields: &&'a Map<String, Value>| match step {
            Step::Field(name) => fields.get(&format!("f:{name}"))?.as_object(),
            Step::Item(keys) => fields
                .iter()
                .find(|(name, _)| item_of(name).as_ref() == Some(keys))
                .and_then(|(_, below)| below.as_object()),
        };
        Self {
            fields: self.fields.iter().filter_map(below).collect(),
        }
    }

    /// Whether the map here is one value.
    pub(super) fn is_atomic_map(&self, path: &FieldPath) -> bool {
        if self.fields.is_empty() {
            return ATOMIC.contains(&path.to_string().as_str());
        }
        // An owned map that is not one value is written `{".": {}, "f:…": {}}`.
        self.fields.iter().all(|fields| fields.is_empty())
    }

    /// The keys by which the items of the list here are told apart; None for a list that
    /// is one value, or a set.
    pub(super) fn item_keys(&self, path: &FieldPath, items: &[Value]) -> Option<Vec<String>> {
        let told = self
            .names()
            .find_map(item_of)
            .map(|keys| keys.into_iter().map(|(key, _)| key).collect());
        told.or_else(|| well_known(path, items))
    }

    /// Whether the list here is a set.
    pub(super) fn is_set(&self) -> bool {
        self.names().any(|name| name.starts_with("v:"))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.fields
            .iter()
            .flat_map(|fields| fields.keys())
            .map(String::as_str)
    }
}

/// The keys of a list that Kubernetes' own kinds have under this name, if all items have
/// the first of them.
fn well_known(path: &FieldPath, items: &[Value]) -> Option<Vec<String>> {
    let Some(Step::Field(name)) = path.0.last() else {
        return None;
    };
    let (_, keys) = KEYED
        .iter()
        .filter(|(list, _)| list == name)
        .find(|(_, keys)| items.iter().all(|item| item.get(keys[0]).is_some()))?;
    Some(keys.iter().map(|&key| key.to_owned()).collect())
}

/// `x-kubernetes-list-map-keys` of lists in pods, Services, ServiceAccounts and webhooks.
const KEYED: [(&str, &[&str]); 13] = [
    ("ports", &["port", "protocol"]),
    ("ports", &["containerPort", "protocol"]),
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("env", &["name"]),
    ("volumes", &["name"]),
    ("volumeMounts", &["mountPath"]),
    ("volumeDevices", &["devicePath"]),
    ("imagePullSecrets", &["name"]),
    ("hostAliases", &["ip"]),
    (
        "topologySpreadConstraints",
        &["topologyKey", "whenUnsatisfiable"],
    ),
    ("webhooks", &["name"]),
    ("validations", &["expression"]),
];

/// `x-kubernetes-map-type: atomic`: a foreign key in a selector takes pods away.
const ATOMIC: [&str; 1] = ["spec.selector"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn live() -> Value {
        json!({"metadata": {"managedFields": [
            {"manager": "a", "fieldsV1": {"f:spec": {
                "f:rules": {"k:{\"host\":\"a\"}": {".": {}, "f:x": {}}},
                "f:finalizers": {"v:\"x\"": {}},
                "f:selector": {},
                "f:template": {".": {}, "f:x": {}},
                "f:list": {},
            }}},
            {"manager": "b", "fieldsV1": 7},
        ]}})
    }

    fn at(names: &[&str]) -> (Value, FieldPath) {
        (live(), FieldPath::of(names))
    }

    fn with<T>((live, path): &(Value, FieldPath), ask: impl Fn(&Shape<'_>, &FieldPath) -> T) -> T {
        let mut shape = Shape::of(live);
        for step in &path.0 {
            shape = shape.child(step);
        }
        ask(&shape, path)
    }

    #[test]
    fn managed_fields_tell_how_a_list_is_treated() {
        let keys =
            |shape: &Shape<'_>, path: &FieldPath| shape.item_keys(path, &[json!({"host": 1})]);
        assert_eq!(
            with(&at(&["spec", "rules"]), keys),
            Some(vec!["host".to_owned()])
        );
        assert_eq!(with(&at(&["spec", "list"]), keys), None);
        assert!(with(&at(&["spec", "finalizers"]), |shape, _| shape.is_set()));
        assert!(!with(&at(&["spec", "rules"]), |shape, _| shape.is_set()));
    }

    #[test]
    fn a_map_that_is_a_leaf_is_one_value() {
        let atomic = |names: &[&str]| with(&at(names), |shape, path| shape.is_atomic_map(path));
        assert!(atomic(&["spec", "selector"]));
        assert!(!atomic(&["spec", "template"]));
        assert!(!atomic(&["spec"]));
        assert!(!atomic(&["nobody's"]));
    }

    #[test]
    fn well_known_lists_have_keys_before_anybody_owns_them() {
        let nobody = json!({});
        let keys = |name: &str, item: Value| {
            Shape::of(&nobody).item_keys(&FieldPath::of(&["spec", name]), &[item])
        };
        let both = |port: &str| Some(vec![port.to_owned(), "protocol".to_owned()]);
        assert_eq!(keys("ports", json!({"port": 1})), both("port"));
        assert_eq!(
            keys("ports", json!({"containerPort": 1})),
            both("containerPort")
        );
        assert_eq!(keys("ports", json!("x")), None);
        assert_eq!(keys("tolerations", json!({"key": "a"})), None);
    }
}
