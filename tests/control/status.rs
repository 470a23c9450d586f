//! `control status`: what must hold beside what a plan writes, asked of real API servers, etcd and
//! CoreDNS.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tests::coredns::CoreDns;
use tests::place::Place;
use tests::wait;

use crate::scene::{Scene, json};

/// What is said of one subject: the verdict and the details.
async fn said(scene: &Scene, subject: &str) -> String {
    let etcd = scene.cluster.pki.client("status", None);
    let output = scene
        .control(&["status", "-o", "json"])
        .arg("--etcd-ca")
        .arg(scene.cluster.pki.ca_file())
        .arg("--etcd-cert")
        .arg(&etcd.certificate)
        .arg("--etcd-key")
        .arg(&etcd.key)
        .run()
        .await;
    let status = json(&output);
    let checks = status["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["subject"] == subject);
    let check = check.unwrap_or_else(|| panic!("{subject}: {output}"));
    let text = |field: &str| check[field].as_str().unwrap().to_owned();
    format!("{}: {}", text("verdict"), text("detail"))
}

async fn create<K>(api: &Api<K>, object: Value)
where
    K: Clone + DeserializeOwned + serde::Serialize + std::fmt::Debug,
{
    let object: K = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
}

async fn scene() -> Option<Scene> {
    let scene = Scene::start_in(Place::namespace()?, 1, &[]).await?;
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    scene.ready_nodes().await;
    scene.sync().await;
    Some(scene)
}

#[tokio::test]
async fn rights_that_are_missing_are_named() {
    let Some(scene) = scene().await else {
        return;
    };
    let good = said(&scene, "RBAC").await;
    assert!(good.starts_with("good: "), "{good}");
    let bindings: Api<ClusterRoleBinding> = Api::all(scene.client());
    for binding in ["system:cluster-dns", "system:kube-apiserver"] {
        bindings.delete(binding, &Default::default()).await.unwrap();
    }
    wait::until("the rights to go", Duration::from_secs(10), async || {
        let bad = said(&scene, "RBAC").await;
        if bad.starts_with("bad: the API servers (user `kubernetes`) may not reach kubelets")
            && bad.contains("CoreDNS may not read Services; CoreDNS may not read EndpointSlices")
        {
            Ok(())
        } else {
            Err(bad)
        }
    })
    .await;
    let output = scene.control(&["status"]).run().await;
    assert_eq!(output.code(), 1, "{output}");
    assert!(output.stdout.contains("RBAC: bad, "), "{output}");
}

#[tokio::test]
async fn coredns_is_asked() {
    let Some(scene) = scene().await else {
        return;
    };
    let nobody = said(&scene, "CoreDNS").await;
    assert_eq!(nobody, "bad: no pod of cluster-dns is ready");

    let slices: Api<EndpointSlice> = scene.in_kube_system();
    let slice = json!({
        "metadata": {
            "name": "cluster-dns-test", "labels": {"kubernetes.io/service-name": "cluster-dns"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.9.0.5"], "conditions": {"ready": true}}],
        "ports": [{"name": "dns-tcp", "port": 53, "protocol": "TCP"}],
    });
    create(&slices, slice).await;
    let silent = said(&scene, "CoreDNS").await;
    assert!(
        silent.starts_with("open: its pods are ready; none could be asked"),
        "{silent}"
    );

    let corefile = "cluster.local:53 {\n  bind 10.9.0.5\n  hosts {\n    \
                    10.96.0.1 kubernetes.default.svc.cluster.local\n  }\n}\n";
    let at = scene.place().socket_address(5, 53);
    let Some(server) = CoreDns::start(scene.place(), at, corefile).await else {
        return;
    };
    let good = said(&scene, "CoreDNS").await;
    assert_eq!(
        good,
        "good: 10.9.0.5 answers for kubernetes.default.svc.cluster.local."
    );
    drop(server);
    let corefile = "cluster.local:53 {\n  bind 10.9.0.5\n  hosts {\n    192.0.2.1 other\n  }\n}\n";
    let Some(_server) = CoreDns::start(scene.place(), at, corefile).await else {
        return;
    };
    let bad = said(&scene, "CoreDNS").await;
    assert!(bad.starts_with("bad: 10.9.0.5 says "), "{bad}");
}

#[tokio::test]
async fn a_store_without_keys_for_ssh_keeps_nothing_else_from_being_told() {
    let Some(scene) = scene().await else {
        return;
    };
    scene.ssh_key("no key");
    let store = scene.folder().join("control-store");
    fs::set_permissions(&store, Permissions::from_mode(0o750)).unwrap();
    let status = scene.control(&["status", "--hosts", "ssh"]).run().await;
    // No CoreDNS runs here.
    assert_eq!(status.code(), 1, "{status}");
    assert!(status.stdout.contains("RBAC: good"), "{status}");
    let rivers = "rivers: open, not reached: store control-store: others may read it (mode 0750)";
    assert_eq!(status.stdout.matches(rivers).count(), 1, "{status}");
}

#[tokio::test]
async fn an_api_server_behind_the_api_servers_that_does_not_answer_is_named() {
    let Some(scene) = scene().await else {
        return;
    };
    let layer = "aggregation layer";
    assert_eq!(said(&scene, layer).await, "open: nobody uses it");
    let services: Api<APIService> = Api::all(scene.client());
    let service = json!({
        "metadata": {"name": "v1.metrics.example"},
        "spec": {
            "group": "metrics.example", "version": "v1", "insecureSkipTLSVerify": true,
            "groupPriorityMinimum": 100, "versionPriority": 100,
            "service": {"namespace": "default", "name": "nowhere"},
        },
    });
    create(&services, service).await;
    wait::until("a verdict", Duration::from_secs(30), async || {
        let bad = said(&scene, layer).await;
        let expected = "bad: no answer from v1.metrics.example (service/nowhere in \"default\"";
        if bad.starts_with(expected) {
            Ok(())
        } else {
            Err(bad)
        }
    })
    .await;
}

#[tokio::test]
async fn nodes_without_a_network_and_the_builds_of_nodedns_are_told() {
    let Some(scene) = scene().await else {
        return;
    };
    let good = said(&scene, "pod network").await;
    assert!(good.starts_with("good: ready on 1 of 1 Nodes"), "{good}");
    let trouble = json!({"status": {"conditions": [
        {"type": "Ready", "status": "False", "reason": "KubeletNotReady",
         "message": "container runtime network not ready: NetworkReady=false: cni plugin not initialized"},
    ]}});
    Api::<Node>::all(scene.client())
        .patch_status("cp-2", &PatchParams::default(), &Patch::Merge(trouble))
        .await
        .unwrap();
    let bad = said(&scene, "pod network").await;
    assert!(
        bad.starts_with("bad: not ready on cp-2 (container runtime network"),
        "{bad}"
    );

    assert_eq!(
        said(&scene, "nodedns").await,
        "open: no pod of DaemonSet node-dns is there"
    );
    let pods: Api<Pod> = scene.in_kube_system();
    for (name, image) in [("a", "nodedns:1"), ("b", "nodedns:1"), ("c", "nodedns:2")] {
        let pod = json!({
            "metadata": {"name": name, "labels": {
                "cke.cybozu.com/appname": "node-dns", "controller-revision-hash": "x",
            }},
            "spec": {"nodeName": name, "containers": [{"name": "nodedns", "image": image}]},
        });
        create(&pods, pod).await;
    }
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    for name in ["a", "c"] {
        let ready = Patch::Merge(&ready);
        let params = PatchParams::default();
        pods.patch_status(name, &params, &ready).await.unwrap();
    }
    assert_eq!(
        said(&scene, "nodedns").await,
        "bad: nodedns:1 (revision x) ready on 1 of 2 nodes; nodedns:2 (revision x) ready on 1 of 1 nodes"
    );
}
