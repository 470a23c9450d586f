//! `migration.md`: what it tells kubectl to do, word by word, on a real API server.

use std::fs;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use serde_json::{Value, json};
use tests::node::images::root;

use crate::scene::Scene;

#[tokio::test]
async fn nodes_go_from_nodelocal_dnscache_to_nodedns_and_back_one_by_one() {
    let Some(scene) = Scene::start().await else {
        return;
    };
    let nodes: Api<Node> = Api::all(scene.cluster.client(0));
    let sets: Api<DaemonSet> = Api::namespaced(scene.cluster.client(0), "kube-system");
    let maps: Api<ConfigMap> = Api::namespaced(scene.cluster.client(0), "kube-system");
    let create = PostParams::default();
    let metadata = |name: &str| ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    };
    let node = Node {
        metadata: metadata("worker-1"),
        ..Node::default()
    };
    nodes.create(&create, &node).await.unwrap();
    let map = ConfigMap {
        metadata: metadata(NODE_LOCAL),
        ..ConfigMap::default()
    };
    maps.create(&create, &map).await.unwrap();
    sets.create(&create, &node_local()).await.unwrap();

    let commands = commands("## From NodeLocal DNSCache");
    let [show, label, patch, apply, delete_set, delete_map] = &commands[..] else {
        panic!("{commands:#?}");
    };
    for command in [show, label, patch, apply] {
        scene.shell(command).run().await.success();
    }
    // The two exclude each other, by the label that the first node has.
    let own = nodes.get("worker-1").await.unwrap().metadata.labels;
    assert_eq!(own.unwrap()["dns"], "nodedns");
    let set = |name: &'static str| {
        let sets = sets.clone();
        async move { serde_json::to_value(sets.get(name).await.unwrap()).unwrap() }
    };
    let ours = set("node-dns").await;
    let selector = &ours["spec"]["template"]["spec"]["nodeSelector"];
    let selected = json!({"kubernetes.io/os": "linux", "dns": "nodedns"});
    assert_eq!(selector, &selected);
    let terms = set(NODE_LOCAL).await;
    let expression = terms
        .pointer("/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchExpressions/0")
        .cloned();
    let excluded = json!({"key": "dns", "operator": "NotIn", "values": ["nodedns"]});
    assert_eq!(expression, Some(excluded));

    scene.shell(UNLABEL).run().await.success();
    assert!(text().contains(UNLABEL), "the way back has {UNLABEL}");
    let own = nodes.get("worker-1").await.unwrap().metadata.labels;
    assert!(!own.unwrap_or_default().contains_key("dns"));

    for command in [delete_set, delete_map] {
        scene.shell(command).run().await.success();
    }
    assert_eq!(sets.get_opt(NODE_LOCAL).await.unwrap(), None);
    assert_eq!(maps.get_opt(NODE_LOCAL).await.unwrap(), None);
}

/// What matters here of the add-on's DaemonSet.
fn node_local() -> DaemonSet {
    let labels = json!({"k8s-app": NODE_LOCAL});
    let set: Value = json!({
        "metadata": {"name": NODE_LOCAL},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "hostNetwork": true,
                    "dnsPolicy": "Default",
                    "containers": [{"name": "node-cache", "image": "localhost/node-cache"}],
                },
            },
        },
    });
    serde_json::from_value(set).unwrap()
}

/// The commands of a section that are for kubectl alone; one goes on in the next line after `\` and `|`.
fn commands(section: &str) -> Vec<String> {
    let text = text();
    let (_, section) = text.split_once(section).expect(section);
    let section = section.split("\n## ").next().unwrap();
    let mut commands = vec![String::new()];
    for line in section.lines().filter_map(|line| line.strip_prefix("    ")) {
        let line = line.split("   # ").next().unwrap().trim_end();
        let last = commands.last_mut().unwrap();
        *last += line.trim_end_matches('\\');
        if !line.ends_with(['\\', '|']) {
            commands.push(String::new());
        }
    }
    commands.retain(|command| command.starts_with("kubectl ") && !command.contains(" exec "));
    commands
}

fn text() -> String {
    fs::read_to_string(root().join("deploy/migration.md")).unwrap()
}

const NODE_LOCAL: &str = "node-local-dns";
const UNLABEL: &str = "kubectl label node worker-1 dns-";
