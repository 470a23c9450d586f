//! Plans as a specification.

use serde_json::{Value, json};

use super::*;
use crate::cluster::{Effect, Taint};
use crate::desired::{Members, WantedNode};
use crate::object::{Key, Object};
use crate::observed::SeenNode;
use k8s_openapi::api::core::v1::Taint as LiveTaint;

mod left;

fn config_map(data: Value) -> Object {
    Object::from_content(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": "kube-system", "name": "a"},
        "data": data,
    }))
    .unwrap()
}

/// `object` as the API server returns it when we applied it at `revision`.
fn applied(object: &Object, revision: &str) -> Value {
    let mut live = object.content.clone();
    live["metadata"]["annotations"] = json!({"cke.cybozu.com/revision": revision});
    live["metadata"]["uid"] = json!("1");
    let data: serde_json::Map<_, _> = object.content["data"]
        .as_object()
        .unwrap()
        .keys()
        .map(|key| (format!("f:{key}"), json!({})))
        .collect();
    live["metadata"]["managedFields"] = json!([
        {"manager": "cke", "operation": "Apply", "fieldsV1": {
            "f:data": data,
            "f:metadata": {"f:annotations": {"f:cke.cybozu.com/revision": {}}},
        }},
    ]);
    live
}

/// As somebody else's `kubectl edit` of `data.<key>`.
fn edited(mut live: Value, key: &str, value: &str) -> Value {
    live["data"][key] = json!(value);
    let fields = &mut live["metadata"]["managedFields"];
    let ours = fields[0]["fieldsV1"].as_object_mut().unwrap();
    ours["f:data"]
        .as_object_mut()
        .unwrap()
        .remove(&format!("f:{key}"));
    if ours["f:data"] == json!({}) {
        ours.remove("f:data");
    }
    fields.as_array_mut().unwrap().push(json!({
        "manager": "kubectl-edit", "operation": "Update",
        "fieldsV1": {"f:data": {format!("f:{key}"): {}}},
    }));
    live
}

fn plan_of(objects: Vec<Object>, live: Vec<Value>) -> Plan {
    let desired = Desired {
        objects,
        ..Desired::default()
    };
    let objects = live.into_iter().map(|live| {
        let key = Object::from_content(live.clone()).unwrap().key;
        (key, live)
    });
    let observed = Observed {
        objects: objects.collect(),
        ..Observed::default()
    };
    plan(desired, &observed, &Limits::default())
}

fn written(operation: &Operation) -> &Value {
    match &operation.action {
        Action::Create(content) | Action::Update(content) | Action::Issue { content, .. } => {
            content
        }
        Action::PatchNode(patch) => &patch.body,
        Action::RemoveNode { .. }
        | Action::Delete { .. }
        | Action::Deliver { .. }
        | Action::Restart { .. }
        | Action::RewriteSecrets => panic!("no object is written"),
    }
}

fn revision(operation: &Operation) -> &Value {
    &written(operation)["metadata"]["annotations"]["cke.cybozu.com/revision"]
}

#[test]
fn what_is_missing_is_created_as_revision_1() {
    let plan = plan_of(vec![config_map(json!({"k": "v"}))], vec![]);
    let [operation] = &plan.operations[..] else {
        panic!("one operation")
    };
    assert!(matches!(operation.action, Action::Create(_)));
    assert_eq!(operation.reason, Reason::Missing);
    assert_eq!(revision(operation), "1");
}

#[test]
fn what_is_as_wanted_is_left_alone_whatever_its_revision() {
    let object = config_map(json!({"k": "v"}));
    let live = applied(&object, "7");
    assert_eq!(plan_of(vec![object], vec![live]), Plan::default());
}

#[test]
fn a_change_of_mind_is_the_next_revision() {
    let live = applied(&config_map(json!({"k": "v"})), "7");
    let plan = plan_of(vec![config_map(json!({"k": "w"}))], vec![live]);
    let [operation] = &plan.operations[..] else {
        panic!("one operation")
    };
    assert_eq!(operation.reason, Reason::Revision { from: 7, to: 8 });
    assert_eq!(revision(operation), "8");
    assert_eq!(operation.reason.to_string(), "revision: 7 to 8");
    assert_eq!(
        operation.changes.len(),
        1,
        "the revision itself is no change of content"
    );
}

#[test]
fn a_field_that_we_no_longer_want_is_a_change_of_mind() {
    let live = applied(&config_map(json!({"k": "v", "old": "x"})), "1");
    let plan = plan_of(vec![config_map(json!({"k": "v"}))], vec![live]);
    let [operation] = &plan.operations[..] else {
        panic!("one operation")
    };
    assert_eq!(operation.reason, Reason::Revision { from: 1, to: 2 });
    assert_eq!(operation.changes[0].field.to_string(), "data.old");
    assert_eq!(operation.changes[0].desired, None);
}

#[test]
fn somebody_elses_edit_is_drift_and_keeps_the_revision() {
    let object = config_map(json!({"k": "v"}));
    let live = edited(applied(&object, "7"), "k", "other");
    let plan = plan_of(vec![object], vec![live]);
    let [operation] = &plan.operations[..] else {
        panic!("one operation")
    };
    assert_eq!(
        operation.reason.to_string(),
        "drift: data.k (changed by kubectl-edit)"
    );
    assert_eq!(revision(operation), "7");
}

#[test]
fn a_field_that_somebody_removed_is_drift() {
    let object = config_map(json!({"k": "v"}));
    let mut live = applied(&object, "7");
    live["data"] = json!({});
    let fields = live["metadata"]["managedFields"][0]["fieldsV1"].as_object_mut();
    fields.unwrap().remove("f:data");
    let plan = plan_of(vec![object], vec![live]);
    assert_eq!(plan.operations[0].reason.to_string(), "drift: data.k");
}

#[test]
fn a_revision_that_is_no_number_is_drift_and_becomes_1() {
    let object = config_map(json!({"k": "v"}));
    for bad in ["", "x", "-1", "99999999999999999999999"] {
        let live = applied(&object, bad);
        let plan = plan_of(vec![object.clone()], vec![live]);
        let [operation] = &plan.operations[..] else {
            panic!("one operation")
        };
        assert_eq!(
            operation.reason.to_string(),
            "drift: metadata.annotations[cke.cybozu.com/revision]"
        );
        assert_eq!(revision(operation), "1");
    }
}

#[test]
fn hostile_managed_fields_stop_nothing() {
    let object = config_map(json!({"k": "v"}));
    for odd in [
        json!(7),
        json!([7, {}, {"manager": "cke", "operation": "Apply", "fieldsV1": 7}]),
    ] {
        let mut live = applied(&object, "1");
        live["metadata"]["managedFields"] = odd;
        assert_eq!(plan_of(vec![object.clone()], vec![live]), Plan::default());
    }
    let mut live = applied(&object, "1");
    live["metadata"] = json!({"namespace": "kube-system", "name": "a", "annotations": 7});
    assert_eq!(plan_of(vec![object], vec![live]).operations.len(), 1);
}

#[test]
fn a_binding_depends_on_its_role_and_accounts() {
    let binding = Object::from_content(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"namespace": "kube-system", "name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [
            {"kind": "ServiceAccount", "namespace": "kube-system", "name": "s"},
            {"kind": "User", "name": "u"},
        ],
    }))
    .unwrap();
    let plan = plan_of(vec![binding], vec![]);
    let depends_on: Vec<_> = plan.operations[0]
        .depends_on
        .iter()
        .map(Key::to_string)
        .collect();
    assert_eq!(
        depends_on,
        [
            "Role kube-system/r",
            "ServiceAccount kube-system/s",
            "Namespace kube-system"
        ]
    );
}

fn taint(key: &str, value: &str, effect: Effect) -> Taint {
    Taint {
        key: key.to_owned(),
        value: value.to_owned(),
        effect,
    }
}

fn live_taint(key: &str, value: Option<&str>, effect: &str) -> LiveTaint {
    LiveTaint {
        key: key.to_owned(),
        value: value.map(str::to_owned),
        effect: effect.to_owned(),
        time_added: None,
    }
}

fn wanted() -> WantedNode {
    WantedNode {
        name: "n".to_owned(),
        labels: [
            ("a".to_owned(), Some("1".to_owned())),
            ("gone".to_owned(), None),
        ]
        .into(),
        annotations: [("b".to_owned(), "2".to_owned())].into(),
        taints: vec![taint("example.com/c", "3", Effect::NoSchedule)],
    }
}

fn as_wanted() -> SeenNode {
    SeenNode {
        resource_version: "41".to_owned(),
        labels: [
            ("a".to_owned(), "1".to_owned()),
            ("foreign".to_owned(), "x".to_owned()),
        ]
        .into(),
        annotations: [("b".to_owned(), "2".to_owned())].into(),
        taints: vec![
            live_taint("foreign", None, "NoExecute"),
            live_taint("example.com/c", Some("3"), "NoSchedule"),
        ],
        ..SeenNode::default()
    }
}

fn members(names: &[&str]) -> Members {
    Members {
        names: names.iter().map(|&name| name.to_owned()).collect(),
        count: names.len(),
        ..Members::default()
    }
}

fn body(wanted: WantedNode, live: SeenNode) -> Option<Value> {
    let desired = Desired {
        nodes: vec![wanted],
        members: members(&["n"]),
        ..Desired::default()
    };
    let observed = Observed {
        nodes: [("n".to_owned(), live)].into(),
        ..Observed::default()
    };
    let plan = plan(desired, &observed, &Limits::default());
    plan.operations
        .first()
        .map(|operation| written(operation).clone())
}

#[test]
fn a_node_as_wanted_is_left_alone() {
    assert_eq!(body(wanted(), as_wanted()), None);
}

#[test]
fn labels_and_annotations_are_merged_by_key() {
    let mut live = as_wanted();
    live.labels = [
        ("a".to_owned(), "0".to_owned()),
        ("gone".to_owned(), "x".to_owned()),
    ]
    .into();
    live.annotations.clear();
    assert_eq!(
        body(wanted(), live),
        Some(json!({"metadata": {
            "annotations": {"b": "2"},
            "labels": {"a": "1", "gone": null},
        }})),
        "and nobody's resourceVersion matters"
    );
}

#[test]
fn taints_are_replaced_as_a_whole_for_the_version_that_was_read() {
    let mut live = as_wanted();
    live.taints.pop();
    assert_eq!(
        body(wanted(), live),
        Some(json!({
            "metadata": {"resourceVersion": "41"},
            "spec": {"taints": [
                {"key": "foreign", "effect": "NoExecute"},
                {"key": "example.com/c", "value": "3", "effect": "NoSchedule"},
            ]},
        }))
    );
}

#[test]
fn taints_of_our_own_that_are_no_longer_due_are_removed_and_others_stay() {
    let mut live = as_wanted();
    live.taints = [
        "cke.cybozu.com/master",
        "node-role.kubernetes.io/x",
        "cke.cybozu.com/reboot",
        "other",
    ]
    .map(|key| live_taint(key, None, "NoSchedule"))
    .into();
    live.taints
        .push(live_taint("example.com/c", Some("old"), "NoSchedule"));
    let body = body(wanted(), live).unwrap();
    let keys: Vec<_> = body["spec"]["taints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|taint| (taint["key"].as_str().unwrap(), taint["value"].as_str()))
        .collect();
    assert_eq!(
        keys,
        [
            ("cke.cybozu.com/reboot", None),
            ("other", None),
            ("example.com/c", Some("3"))
        ]
    );
}

#[test]
fn the_order_of_taints_is_no_difference() {
    let mut live = as_wanted();
    live.taints.reverse();
    assert_eq!(body(wanted(), live), None);
}
