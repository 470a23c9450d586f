//! CoreDNS and nodedns in a cluster: what runs, when, and how they take the place of CKE's.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::scene::{Scene, json};
use crate::takeover::{apply, create};

/// An object as a second client sees it, as JSON.
async fn seen<K>(scene: &Scene, name: &str) -> Value
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + serde::Serialize,
{
    let object = scene.in_kube_system::<K>().get(name).await.unwrap();
    serde_json::to_value(object).unwrap()
}

#[tokio::test]
async fn coredns_waits_for_nodes_and_nodedns_runs_on_each() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    let out = scene.sync().await;
    let held = "hold Deployment kube-system/cluster-dns  held: 0 of 1 Nodes are ready, 1 must be";
    assert!(out.contains(held), "{out}");
    let status = scene.control(&["status"]).run().await;
    assert!(status.stdout.contains(held), "{status}");
    assert!(
        scene
            .in_kube_system::<Deployment>()
            .get_opt("cluster-dns")
            .await
            .unwrap()
            .is_none()
    );

    scene.ready_nodes().await;
    scene.sync().await;
    let coredns = seen::<Deployment>(&scene, "cluster-dns").await;
    let image = "docker.io/coredns/coredns:1.14.4";
    for (pointer, value) in [
        ("/metadata/annotations/cke.cybozu.com~1image", json!(image)),
        ("/spec/replicas", json!(2)),
        (
            "/spec/selector/matchLabels",
            json!({"cke.cybozu.com/appname": "cluster-dns"}),
        ),
        ("/spec/template/spec/containers/0/image", json!(image)),
        (
            "/spec/template/spec/priorityClassName",
            json!("system-cluster-critical"),
        ),
    ] {
        assert_eq!(coredns.pointer(pointer), Some(&value), "{pointer}");
    }
    let budget = seen::<PodDisruptionBudget>(&scene, "cluster-dns-pdb").await;
    assert_eq!(budget["spec"]["maxUnavailable"], 1);

    let nodedns = seen::<DaemonSet>(&scene, "node-dns").await;
    let pod = &nodedns["spec"]["template"]["spec"];
    for (pointer, value) in [
        ("/hostNetwork", json!(true)),
        ("/dnsPolicy", json!("Default")),
        ("/tolerations", json!([{"operator": "Exists"}])),
        (
            "/containers/0/securityContext/capabilities",
            json!({"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]}),
        ),
    ] {
        assert_eq!(pod.pointer(pointer), Some(&value), "{pointer}");
    }
    assert_eq!(
        pod.pointer("/containers/0/ports"),
        None,
        "two pods must fit a node during an update"
    );
    assert_eq!(
        nodedns.pointer("/spec/updateStrategy/rollingUpdate"),
        Some(&json!({"maxSurge": 1, "maxUnavailable": 0}))
    );
    scene.control(&["plan"]).run().await.success();
}

#[tokio::test]
async fn cluster_yml_names_images_and_adds_to_nodednss_configuration() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    scene.ready_nodes().await;
    scene.sync().await;
    scene.cluster_yml(
        "",
        "dns_servers: [192.0.2.53]
options:
  cluster-dns: {image: registry.example/coredns:2}
  node-dns:
    image: registry.example/nodedns:2
    config:
      zones: [{name: corp.example, forward: [192.0.2.7], validate: no}]
",
    );
    let plan = scene.control(&["plan"]).run().await.stdout;
    for line in [
        "Deployment kube-system/cluster-dns  image: docker.io/coredns/coredns:1.14.4 to registry.example/coredns:2",
        "DaemonSet kube-system/node-dns  image: localhost/nodedns:",
        "ConfigMap kube-system/node-dns  revision: 1 to 2",
    ] {
        assert!(plan.contains(line), "{plan}");
    }
    scene.sync().await;
    let nodedns = &scene.config_map("node-dns").await.data.unwrap()["nodedns.yml"];
    assert!(nodedns.contains("name: corp.example."), "{nodedns}");
    assert!(nodedns.contains("name: cluster.local."), "{nodedns}");
    let daemon_set = seen::<DaemonSet>(&scene, "node-dns").await;
    let revision = "/metadata/annotations/cke.cybozu.com~1revision";
    assert_eq!(daemon_set.pointer(revision), Some(&json!("2")));
    scene.control(&["plan"]).run().await.success();
}

/// What CKE 1.3x leaves of DNS: applied as `cke`, but for the ConfigMaps, which it creates.
async fn dns_of_cke(scene: &Scene) {
    for (name, file, text) in [
        ("cluster-dns", "Corefile", ".:1053 {}"),
        ("node-dns", "unbound.conf", "server:"),
    ] {
        let config = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": "kube-system", "name": name},
            "data": {file: text},
        });
        create(scene, "v1", "configmaps", config).await;
    }
    let metadata = |name: &str, revision: &str| {
        json!({
            "namespace": "kube-system", "name": name,
            "annotations": {"cke.cybozu.com/revision": revision},
        })
    };
    let selector = |name: &str| json!({"matchLabels": {"cke.cybozu.com/appname": name}});
    let mut service = metadata("cluster-dns", "1");
    service["labels"] = selector("cluster-dns")["matchLabels"].clone();
    let port = |name: &str, protocol: &str| json!({"name": name, "port": 53, "targetPort": 1053, "protocol": protocol});
    apply(
        scene,
        "v1",
        "services",
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": service,
            "spec": {
                "selector": selector("cluster-dns")["matchLabels"],
                "ports": [port("dns", "UDP"), port("dns-tcp", "TCP")],
            },
        }),
    )
    .await;
    for name in ["cke-cluster-dns", "cke-node-dns"] {
        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(name, "1")});
        apply(scene, "v1", "serviceaccounts", account).await;
    }
    apply(
        scene,
        "policy/v1",
        "poddisruptionbudgets",
        json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": metadata("cluster-dns-pdb", "1"),
            "spec": {"maxUnavailable": 1, "selector": selector("cluster-dns")},
        }),
    )
    .await;
    let workload = |kind: &str, name: &str, revision: &str, image: &str, pod: Value| {
        let mut metadata = metadata(name, revision);
        metadata["annotations"]["cke.cybozu.com/image"] = json!(image);
        json!({
            "apiVersion": "apps/v1", "kind": kind, "metadata": metadata,
            "spec": {
                "selector": selector(name),
                "template": {"metadata": {"labels": selector(name)["matchLabels"]}, "spec": pod},
            },
        })
    };
    let pod = json!({
        "serviceAccountName": "cke-cluster-dns",
        "containers": [{
            "name": "coredns", "image": COREDNS, "args": ["-conf", "/etc/coredns/Corefile"],
            "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "sleep 5"]}}},
            "ports": [{"containerPort": 1053, "name": "dns", "protocol": "UDP"}],
        }],
    });
    apply(
        scene,
        "apps/v1",
        "deployments",
        workload("Deployment", "cluster-dns", "4", COREDNS, pod),
    )
    .await;
    let pod = json!({
        "hostNetwork": true, "serviceAccountName": "cke-node-dns", "tolerations": [{"operator": "Exists"}],
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {"name": "unbound", "image": UNBOUND, "args": ["-c", "/etc/unbound/unbound.conf"],
             "volumeMounts": [{"name": "config-volume", "mountPath": "/etc/unbound"}]},
            {"name": "reload", "image": UNBOUND, "command": ["/usr/local/bin/reload-unbound"],
             "volumeMounts": [{"name": "config-volume", "mountPath": "/etc/unbound"}]},
        ],
        "volumes": [{"name": "config-volume", "configMap": {
            "name": "node-dns", "items": [{"key": "unbound.conf", "path": "unbound.conf"}],
        }}],
    });
    apply(
        scene,
        "apps/v1",
        "daemonsets",
        workload("DaemonSet", "node-dns", "3", UNBOUND, pod),
    )
    .await;
    pods_are(scene, 3).await;
}

/// Says of the DaemonSet of three nodes that so many pods are of its present template, as its
/// controller would.
async fn pods_are(scene: &Scene, updated: i32) {
    let sets: Api<DaemonSet> = scene.in_kube_system();
    let generation = sets.get("node-dns").await.unwrap().metadata.generation;
    let status = json!({"status": {
        "observedGeneration": generation, "desiredNumberScheduled": 3, "currentNumberScheduled": 3,
        "numberMisscheduled": 0, "numberReady": 3, "updatedNumberScheduled": updated,
    }});
    sets.patch_status("node-dns", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
}

fn rollout(daemon_set: &DaemonSet) -> Value {
    let strategy = daemon_set.spec.as_ref().unwrap().update_strategy.as_ref();
    serde_json::to_value(strategy.unwrap().rolling_update.as_ref()).unwrap()
}

#[tokio::test]
async fn unbound_gives_way_to_nodedns_without_a_surprise() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    scene.ready_nodes().await;
    dns_of_cke(&scene).await;
    let options = format!("options: {{cluster-dns: {{image: '{COREDNS}'}}}}\n");
    scene.cluster_yml("", &format!("dns_servers: [192.0.2.53]\n{options}"));

    let plan = scene.changes().await;
    let operations = plan["operations"].as_array().unwrap();
    let touched: Vec<_> = operations
        .iter()
        .filter(|operation| operation["action"] != "create" && operation["kind"] != "Node")
        .map(|o| format!("{} {} {}", o["kind"], o["name"], o["reason"]).replace('"', ""))
        .collect();
    assert_eq!(
        touched,
        [
            "ConfigMap cluster-dns drift",
            "ConfigMap node-dns drift",
            "DaemonSet node-dns image",
            "Deployment cluster-dns revision",
        ],
        "{plan:#}"
    );
    for operation in operations {
        for change in operation["changes"].as_array().unwrap() {
            let field = change["field"].as_str().unwrap();
            assert!(!field.starts_with("spec.selector"), "{operation}");
        }
    }

    scene.sync().await;
    let sets: Api<DaemonSet> = scene.in_kube_system();
    let nodedns = sets.get("node-dns").await.unwrap();
    assert_eq!(nodedns.annotations()["cke.cybozu.com/revision"], "4");
    let pod = nodedns.spec.as_ref().unwrap().template.spec.as_ref();
    let names: Vec<_> = pod.unwrap().containers.iter().map(|c| &c.name).collect();
    assert_eq!(names, ["nodedns"]);
    assert_eq!(
        rollout(&nodedns),
        json!({"maxSurge": 0, "maxUnavailable": 1}),
        "unbound shares its port with nobody"
    );
    let data = scene.config_map("node-dns").await.data.unwrap();
    assert_eq!(data["unbound.conf"], "server:");
    assert!(data["nodedns.yml"].contains("zones:"));

    pods_are(&scene, 2).await;
    assert!(scene.sync().await.ends_with("nothing to do\n"));
    pods_are(&scene, 3).await;
    scene.sync().await;
    assert_eq!(
        rollout(&sets.get("node-dns").await.unwrap()),
        json!({"maxSurge": 1, "maxUnavailable": 0})
    );
    scene.control(&["plan"]).run().await.success();
}

#[tokio::test]
async fn a_cke_that_still_writes_the_corefile_is_named() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    scene.ready_nodes().await;
    dns_of_cke(&scene).await;
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    scene.sync().await;
    let params = PatchParams {
        field_manager: Some("cke".to_owned()),
        ..PatchParams::default()
    };
    let undone = Patch::Merge(json!({"data": {"Corefile": ".:1053 {}"}}));
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = scene.in_kube_system();
    maps.patch("cluster-dns", &params, &undone).await.unwrap();
    let plan = json(&scene.control(&["plan", "-o", "json"]).run().await);
    let note = plan["notes"][0].as_str().unwrap();
    assert!(
        note.starts_with("a CKE that still runs has written ConfigMap kube-system/cluster-dns"),
        "{plan}"
    );
}

const COREDNS: &str = "ghcr.io/cybozu/coredns:1.14.2.1";
const UNBOUND: &str = "ghcr.io/cybozu/unbound:1.24.2.4";
