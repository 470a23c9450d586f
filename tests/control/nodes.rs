//! Nodes, which kubelet and others write too.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::api::core::v1::{Node, Taint};
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;

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
async fn nobodys_taint_is_lost_when_two_write_at_once() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    scene.register("cp-2", json!({}), json!([])).await;
    let enough = AtomicBool::new(false);
    let other = taint_until(scene.client(), &enough);
    let control = async {
        for round in 0..10 {
            scene.cluster_yml("", &format!("taint_control_plane: {}\n", round % 2 == 0));
            scene.sync().await;
        }
        enough.store(true, Ordering::Relaxed);
    };
    let (given, ()) = tokio::join!(other, control);

    assert!(given > 10, "the other did write meanwhile: {given}");
    let mut expected: Vec<_> = (0..given)
        .map(|n| format!("example.com/t{n}=:NoSchedule"))
        .collect();
    let mut found = taints(&scene.node("cp-2").await);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

/// Gives the Node one taint after the other, as a careful controller does; says how many.
async fn taint_until(client: Client, enough: &AtomicBool) -> usize {
    let nodes: Api<Node> = Api::all(client);
    let mut given = 0;
    while !enough.load(Ordering::Relaxed) {
        let node = nodes.get("cp-2").await.unwrap();
        let mut taints = node
            .spec
            .clone()
            .unwrap_or_default()
            .taints
            .unwrap_or_default();
        taints.push(Taint {
            key: format!("example.com/t{given}"),
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
            Ok(_) => given += 1,
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => panic!("{error}"),
        }
        // A controller's pace; without a pause nobody else would ever win.
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    given
}
