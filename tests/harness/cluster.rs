//! A cluster of real API servers.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Endpoints};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use tests::kubernetes::Cluster;
use tests::place::Place;
use tests::wait;

#[tokio::test]
async fn three_api_servers_share_one_etcd_and_a_killed_one_comes_back() {
    let place = Place::loopback();
    let Some(mut cluster) = Cluster::builder(&place).api_servers(3).start().await else {
        return;
    };

    let object = ConfigMap {
        metadata: ObjectMeta {
            name: Some("written".into()),
            ..Default::default()
        },
        ..Default::default()
    };
    Api::default_namespaced(cluster.client(0))
        .create(&PostParams::default(), &object)
        .await
        .unwrap();
    let elsewhere: Api<ConfigMap> = Api::default_namespaced(cluster.client(2));
    elsewhere.get("written").await.unwrap();

    cluster.api_servers[2].peer.kill();
    elsewhere.get("written").await.unwrap_err();

    cluster.api_servers[2].restart().await;
    wait::until("the object", Duration::from_secs(10), async || {
        elsewhere.get("written").await
    })
    .await;
}

#[tokio::test]
async fn in_a_namespace_node_addresses_are_valid_endpoints() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let Some(cluster) = Cluster::builder(&place).start().await else {
        return;
    };
    assert_eq!(cluster.upstreams(), ["10.9.0.2:6443"]);

    let endpoints: Endpoints = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "kubernetes"},
        "subsets": [{"addresses": [{"ip": "10.9.0.2"}], "ports": [{"name": "https", "port": 6443}]}],
    }))
    .unwrap();
    let api: Api<Endpoints> = Api::default_namespaced(cluster.client(0));
    api.create(&PostParams::default(), &endpoints)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_stopped_api_server_ends_in_order() {
    let place = Place::loopback();
    let Some(mut cluster) = Cluster::builder(&place).start().await else {
        return;
    };
    let status = cluster.api_servers[0].peer.stop().await;
    assert!(status.success(), "{status}");
}
