//! `control node-config`, and the real kube-proxy as its judge: it reads the file, checks it, and
//! writes down what it has understood. It needs no right for that, and no kernel.

use std::fs;

use serde_json::{Value, json};
use tests::binaries;
use tests::launch::{Launch, Output};
use tests::place::Place;
use tests::program;

const CLUSTER: &str = "\
name: test
service_subnet: 10.96.0.0/16
nodes:
- {address: 10.9.0.2, hostname: cp, user: u, control_plane: true}
- {address: 10.9.0.11, hostname: worker, user: u}
";

async fn node_config(place: &Place, options: &str, arguments: &[&str]) -> Output {
    let text = format!("{CLUSTER}{options}");
    fs::write(place.folder().join("cluster.yml"), text).unwrap();
    program::control(place)
        .arg("node-config")
        .args(arguments)
        .run()
        .await
}

/// What kube-proxy makes of this file, as JSON; `None` without a kube-proxy, which has been said.
async fn understood(place: &Place, config: &str) -> Option<Result<Value, String>> {
    let kube_proxy = binaries::built("kube-proxy")?;
    let file = |name: &str| place.folder().join(name);
    fs::write(file("config.yml"), config).unwrap();
    let output = Launch::new(place, "kube-proxy", &kube_proxy)
        .arg("--config")
        .arg(file("config.yml"))
        .arg("--write-config-to")
        .arg(file("understood.yml"))
        .run()
        .await;
    if output.code() != 0 {
        return Some(Err(output.to_string()));
    }
    let written = fs::read_to_string(file("understood.yml")).unwrap();
    Some(Ok(serde_yaml::from_str(&written).unwrap()))
}

#[tokio::test]
async fn kube_proxy_takes_the_default_which_is_ipvs() {
    let place = Place::loopback();
    let config = node_config(&place, "", &["worker", "kube-proxy"])
        .await
        .success();
    assert!(config.contains("deprecated since 1.35"), "{config}");
    let Some(understood) = understood(&place, &config).await else {
        return;
    };
    let understood = understood.unwrap();
    for (pointer, value) in [
        ("/mode", json!("ipvs")),
        ("/hostnameOverride", json!("worker")),
        ("/metricsBindAddress", json!("0.0.0.0:10249")),
        ("/conntrack/tcpEstablishedTimeout", json!("24h0m0s")),
        (
            "/clientConnection/kubeconfig",
            json!("/etc/kubernetes/proxy/kubeconfig"),
        ),
    ] {
        assert_eq!(understood.pointer(pointer), Some(&value), "{pointer}");
    }
}

#[tokio::test]
async fn kube_proxy_takes_nftables_and_what_the_operator_adds() {
    let place = Place::loopback();
    let options = "options: {kube-proxy: {config: {mode: nftables, clusterCIDR: 10.64.0.0/14}}}\n";
    let config = node_config(&place, options, &["10.9.0.11", "kube-proxy"]).await;
    let config = config.success();
    assert!(!config.contains("deprecated"), "{config}");
    let Some(understood) = understood(&place, &config).await else {
        return;
    };
    let understood = understood.unwrap();
    assert_eq!(understood["mode"], "nftables");
    assert_eq!(understood["clusterCIDR"], "10.64.0.0/14");
}

#[tokio::test]
async fn kube_proxy_refuses_what_it_does_not_understand() {
    let place = Place::loopback();
    let options = "options: {kube-proxy: {config: {clusterCIDR: everywhere}}}\n";
    let config = node_config(&place, options, &["worker", "kube-proxy"]).await;
    let Some(understood) = understood(&place, &config.success()).await else {
        return;
    };
    let refused = understood.unwrap_err();
    assert!(refused.contains("everywhere"), "{refused}");
}

#[tokio::test]
async fn the_whole_names_kubelets_dns_and_an_unknown_node_is_refused() {
    let place = Place::loopback();
    let whole = node_config(&place, "", &["worker", "-o", "json"]).await;
    let whole: Value = serde_json::from_str(&whole.success()).unwrap();
    assert_eq!(whole["kubelet"]["clusterDNS"], json!(["10.9.0.11"]));
    assert_eq!(whole["api_server"], "https://localhost:16443");
    assert_eq!(whole["kube_proxy"]["hostnameOverride"], "worker");
    let text = node_config(&place, "", &["worker"]).await.success();
    assert_eq!(text.matches("\n---\n").count(), 1, "{text}");

    let unknown = node_config(&place, "", &["nobody"]).await;
    assert_eq!(unknown.code(), 2, "{unknown}");
    assert!(
        unknown
            .stderr
            .contains("no node has the hostname or address `nobody`"),
        "{unknown}"
    );
}
