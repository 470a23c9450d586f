//! Which fields of an object are not as wanted.
//!
//! Only what we want is compared: fields that the server defaulted, or that
//! others added, do not count. Maps are compared key by key and lists are one value
//! each, unless `shape` knows better of this object; exactly as server-side apply
//! treats them. What is written otherwise and means the same (`1000m` and `1`) is no
//! difference where `quantity` knows it; the rest is found out by a dry run.

use serde_json::{Map, Value};

use super::field_path::{FieldPath, Step, default_of, find_item};
use super::quantity;
use super::shape::Shape;

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

/// The fields of `desired` that `live` does not have, or has otherwise.
pub(super) fn differences(desired: &Value, live: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    let at = At {
        path: FieldPath::default(),
        shape: Shape::of(live),
    };
    compare(&at, desired, Some(live), &mut changes);
    changes
}

/// A place in both objects, and what is known of its shape.
struct At<'a> {
    path: FieldPath,
    shape: Shape<'a>,
}

impl At<'_> {
    fn child(&self, step: Step) -> Self {
        Self {
            shape: self.shape.child(&step),
            path: self.path.child(step),
        }
    }
}

fn compare(at: &At<'_>, desired: &Value, live: Option<&Value>, changes: &mut Vec<Change>) {
    match (desired, live) {
        (Value::Object(wanted), Some(Value::Object(found)))
            if !at.shape.is_atomic_map(&at.path) =>
        {
            for (name, value) in wanted {
                let below = at.child(Step::Field(name.clone()));
                compare(&below, value, found.get(name), changes);
            }
        }
        (Value::Array(wanted), Some(Value::Array(found))) => {
            compare_lists(at, wanted, found, changes);
        }
        (_, Some(live_value))
            if same(desired, live_value) || quantity::same(&at.path, desired, live_value) => {}
        // The server does not keep empty maps and lists.
        (_, None) if is_empty(desired) => {}
        _ => changes.push(change(&at.path, desired, live)),
    }
}

fn compare_lists(at: &At<'_>, wanted: &[Value], found: &[Value], changes: &mut Vec<Change>) {
    let whole = || change(&at.path, &wanted.into(), Some(&found.into()));
    if let Some(keys) = at.shape.item_keys(&at.path, wanted) {
        for item in wanted {
            let item_key = item_key(item, &keys);
            let same = find_item(found, &item_key);
            compare(&at.child(Step::Item(item_key)), item, same, changes);
        }
    } else if at.shape.is_set() {
        if !wanted.iter().all(|item| found.contains(item)) {
            changes.push(whole());
        }
    } else if !same(&wanted.into(), &found.into()) {
        changes.push(whole());
    }
}

/// Whether two values that are one field each say the same, a few defaults aside.
fn same(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Array(wanted), Value::Array(found)) => {
            wanted.len() == found.len() && wanted.iter().zip(found).all(|(w, f)| same(w, f))
        }
        (Value::Object(wanted), Value::Object(found)) => {
            wanted.iter().all(|(name, value)| {
                found
                    .get(name)
                    .map_or_else(|| is_empty(value), |found| same(value, found))
            }) && found.iter().all(|(name, value)| {
                wanted.contains_key(name) || is_empty(value) || is_default(name, value)
            })
        }
        _ => wanted == found,
    }
}

fn change(path: &FieldPath, desired: &Value, live: Option<&Value>) -> Change {
    Change {
        field: path.clone(),
        live: live.cloned(),
        desired: Some(desired.clone()),
    }
}

fn item_key(item: &Value, keys: &[String]) -> Map<String, Value> {
    keys.iter()
        .filter_map(|key| {
            let value = item.get(key).or_else(|| default_of(key))?;
            Some((key.clone(), value.clone()))
        })
        .collect()
}

/// Fields that the server fills in within a list or map that is one value.
fn is_default(name: &str, value: &Value) -> bool {
    let Some(text) = value.as_str() else {
        return false;
    };
    match name {
        "apiGroup" => text == "rbac.authorization.k8s.io",
        "apiVersion" => text == "v1",
        "protocol" => text == "TCP",
        "operator" => text == "Equal",
        "scheme" => text == "HTTP",
        _ => false,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

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
        let wider = json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/"]}]});
        assert_eq!(fields(&desired, &wider), ["rules"], "an addition counts");
    }

    #[test]
    fn containers_are_told_apart_by_name_and_quantities_by_value() {
        let container = |cpu: &str, image: &str| json!({"name": "a", "image": image, "resources": {"limits": {"cpu": cpu}}});
        let pod =
            |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
        let desired = pod(json!([container("0.5", "i:2")]));
        let live = pod(json!([{"name": "sidecar"}, container("500m", "i:1")]));
        assert_eq!(
            fields(&desired, &live),
            ["spec.template.spec.containers[name=a].image"]
        );
    }

    #[test]
    fn a_protocol_that_is_left_out_is_tcp() {
        let desired = json!({"spec": {"ports": [{"port": 53, "name": "x"}]}});
        let live = json!({"spec": {"ports": [
            {"port": 53, "protocol": "UDP", "name": "y"},
            {"port": 53, "protocol": "TCP", "name": "x"},
        ]}});
        assert!(differences(&desired, &live).is_empty());
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
