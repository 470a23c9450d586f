//! What a plan leaves alone, and why; what it takes away, and within which limits.

use serde_json::{Value, json};

use super::*;
use crate::inventory;

/// The plan's lines, in short.
fn lines(plan: &Plan) -> Vec<String> {
    let operations = plan
        .operations
        .iter()
        .map(|o| format!("{} {} {}", o.action.word(), o.key, o.reason));
    let left = plan
        .left
        .iter()
        .map(|left| format!("left {} {}", left.key, left.reason));
    operations.chain(left).collect()
}

/// `live` with `field` (as in managedFields) taken over by somebody.
fn taken(mut live: Value, value: Value, by: Value) -> Value {
    live["data"]["k"] = value;
    let fields = live["metadata"]["managedFields"].as_array_mut().unwrap();
    fields[0]["fieldsV1"]["f:data"]
        .as_object_mut()
        .unwrap()
        .remove("f:k");
    let mut entry = json!({"fieldsV1": {"f:data": {"f:k": {}}}});
    entry
        .as_object_mut()
        .unwrap()
        .extend(by.as_object().unwrap().clone());
    fields.push(entry);
    live
}

#[test]
fn a_field_that_another_applier_has_now_is_left_and_the_rest_is_written() {
    let object = config_map(json!({"k": "ours", "other": "new"}));
    let live = applied(&config_map(json!({"k": "ours", "other": "old"})), "3");
    let live = taken(
        live,
        json!("theirs"),
        json!({"manager": "helm", "operation": "Apply"}),
    );
    let plan = plan_of(vec![object], vec![live]);
    assert_eq!(
        lines(&plan),
        [
            "update ConfigMap kube-system/a revision: 3 to 4",
            "left ConfigMap kube-system/a conflict: data.k (now kept by helm)",
        ]
    );
    assert_eq!(
        written(&plan.operations[0])["data"],
        json!({"other": "new"}),
        "what is theirs is not written"
    );
}

#[test]
fn what_an_autoscaler_scaled_is_left_and_the_plan_counts_as_converged() {
    let object = config_map(json!({"k": "3"}));
    let live = taken(
        applied(&object, "3"),
        json!("7"),
        json!({"manager": "hpa", "operation": "Update", "subresource": "scale"}),
    );
    let plan = plan_of(vec![object], vec![live]);
    assert_eq!(
        lines(&plan),
        ["left ConfigMap kube-system/a conflict: data.k (now kept by hpa)"]
    );
    assert!(plan.is_converged());
}

#[test]
fn what_another_applier_has_as_we_want_it_is_nobodys_conflict() {
    let object = config_map(json!({"k": "same"}));
    let live = taken(
        applied(&object, "3"),
        json!("same"),
        json!({"manager": "helm", "operation": "Apply"}),
    );
    assert_eq!(plan_of(vec![object], vec![live]), Plan::default());
}

#[test]
fn an_update_that_a_dry_run_shows_to_change_nothing_is_dropped() {
    let object = config_map(json!({"k": "1.0", "l": "new"}));
    let live = applied(&config_map(json!({"k": "1", "l": "old"})), "1");
    let key = object.key.clone();
    let plan = plan_of(vec![object], vec![live.clone()]);
    assert_eq!(plan.operations[0].changes.len(), 2);
    let observed = Observed {
        objects: [(key.clone(), live.clone())].into(),
        ..Observed::default()
    };
    assert_eq!(plan.doubtful().count(), 1);

    let same = [(key.clone(), live.clone())].into();
    assert!(plan.clone().refined(&same, &observed).operations.is_empty());

    let mut changed = live;
    changed["data"]["l"] = json!("new");
    let refined = plan.refined(&[(key, changed)].into(), &observed);
    let fields: Vec<_> = refined.operations[0]
        .changes
        .iter()
        .map(|change| change.field.to_string())
        .collect();
    assert_eq!(fields, ["data.l"]);
}

#[test]
fn an_image_that_changed_is_the_reason_and_a_new_revision() {
    let with_image = |image: &str| {
        let mut object = config_map(json!({"k": "v"}));
        object.content["metadata"]["annotations"] = json!({"cke.cybozu.com/image": image});
        object
    };
    let mut live = applied(&with_image("a:1"), "4");
    live["metadata"]["annotations"]["cke.cybozu.com/image"] = json!("a:1");
    let plan = plan_of(vec![with_image("a:2")], vec![live]);
    assert_eq!(
        lines(&plan),
        ["update ConfigMap kube-system/a image: a:1 to a:2"]
    );
    assert_eq!(revision(&plan.operations[0]), "5");
}

fn object(api_version: &str, kind: &str, namespace: Option<&str>, spec: Value) -> Object {
    let mut content = json!({
        "apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}, "spec": spec,
    });
    if let Some(namespace) = namespace {
        content["metadata"]["namespace"] = json!(namespace);
    }
    Object::from_content(content).unwrap()
}

#[test]
fn an_object_that_cannot_be_written_is_named_and_the_others_are_planned() {
    let plan = plan_of(
        vec![
            object("example.com/v1", "Widget", None, json!({})),
            object("apps/v1", "DaemonSet", None, json!({})),
            object("v1", "Namespace", Some("x"), json!({})),
            config_map(json!({})),
        ],
        vec![],
    );
    let lines = lines(&plan);
    assert!(lines[0].starts_with("create ConfigMap"), "{lines:?}");
    for (line, part) in lines[1..].iter().zip([
        "DaemonSet a blocked: a DaemonSet stands in a namespace",
        "Namespace x/a blocked: a Namespace has no namespace",
        "Widget a blocked: the API server knows no Widget in example.com/v1",
    ]) {
        assert!(line.contains(part), "{line}");
    }
    assert!(!plan.is_converged());
}

#[test]
fn a_custom_resource_depends_on_its_definition_and_its_namespace() {
    let definition = object(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        None,
        json!({"group": "example.com", "names": {"kind": "Widget"}}),
    );
    let widget = object("example.com/v1", "Widget", Some("n"), json!({}));
    let desired = Desired {
        objects: vec![widget, definition],
        ..Desired::default()
    };
    let mut observed = Observed::default();
    observed
        .kinds
        .add("example.com/v1", "Widget", "widgets", true);
    let plan = plan(desired, &observed, &Limits::default());
    let needs: Vec<_> = plan.operations[1]
        .depends_on
        .iter()
        .map(Key::to_string)
        .collect();
    assert_eq!(needs, ["Namespace n", "CustomResourceDefinition a"]);
    assert_eq!(plan.operations[1].plural, "widgets");
}

fn nodes(ready: &[bool]) -> Observed {
    let nodes = ready.iter().enumerate().map(|(n, &ready)| {
        let node = SeenNode {
            ready,
            uid: n.to_string(),
            ..SeenNode::default()
        };
        (format!("n{n}"), node)
    });
    Observed {
        nodes: nodes.collect(),
        ..Observed::default()
    }
}

fn all_members(count: usize) -> Members {
    let names: Vec<_> = (0..count).map(|n| format!("n{n}")).collect();
    members(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn deployments_wait_until_more_than_half_of_the_nodes_are_ready() {
    for (count, ready, held) in [
        (1, 0, true),
        (1, 1, false),
        (2, 1, true),
        (2, 2, false),
        (3, 1, true),
        (3, 2, false),
        (5, 2, true),
        (5, 3, false),
    ] {
        let desired = Desired {
            objects: vec![
                object("apps/v1", "Deployment", Some("x"), json!({})),
                object("apps/v1", "DaemonSet", Some("x"), json!({})),
            ],
            members: all_members(count),
            ..Desired::default()
        };
        let readiness: Vec<_> = (0..count).map(|n| n < ready).collect();
        let plan = plan(desired, &nodes(&readiness), &Limits::default());
        let needed = count / 2 + 1;
        let expected: Vec<_> = if held {
            vec![
                "create DaemonSet x/a missing".to_owned(),
                format!(
                    "left Deployment x/a held: {ready} of {count} Nodes are ready, {needed} must be"
                ),
            ]
        } else {
            vec![
                "create DaemonSet x/a missing".to_owned(),
                "create Deployment x/a missing".to_owned(),
            ]
        };
        assert_eq!(lines(&plan), expected, "{count} {ready}");
        assert!(!plan.is_converged());
    }
}

fn removals(observed: &Observed, members: Members, limits: &Limits) -> Vec<String> {
    let desired = Desired {
        members,
        ..Desired::default()
    };
    lines(&plan(desired, observed, limits))
}

#[test]
fn a_node_that_left_cluster_yml_is_removed_unless_its_address_is_still_there() {
    let mut observed = nodes(&[true, true, true]);
    let address = "10.0.0.2".to_owned();
    observed.nodes.get_mut("n2").unwrap().addresses =
        vec!["n2.example".to_owned(), address.clone()];
    let mut members = members(&["n0"]);
    members.addresses.insert(address);
    assert_eq!(
        removals(&observed, members, &Limits::default()),
        ["remove Node n1 unregistered"]
    );
}

#[test]
fn more_than_a_tenth_of_the_nodes_is_not_removed_without_being_asked_for() {
    let observed = nodes(&[true; 25]);
    let gone = |count: usize, flag: Option<usize>| {
        let limits = Limits {
            remove_nodes: flag,
            ..Limits::default()
        };
        removals(&observed, all_members(25 - count), &limits)
    };
    assert_eq!(gone(2, None).len(), 2);
    assert!(gone(2, None).iter().all(|line| line.starts_with("remove")));
    let blocked = gone(3, None);
    assert_eq!(blocked.len(), 3, "none of them, rather than some");
    assert!(
        blocked[0].contains("at most 2 are removed at once"),
        "{blocked:?}"
    );
    assert!(blocked[0].contains("--remove-nodes 3"), "{blocked:?}");
    assert!(
        gone(3, Some(3))
            .iter()
            .all(|line| line.starts_with("remove"))
    );
    assert!(gone(1, Some(0))[0].starts_with("left"));
}

#[test]
fn the_last_ready_node_of_the_control_plane_is_never_removed() {
    let mut observed = nodes(&[true, false, true]);
    for name in ["n0", "n1"] {
        let node = observed.nodes.get_mut(name).unwrap();
        node.labels
            .insert("cke.cybozu.com/master".to_owned(), "true".to_owned());
    }
    let plan = removals(&observed, members(&["n1", "n2"]), &Limits::default());
    assert!(
        plan[0].contains("left Node n0 blocked: it is the last ready Node"),
        "{plan:?}"
    );
    observed.nodes.get_mut("n1").unwrap().ready = true;
    assert_eq!(
        removals(&observed, members(&["n1", "n2"]), &Limits::default()),
        ["remove Node n0 unregistered"]
    );
}

/// A plan for these registered names, of an inventory and live objects of these.
fn pruned(registered: &[&str], known: &[&str], live: &[Value], limits: &Limits) -> Plan {
    let name = |name: &&str| Key::core("ConfigMap", "x", name);
    let mut observed = Observed::default();
    for object in live {
        let key = Object::from_content(object.clone()).unwrap().key;
        observed.objects.insert(key, object.clone());
    }
    let known: String = known
        .iter()
        .map(|name| format!("v1 ConfigMap x {name}\n"))
        .collect();
    observed
        .objects
        .insert(inventory::key(), json!({"data": {"objects": known}}));
    let desired = Desired {
        registered: Some(registered.iter().map(name).collect()),
        ..Desired::default()
    };
    plan(desired, &observed, limits)
}

/// An object that we applied.
fn ours(name: &str) -> Value {
    let mut object = applied(&config_map(json!({"k": "v"})), "1");
    object["metadata"]["namespace"] = json!("x");
    object["metadata"]["name"] = json!(name);
    object
}

fn listed(plan: &Plan) -> String {
    let inventory = plan.operations.last().unwrap();
    assert_eq!(inventory.key, inventory::key(), "it is written last");
    written(inventory)["data"]["objects"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn what_left_the_directory_is_a_note_and_stays_in_the_inventory() {
    let plan = pruned(
        &["a"],
        &["a", "b", "c"],
        &[ours("a"), ours("b")],
        &Limits::default(),
    );
    assert_eq!(
        plan.notes[0].to_string(),
        "left in the cluster, though no file has it: ConfigMap x/b; \
         --prune deletes what left the directory"
    );
    assert_eq!(
        listed(&plan),
        "v1 ConfigMap x a\nv1 ConfigMap x b\n",
        "c is gone already"
    );
}

#[test]
fn pruning_deletes_what_left_the_directory_and_then_forgets_it() {
    let limits = Limits {
        prune: true,
        ..Limits::default()
    };
    let plan = pruned(&["a"], &["a", "b"], &[ours("a"), ours("b")], &limits);
    assert_eq!(lines(&plan)[0], "delete ConfigMap x/b unregistered");
    assert_eq!(listed(&plan), "v1 ConfigMap x a\n");
    let inventory = plan.operations.last().unwrap();
    assert!(
        inventory
            .depends_on
            .contains(&Key::core("ConfigMap", "x", "b")),
        "what could not be deleted is not forgotten"
    );
}

#[test]
fn pruning_has_limits() {
    let limits = |prune_limit| Limits {
        prune: true,
        prune_limit,
        ..Limits::default()
    };
    let live = [ours("b"), ours("c")];
    let plan = pruned(&[], &["b", "c"], &live, &limits(None));
    assert_eq!(plan.left.len(), 2);
    assert!(plan.left[0].reason.to_string().contains("--prune-limit 2"));
    let plan = pruned(&[], &["b", "c"], &live, &limits(Some(2)));
    assert!(plan.left.is_empty());

    let mut foreign = ours("b");
    foreign["metadata"]["managedFields"] = json!([]);
    let plan = pruned(&[], &["b"], &[foreign], &limits(None));
    assert!(
        plan.left[0]
            .reason
            .to_string()
            .contains("somebody else has made it anew")
    );
}

#[test]
fn the_same_object_in_another_version_has_not_left() {
    let mut observed = Observed::default();
    let key = |version: &str| Key {
        api_version: format!("example.com/{version}"),
        ..Key::core("Widget", "x", "a")
    };
    observed.objects.insert(key("v1beta1"), ours("a"));
    observed.objects.insert(
        inventory::key(),
        json!({"data": {"objects": "example.com/v1beta1 Widget x a\nodd\n"}}),
    );
    let desired = Desired {
        registered: Some([key("v1")].into()),
        ..Desired::default()
    };
    let limits = Limits {
        prune: true,
        ..Limits::default()
    };
    let plan = plan(desired, &observed, &limits);
    assert_eq!(listed(&plan), "example.com/v1 Widget x a\n");
    assert_eq!(plan.operations.len(), 1);
}

#[test]
fn no_change_of_a_secret_has_its_value() {
    let secret = |value: &str| {
        Object::from_content(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"namespace": "kube-system", "name": "a"},
            "data": {"k": value},
        }))
        .unwrap()
    };
    let live = applied(&secret("b2xkLWNhbmFyeQ=="), "1");
    let plan = plan_of(vec![secret("bmV3LWNhbmFyeQ==")], vec![live]);
    let shown = format!("{:?}", plan.operations[0].changes);
    assert!(shown.contains("data"), "{shown}");
    assert!(
        !shown.contains("ctY2FuYXJ5") && !shown.contains("Y2FuYXJ5"),
        "{shown}"
    );
    assert_eq!(
        written(&plan.operations[0])["data"]["k"],
        "bmV3LWNhbmFyeQ=="
    );
}
