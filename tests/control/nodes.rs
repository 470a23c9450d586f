//! Nodes, which kubelet and others write too.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use k8s_openapi::api::core::v1::{Node, Taint};
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::task::JoinSet;

use crate::scene::Scene;

/// Taints as `key=value:effect`, less those that the API server gives to a Node that is not ready.
fn taints(node: &Node) -> Vec<String> {
    let taints = node
        .spec
        .clone()
        .unwrap_or_default()
        .taints
        .unwrap_or_default();
    taints
        .into_iter()
        .filter(|taint| !taint.key.starts_with("node.kubernetes.io/"))
        .map(
            |Taint {
                 key, value, effect, ..
             }| { format!("{key}={}:{effect}", value.unwrap_or_default()) },
        )
        .collect()
}

fn labels(node: &Node) -> BTreeMap<&str, &str> {
    node.labels()
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}

#[tokio::test]
async fn nodes_get_what_cluster_yml_says_and_keep_what_others_gave_them() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    let taint = |key: &str| json!({"key": key, "effect": "NoSchedule"});
    scene
        .register(
            "cp-2",
            json!({"example.com/foreign": "x"}),
            json!([taint("example.com/foreign"), taint("cke.cybozu.com/reboot")]),
        )
        .await;
    scene
        .register(
            "worker",
            json!({"cke.cybozu.com/master": "true", "example.com/zone": "old"}),
            json!([
                taint("node-role.kubernetes.io/old"),
                taint("sabakan.cke.cybozu.com/old"),
                {"key": "example.com/gpu", "value": "old", "effect": "NoSchedule"},
            ]),
        )
        .await;
    let worker = |master| {
        format!(
            "- address: 10.9.0.11
  hostname: worker
  user: u
  control_plane: {master}
  labels: {{example.com/zone: a}}
  annotations: {{example.com/serial: '1'}}
  taints: [{{key: example.com/gpu, value: new, effect: NoExecute}}]
- {{address: 10.9.0.12, hostname: unregistered, user: u}}
"
        )
    };
    scene.cluster_yml(&worker(false), "taint_control_plane: true\n");
    let out = scene.sync().await;
    assert!(
        out.contains("note Node unregistered does not exist yet"),
        "{out}"
    );

    let cp = scene.node("cp-2").await;
    assert_eq!(
        labels(&cp),
        [
            ("cke.cybozu.com/master", "true"),
            ("example.com/foreign", "x")
        ]
        .into()
    );
    assert_eq!(
        taints(&cp),
        [
            "example.com/foreign=:NoSchedule",
            "cke.cybozu.com/reboot=:NoSchedule",
            "cke.cybozu.com/master=:PreferNoSchedule",
        ]
    );
    let node = scene.node("worker").await;
    assert_eq!(labels(&node), [("example.com/zone", "a")].into());
    assert_eq!(node.annotations()["example.com/serial"], "1");
    assert_eq!(taints(&node), ["example.com/gpu=new:NoExecute"]);

    let versions = scene.versions().await;
    assert!(scene.sync().await.ends_with("nothing to do\n"));
    assert_eq!(scene.versions().await, versions);

    // The worker joins the control plane, and the control plane is tainted no longer.
    scene.cluster_yml(&worker(true), "taint_control_plane: false\n");
    scene.sync().await;
    assert_eq!(
        taints(&scene.node("cp-2").await),
        [
            "example.com/foreign=:NoSchedule",
            "cke.cybozu.com/reboot=:NoSchedule"
        ]
    );
    assert_eq!(
        scene.node("worker").await.labels()["cke.cybozu.com/master"],
        "true"
    );

    // And leaves it again.
    scene.cluster_yml(&worker(false), "");
    scene.sync().await;
    assert_eq!(
        labels(&scene.node("worker").await),
        [("example.com/zone", "a")].into()
    );
}

#[tokio::test]
async fn nodes_that_left_cluster_yml_are_removed_within_limits() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    for name in ["cp-2", "gone-1", "gone-2"] {
        scene.register(name, json!({}), json!([])).await;
    }
    scene.cluster_yml("", "");
    let output = scene.control(&["sync"]).run().await;
    assert_eq!(output.code(), 1, "{output}");
    assert!(
        output
            .stdout
            .contains("failed Node gone-1: 2 of 3 Nodes are not in cluster.yml"),
        "{output}"
    );
    scene.node("gone-1").await;

    let out = scene
        .control(&["sync", "--remove-nodes", "2", "--drain"])
        .run()
        .await
        .success();
    assert!(out.contains("deleted Node gone-1"), "{out}");
    let nodes: Api<Node> = Api::all(scene.client());
    assert!(nodes.get_opt("gone-2").await.unwrap().is_none());
    assert!(nodes.get_opt("cp-2").await.unwrap().is_some());

    let labels = json!({"cke.cybozu.com/master": "true"});
    scene.register("cp-old", labels, json!([])).await;
    scene.make_ready("cp-old").await;
    let output = scene.control(&["sync"]).run().await;
    assert!(
        output
            .stdout
            .contains("failed Node cp-old: it is the last ready Node of the control plane"),
        "{output}"
    );
    scene.make_ready("cp-2").await;
    let out = scene.sync().await;
    assert!(out.contains("deleted Node cp-old"), "{out}");
}

#[tokio::test]
async fn nobodys_taint_is_lost_when_two_write_at_once() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    scene.register("cp-2", json!({}), json!([])).await;
    let enough = AtomicBool::new(false);
    let given = AtomicUsize::new(0);
    let other = taint_until(scene.client(), &enough, &given);
    let control = async {
        for round in 0.. {
            scene.cluster_yml("", &format!("taint_control_plane: {}\n", round % 2 == 0));
            scene.sync().await;
            if given.load(Ordering::Relaxed) >= 100 {
                break;
            }
        }
        enough.store(true, Ordering::Relaxed);
    };
    tokio::join!(other, control);
    scene.cluster_yml("", "taint_control_plane: false\n");
    scene.sync().await;
    let given = given.into_inner();
    assert!(given >= 100, "the other did write meanwhile: {given}");
    let mut expected: Vec<_> = (0..given)
        .map(|n| format!("example.com/t{n}=:NoSchedule"))
        .collect();
    let mut found = taints(&scene.node("cp-2").await);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

/// A hundred others each edit two Nodes while control patches, creates and removes labels and taints of all of them:
/// a label and an annotation each, without a version, and a taint, of the version that they have read.
#[tokio::test]
async fn a_hundred_edits_at_once_are_neither_lost_nor_aborted() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    let names: Vec<String> = (0..20).map(|number| format!("worker-{number}")).collect();
    scene.register("cp-2", json!({}), json!([])).await;
    for name in &names {
        scene.register(name, json!({}), json!([])).await;
    }
    let cluster = |round: usize| {
        let entry = |(number, name): (usize, &String)| {
            format!(
                "- {{address: 10.9.1.{number}, hostname: {name}, user: u, labels: {{example.com/round: r{round}}}, \
                 taints: [{{key: cke.cybozu.com/r{}, effect: PreferNoSchedule}}]}}\n",
                round % 3
            )
        };
        let nodes: String = names.iter().enumerate().map(entry).collect();
        scene.cluster_yml(&nodes, "");
    };
    cluster(0);
    scene.sync().await;
    let nodes: Api<Node> = Api::all(scene.client());
    let mut edits = JoinSet::new();
    for number in 0..EDITS {
        let nodes = nodes.clone();
        let both = [number, number + 7].map(|index| names[index % names.len()].clone());
        edits.spawn(async move {
            for name in both {
                edit(&nodes, &name, number).await;
            }
        });
    }
    let is_done = AtomicBool::new(false);
    let edits = async {
        edits.join_all().await;
        is_done.store(true, Ordering::Relaxed);
    };
    let mut rounds = 0;
    let control = async {
        // Each must succeed: none is aborted by the others.
        while rounds == 0 || !is_done.load(Ordering::Relaxed) {
            rounds += 1;
            cluster(rounds);
            scene.sync().await;
        }
    };
    tokio::join!(edits, control);
    for (index, name) in names.iter().enumerate() {
        let node = scene.node(name).await;
        let (labels, taints) = (labels(&node), taints(&node));
        for number in 0..EDITS {
            let is_here = [number % names.len(), (number + 7) % names.len()].contains(&index);
            let key = format!("example.com/e{number}");
            assert_eq!(labels.contains_key(key.as_str()), is_here, "{name} {key}");
            assert_eq!(
                node.annotations().contains_key(&key),
                is_here,
                "{name} {key}"
            );
            assert_eq!(
                taints.contains(&format!("{key}=:NoSchedule")),
                is_here,
                "{name} {key}"
            );
        }
        assert_eq!(labels["example.com/round"], format!("r{rounds}"));
        let ours: Vec<_> = taints
            .iter()
            .filter(|taint| taint.starts_with("cke"))
            .collect();
        assert_eq!(
            ours,
            [&format!("cke.cybozu.com/r{}=:PreferNoSchedule", rounds % 3)]
        );
    }
    println!("{EDITS} edits of two Nodes each during {rounds} syncs, none lost");
}

/// One edit of one Node, which does not give up.
async fn edit(nodes: &Api<Node>, name: &str, number: usize) {
    let key = format!("example.com/e{number}");
    let note = json!({"metadata": {"labels": {&key: "1"}, "annotations": {&key: "1"}}});
    let params = PatchParams::default();
    nodes
        .patch(name, &params, &Patch::Merge(note))
        .await
        .unwrap();
    loop {
        let node = nodes.get(name).await.unwrap();
        let mut taints = node
            .spec
            .as_ref()
            .and_then(|spec| spec.taints.clone())
            .unwrap_or_default();
        taints.push(Taint {
            key: key.clone(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        });
        let patch = json!({
            "metadata": {"resourceVersion": node.resource_version()},
            "spec": {"taints": taints},
        });
        match nodes.patch(name, &params, &Patch::Merge(patch)).await {
            Ok(_) => return,
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => panic!("{error}"),
        }
    }
}

const EDITS: usize = 100;

/// Gives the Node one taint after the other, as a careful controller does, and counts them.
async fn taint_until(client: Client, enough: &AtomicBool, given: &AtomicUsize) {
    let nodes: Api<Node> = Api::all(client);
    while !enough.load(Ordering::Relaxed) {
        let node = nodes.get("cp-2").await.unwrap();
        let mut taints = node
            .spec
            .clone()
            .unwrap_or_default()
            .taints
            .unwrap_or_default();
        taints.push(Taint {
            key: format!("example.com/t{}", given.load(Ordering::Relaxed)),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        });
        let patch = json!({
            "metadata": {"resourceVersion": node.resource_version()},
            "spec": {"taints": taints},
        });
        match nodes
            .patch("cp-2", &PatchParams::default(), &Patch::Merge(patch))
            .await
        {
            Ok(_) => {
                given.fetch_add(1, Ordering::Relaxed);
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => panic!("{error}"),
        }
        // A controller's pace; without a pause nobody else would ever win.
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
