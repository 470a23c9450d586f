//! The whole, on real parts: from a cluster.yml to a node that finds the API and resolves names.
//!
//! One network namespace stands for the cluster: three API servers, the node with rivers and nodedns,
//! and CoreDNS on the ClusterIP of its Service. There is no kube-proxy: the ClusterIP is put on the
//! namespace's loopback device, and CoreDNS listens there.

mod scene;

use k8s_openapi::api::core::v1::{ConfigMap, Node, Service};
use kube::{Api, Client};
use tests::dns::RecordType;

use scene::Scene;

#[tokio::test]
async fn cluster_yml_becomes_a_node_that_resolves_names_with_one_api_server_dead() {
    let Some(mut scene) = Scene::start().await else {
        return;
    };
    scene.cluster.api_servers[0].peer.kill();
    let _rivers = scene.start_rivers().await;
    scene.register_nodes().await;

    let said = scene.control(&["sync"]).run().await.success();
    assert!(said.contains("node-dns"), "{said}");
    assert_nodes_are_labelled(&scene.client()).await;

    let corefile = data(&scene.client(), "cluster-dns", "Corefile").await;
    let nodedns_yml = data(&scene.client(), "node-dns", "nodedns.yml").await;
    let cluster_ip = cluster_ip(&scene.client()).await;
    scene.put_on_loopback(&cluster_ip);
    let Some(_coredns) = scene.start_coredns(&cluster_ip, &corefile).await else {
        return;
    };
    let Some(_upstream) = scene.start_upstream().await else {
        return;
    };
    let nodedns = scene.start_nodedns(&nodedns_yml).await;

    scene
        .resolves(
            "kubernetes.default.svc.cluster.local.",
            RecordType::A,
            "10.96.0.1",
        )
        .await;
    scene
        .resolves(
            "1.0.96.10.in-addr.arpa.",
            RecordType::PTR,
            "kubernetes.default.svc.cluster.local.",
        )
        .await;
    scene
        .resolves("www.example.com.", RecordType::A, "192.0.2.80")
        .await;
    drop(nodedns);

    let plan = scene.control(&["plan"]).run().await;
    assert_eq!(plan.code(), 0, "a second run has nothing to do: {plan}");
}

/// What `control` says of labels and taints, read by another client.
async fn assert_nodes_are_labelled(client: &Client) {
    let nodes: Api<Node> = Api::all(client.clone());
    let control_plane = nodes.get("cp-2").await.unwrap();
    assert_eq!(
        control_plane.metadata.labels.unwrap()["cke.cybozu.com/master"],
        "true"
    );
    let taints = control_plane.spec.unwrap().taints.unwrap_or_default();
    assert!(
        taints.iter().any(|taint| taint.key == "cke.cybozu.com/master"
            && taint.effect == "PreferNoSchedule"),
        "{taints:?}"
    );
    let worker = nodes.get("worker-1").await.unwrap();
    assert_eq!(worker.metadata.labels.unwrap()["rack"], "3");
}

async fn data(client: &Client, name: &str, key: &str) -> String {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
    maps.get(name).await.unwrap().data.unwrap()[key].clone()
}

async fn cluster_ip(client: &Client) -> String {
    let services: Api<Service> = Api::namespaced(client.clone(), "kube-system");
    let service = services.get("cluster-dns").await.unwrap();
    service.spec.unwrap().cluster_ip.unwrap()
}
