//! Which fields of an object are not as wanted.
//!
//! Only what we want is compared: fields that the server defaulted, or that
//! others added, do not count. Maps are compared key by key, except the few that
//! are one value ([`ATOMIC`]); lists are one value each, except the few whose items
//! have a key of their own ([`KEYED`]); exactly as server-side apply treats them.

use std::fmt;

use serde_json::{Map, Value};

/// A field that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Where it stands.
    pub field: FieldPath,
    /// What is there; None when nothing is.
    pub live: Option<Value>,
    /// What ought to be there; None when nothing ought to.
    pub desired: Option<Value>,
}

/// The way to a field from the root of its object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldPath(pub Vec<Step>);

/// One step on that way.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A key of a map.
    Field(String),
    /// The item of a keyed list whose keys have these values.
    Item(Map<String, Value>),
}

impl FieldPath {
    /// The path of keys.
    #[must_use]
    pub fn of(fields: &[&str]) -> Self {
        Self(fields.iter().map(|&f| Step::Field(f.to_owned())).collect())
    }

    pub(super) fn child(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    pub(super) fn field(&self, name: &str) -> Self {
        self.child(Step::Field(name.to_owned()))
    }
}

impl fmt::Display for FieldPath {
    /// As `metadata.annotations[example.com/a]` or `spec.ports[port=53,protocol=UDP].name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if name.contains(['.', '/']) => write!(f, "[{name}]")?,
                Step::Field(name) if index == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Item(keys) => {
                    let pairs: Vec<_> = keys
                        .iter()
                        .map(|(key, value)| match value {
                            Value::String(text) => format!("{key}={text}"),
                            other => format!("{key}={other}"),
                        })
                        .collect();
                    write!(f, "[{}]", pairs.join(","))?;
                }
            }
        }
        Ok(())
    }
}

/// The fields of `desired` that `live` does not have, or has otherwise.
pub(super) fn differences(desired: &Value, live: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(&FieldPath::default(), desired, Some(live), &mut changes);
    changes
}

/// The keys by which the items of the list at `path` are told apart; None for a
/// list that is one value.
pub(super) fn item_keys(path: &FieldPath) -> Option<&'static [&'static str]> {
    let path = path.to_string();
    KEYED
        .iter()
        .find(|(list, _)| *list == path)
        .map(|(_, keys)| *keys)
}

/// The item of `list` that has every one of `keys`.
pub(super) fn find_item<'a>(list: &'a [Value], keys: &Map<String, Value>) -> Option<&'a Value> {
    list.iter()
        .find(|item| keys.iter().all(|(key, value)| item.get(key) == Some(value)))
}

fn compare(path: &FieldPath, desired: &Value, live: Option<&Value>, changes: &mut Vec<Change>) {
    match (desired, live) {
        (Value::Object(wanted), Some(Value::Object(found))) if !is_atomic(path) => {
            for (name, value) in wanted {
                compare(&path.field(name), value, found.get(name), changes);
            }
        }
        (Value::Array(wanted), Some(Value::Array(found))) => match item_keys(path) {
            Some(keys) => {
                for item in wanted {
                    let item_key = item_key(item, keys);
                    let same = find_item(found, &item_key);
                    compare(&path.child(Step::Item(item_key)), item, same, changes);
                }
            }
            None => {
                if !same_list(wanted, found) {
                    changes.push(change(path, desired, live));
                }
            }
        },
        (_, Some(live_value)) if desired == live_value => {}
        // The server does not keep empty maps and lists.
        (_, None) if is_empty(desired) => {}
        _ => changes.push(change(path, desired, live)),
    }
}

/// Whether two lists that are one value each say the same, defaulted fields of
/// their items aside.
fn same_list(wanted: &[Value], found: &[Value]) -> bool {
    wanted.len() == found.len()
        && wanted
            .iter()
            .zip(found)
            .all(|(wanted, found)| differences(wanted, found).is_empty())
}

fn change(path: &FieldPath, desired: &Value, live: Option<&Value>) -> Change {
    Change {
        field: path.clone(),
        live: live.cloned(),
        desired: Some(desired.clone()),
    }
}

fn item_key(item: &Value, keys: &[&str]) -> Map<String, Value> {
    keys.iter()
        .filter_map(|&key| Some((key.to_owned(), item.get(key)?.clone())))
        .collect()
}

/// Whether the map at `path` is one value.
fn is_atomic(path: &FieldPath) -> bool {
    ATOMIC.contains(&path.to_string().as_str())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Lists with keyed items among the objects that control writes
/// (`x-kubernetes-list-map-keys` in the API's schema).
const KEYED: [(&str, &[&str]); 1] = [("spec.ports", &["port", "protocol"])];

/// Maps that are one value among the objects that control writes
/// (`x-kubernetes-map-type: atomic`): a foreign key in a selector takes pods away.
const ATOMIC: [&str; 1] = ["spec.selector"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn fields(desired: &Value, live: &Value) -> Vec<String> {
        differences(desired, live)
            .iter()
            .map(|change| change.field.to_string())
            .collect()
    }

    #[test]
    fn fields_that_we_do_not_want_do_not_count() {
        let desired = json!({"spec": {"selector": {"app": "a"}}});
        let live = json!({"spec": {"selector": {"app": "a"}, "type": "ClusterIP"}, "status": {}});
        assert_eq!(fields(&desired, &live), Vec::<String>::new());
    }

    #[test]
    fn each_differing_field_is_named() {
        let desired = json!({
            "metadata": {"annotations": {"example.com/a": "1"}, "labels": {"b": "2"}},
            "data": {"Corefile": "x", "nodedns.yml": "y"},
        });
        let live = json!({"metadata": {"labels": {"b": "3"}}, "data": {"Corefile": "z"}});
        assert_eq!(
            fields(&desired, &live),
            [
                "data.Corefile",
                "data[nodedns.yml]",
                "metadata.annotations",
                "metadata.labels.b"
            ]
        );
    }

    #[test]
    fn a_plain_list_is_one_value() {
        let desired = json!({"rules": [{"verbs": ["get"]}]});
        let more = json!({"rules": [{"verbs": ["get", "list"]}]});
        assert_eq!(fields(&desired, &more), ["rules"]);
        let longer = json!({"rules": [{"verbs": ["get"]}, {"verbs": ["list"]}]});
        assert_eq!(fields(&desired, &longer), ["rules"]);
    }

    #[test]
    fn a_default_inside_a_list_does_not_count() {
        let desired = json!({"subjects": [{"kind": "User", "name": "a"}]});
        let live = json!({"subjects": [
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "a"}
        ]});
        assert!(differences(&desired, &live).is_empty());
    }

    #[test]
    fn ports_are_told_apart_by_number_and_protocol() {
        let desired = json!({"spec": {"ports": [
            {"port": 53, "protocol": "UDP", "targetPort": 1053},
            {"port": 53, "protocol": "TCP", "targetPort": 1053},
        ]}});
        let live = json!({"spec": {"ports": [
            {"port": 53, "protocol": "TCP", "targetPort": 1054, "nodePort": 30_000},
            {"port": 80, "protocol": "TCP", "targetPort": 80},
            {"port": 53, "protocol": "UDP", "targetPort": 1053},
        ]}});
        assert_eq!(
            fields(&desired, &live),
            ["spec.ports[port=53,protocol=TCP].targetPort"]
        );
    }

    #[test]
    fn a_selector_has_no_key_but_ours() {
        let desired = json!({"spec": {"selector": {"app": "a"}}});
        let live = json!({"spec": {"selector": {"app": "a", "version": "2"}}});
        assert_eq!(fields(&desired, &live), ["spec.selector"]);
    }

    #[test]
    fn wanting_nothing_is_having_nothing() {
        let desired = json!({"metadata": {"labels": {}}, "rules": []});
        assert!(differences(&desired, &json!({"metadata": {}})).is_empty());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-d]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_differs_from_itself(value in any_json()) {
            prop_assert!(differences(&value, &value).is_empty());
        }

        #[test]
        fn what_others_add_to_maps_never_counts(
            desired in prop::collection::btree_map("[a-d]", any_json(), 0..4),
            added in prop::collection::btree_map("[e-h]", any_json(), 0..4),
        ) {
            let live = desired.clone().into_iter().chain(added).collect();
            let desired = Value::Object(desired.into_iter().collect());
            prop_assert!(differences(&desired, &Value::Object(live)).is_empty());
        }

        #[test]
        fn writing_what_differs_leaves_nothing(desired in any_json(), live in any_json()) {
            // The root of an object is always a map.
            let (desired, live) = (json!({"a": desired}), json!({"a": live}));
            let mut written = live.clone();
            for change in differences(&desired, &live) {
                let mut place = &mut written;
                for step in &change.field.0 {
                    let Step::Field(name) = step else { unreachable!("no keyed lists here") };
                    place = &mut place[name.as_str()];
                }
                *place = change.desired.unwrap();
            }
            prop_assert!(differences(&desired, &written).is_empty());
        }
    }
}
