//! `control node-config`, and the real kube-proxy as its judge: it reads the file, checks it, and
//! writes down what it has understood. It needs no right for that, and no kernel.

use std::fs;

use serde_json::{Value, json};
use tests::binaries;
use tests::launch::{Launch, Output};
use tests::machine::{Machine, Machines, USER};
use tests::place::Place;
use tests::program;

use crate::scene::store_ssh_key;

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

#[tokio::test]
async fn the_file_is_brought_to_nodes_over_ssh() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let Some(mut machines) = Machines::start(&place, 3).await else {
        return;
    };
    store_ssh_key(place.folder(), &machines.key());
    let addresses: Vec<_> = machines.list.iter().map(Machine::address).collect();
    let write = |mode: &str| {
        let nodes: String = (1..)
            .zip(&addresses)
            .map(|(number, address)| {
                format!("- {{address: {address}, hostname: node-{number}, user: {USER}, control_plane: true}}\n")
            })
            .collect();
        let text = format!(
            "name: a\nservice_subnet: 10.96.0.0/16\nnodes:\n{nodes}\
             options: {{kube-proxy: {{config: {{mode: {mode}}}}}}}\n"
        );
        fs::write(place.folder().join("cluster.yml"), text).unwrap();
    };
    write("nftables");
    let known_hosts = machines.known_hosts();
    let kube_proxy = async |command: &str| {
        let output = program::control(&place)
            .args(["kube-proxy", command, "--known-hosts"])
            .arg(&known_hosts)
            .run()
            .await;
        (output.code(), output.stdout)
    };
    machines.list[2].peer.kill();
    let (code, said) = kube_proxy("status").await;
    assert_eq!(code, 1, "{said}");
    assert!(
        said.starts_with("node-1: wrong\nnode-2: wrong\nnode-3: not reached: SSH to 10.9.1.3"),
        "{said}"
    );
    let (code, said) = kube_proxy("deploy").await;
    assert_eq!(code, 1, "one is away: {said}");
    assert!(
        said.starts_with("node-1: delivered\nnode-2: delivered\nnode-3: not reached"),
        "{said}"
    );
    let (_, said) = kube_proxy("deploy").await;
    assert!(
        said.starts_with("node-1: right\nnode-2: right\nnode-3: not reached"),
        "{said}"
    );

    let machine = &machines.list[1];
    let show =
        "stat -c '%U %a' /etc/kubernetes/proxy/config.yml; cat /etc/kubernetes/proxy/config.yml";
    let shown = machine.run(&place, show).await.success();
    let file = shown.strip_prefix("root 600\n").expect(&shown);
    let Some(understood) = understood(&place, file).await else {
        return;
    };
    let config = understood.unwrap();
    assert_eq!(
        (&config["mode"], &config["hostnameOverride"]),
        (&json!("nftables"), &json!("node-2"))
    );
    machine
        .run(&place, "echo >>/etc/kubernetes/proxy/config.yml")
        .await
        .success();
    let (_, said) = kube_proxy("status").await;
    assert!(said.starts_with("node-1: right\nnode-2: wrong\n"), "{said}");

    // As the machine's kernel has it, whose file stays where it has not.
    write("ipvs");
    let module = machine
        .run(&place, "[ -d /sys/module/ip_vs ] || modprobe -n -q ip_vs")
        .await;
    let (_, said) = kube_proxy("deploy").await;
    let expected = if module.code() == 0 {
        "node-2: delivered\n"
    } else {
        "node-2: refused: its kernel has no module ip_vs"
    };
    assert!(said.contains(expected), "{said}");
}
