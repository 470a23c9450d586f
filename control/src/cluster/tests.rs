//! cluster.yml as a specification: what is taken, what is refused and where.

use super::*;

const GOOD: &str = "\
name: prod
service_subnet: 10.68.0.0/16
nodes:
- address: 10.0.0.11
  hostname: cp-1
  user: cke
  control_plane: true
- address: 10.0.0.21
  user: cke
  labels: {example.com/rack: '1'}
  annotations: {Example: \"any text\"}
  taints:
  - {key: example.com/dedicated, value: gpu, effect: NoExecute}
";

fn read(text: &str) -> Result<Cluster, String> {
    Cluster::parse(Path::new("cluster.yml"), text.as_bytes()).map_err(|error| error.to_string())
}

/// The error of `GOOD` with one line replaced.
fn error_with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    read(&GOOD.replacen(from, to, 1)).unwrap_err()
}

/// The error of `GOOD` with `more` at its end.
fn error_and(more: &str) -> String {
    read(&format!("{GOOD}{more}")).unwrap_err()
}

#[test]
fn a_small_cluster_is_read_whole() {
    let cluster = read(GOOD).unwrap();
    assert_eq!(cluster.name, "prod");
    assert_eq!(cluster.service_subnet.to_string(), "10.68.0.0/16");
    assert_eq!(cluster.options.cluster_domain, "cluster.local");
    assert_eq!(cluster.upstreams, Upstreams::default());
    assert!(!cluster.taint_control_plane);
    assert!(cluster.ignored.is_empty());
    assert_eq!(cluster.control_plane().count(), 1);
    let [first, second] = &cluster.nodes[..] else {
        panic!("two nodes")
    };
    assert_eq!(first.name, "cp-1");
    assert_eq!(
        second.name, "10.0.0.21",
        "without hostname the address is the name"
    );
    assert_eq!(second.taints[0].effect, Effect::NoExecute);
    assert_eq!(second.labels["example.com/rack"], "1");
}

#[test]
fn json_is_yaml() {
    let text = r#"{"name": "a", "service_subnet": "10.0.0.0/16",
        "nodes": [{"address": "10.0.0.1", "user": "u", "control_plane": true}]}"#;
    assert_eq!(read(text).unwrap().name, "a");
}

#[test]
fn a_field_without_value_is_a_field_left_out() {
    let cluster = read(&format!("{GOOD}dns_servers:\ndns_service:\noptions:\n")).unwrap();
    assert_eq!(cluster.upstreams, Upstreams::default());
}

#[test]
fn fields_of_cke_that_have_no_effect_are_listed() {
    let more = "reboot: {reboot_command: [x]}
control_plane_tolerations: [a]
sabakan: {spare_node_taint_key: a}
options:
  etcd: {volume_name: a}
  etcd-rivers: {extra_args: [--dial-timeout=5s], extra_binds: [a]}
  kube-api: {audit_log_enabled: true}
  kubelet:
    cri_endpoint: /run/containerd/containerd.sock
    config: {kind: KubeletConfiguration, clusterDomain: k8s.example, maxPods: 200}
";
    let cluster = read(&format!("{GOOD}{more}")).unwrap();
    let ignored: Vec<_> = cluster.ignored.iter().map(ToString::to_string).collect();
    assert_eq!(
        ignored,
        [
            "control_plane_tolerations (CKE's own job)",
            "reboot (CKE's own job)",
            "sabakan (CKE's own job)",
            "options.etcd (CKE's own job)",
            "options.etcd-rivers.extra_binds (rivers is a systemd unit here, no container)",
            "options.kube-api (CKE's own job)",
            "options.kubelet.config (CKE's own job, all but clusterDomain)",
            "options.kubelet.cri_endpoint (CKE's own job)",
        ]
    );
    assert_eq!(cluster.options.cluster_domain, "k8s.example");
}

#[test]
fn an_unknown_field_is_refused_by_line_and_column() {
    let error = error_with("  hostname: cp-1", "  host_name: cp-1");
    assert!(
        error.starts_with("cluster.yml:5:3: nodes[0]: unknown field `host_name`, expected one of"),
        "{error}"
    );
    let error = error_and("dns_server: [192.0.2.53]\n");
    assert!(
        error.starts_with("cluster.yml:14:1: unknown field `dns_server`"),
        "{error}"
    );
    let error = error_and("options: {kubeapi: {}}\n");
    assert!(
        error.starts_with("cluster.yml:14:11: options: unknown field `kubeapi`"),
        "{error}"
    );
}

#[test]
fn a_missing_field_is_named() {
    let error = error_with("  user: cke\n", "");
    assert!(error.contains("nodes[0]: missing field `user`"), "{error}");
    let error = error_with("service_subnet: 10.68.0.0/16\n", "");
    assert!(error.contains("missing field `service_subnet`"), "{error}");
}

#[test]
fn each_wrong_value_is_one_sentence_with_its_place() {
    let errors = [
        error_with("name: prod", "name: ''"),
        error_with("10.68.0.0/16", "10.68.0.0"),
        error_with("10.0.0.11", "cp-1.example"),
        error_with("10.0.0.11", "0.0.0.0"),
        error_with("hostname: cp-1", "hostname: CP_1"),
        error_with("user: cke", "user: ''"),
        error_with("example.com/rack", "example.com/rack/1"),
        error_with("'1'", "'1 2'"),
        error_with("Example:", "'a b':"),
        error_with("example.com/dedicated", "'-'"),
        error_with("NoExecute", "NoRun"),
        error_with("value: gpu", "value: a/b"),
        error_and("dns_servers: [192.0.2.53, dns.example]\n"),
        error_and("dns_servers: [127.0.0.1]\n"),
        error_and("dns_servers: [192.0.2.53, 192.0.2.53]\n"),
        error_and("dns_service: dns\n"),
        error_and("dns_service: kube-system/DNS\n"),
        error_and("options: {kubelet: {config: {clusterDomain: cluster.local.}}}\n"),
    ];
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn a_cluster_has_a_control_plane() {
    let error = error_with("control_plane: true", "control_plane: false");
    assert!(
        error.starts_with("cluster.yml:4:3: nodes: no node is control plane"),
        "{error}"
    );
    assert!(read("name: a\nservice_subnet: 10.0.0.0/8\nnodes: []\n").is_err());
}

#[test]
fn no_two_nodes_share_an_address_or_a_name() {
    let error = error_with("10.0.0.21", "10.0.0.11");
    assert!(
        error.starts_with(
            "cluster.yml:8:12: nodes[1].address: 10.0.0.11 is the address of nodes[0] too"
        ),
        "{error}"
    );
    let error = error_with("10.0.0.21", "10.0.0.21\n  hostname: cp-1");
    assert!(
        error
            .starts_with("cluster.yml:9:13: nodes[1].hostname: `cp-1` is the name of nodes[0] too"),
        "{error}"
    );
    let error = error_with("hostname: cp-1", "hostname: 10.0.0.21");
    assert!(error.contains("is the name of nodes[0] too"), "{error}");
}

#[test]
fn an_ipv6_address_needs_a_hostname() {
    let error = error_with("10.0.0.21", "fd00::21");
    assert!(
        error.contains("nodes[1].hostname: is left out, and fd00::21"),
        "{error}"
    );
    assert!(read(&GOOD.replace("10.0.0.21", "fd00::21\n  hostname: n1")).is_ok());
}

#[test]
fn the_mark_of_the_control_plane_is_not_for_cluster_yml() {
    let error = error_with("example.com/rack", "cke.cybozu.com/master");
    assert!(
        error.contains("is set by `control_plane: true`; remove it here"),
        "{error}"
    );
    let error = error_with("example.com/dedicated", "cke.cybozu.com/master");
    assert!(
        error.contains("is set by `taint_control_plane: true`; remove it here"),
        "{error}"
    );
}

#[test]
fn coredns_forwards_to_fifteen_servers_at_most() {
    let servers = |count: u8| {
        let addresses: Vec<_> = (1..=count).map(|host| format!("192.0.2.{host}")).collect();
        addresses.join(", ")
    };
    assert!(read(&format!("{GOOD}dns_servers: [{}]\n", servers(15))).is_ok());
    let error = error_and(&format!("dns_servers: [{}]\n", servers(16)));
    assert!(error.contains("dns_servers: has 16 addresses"), "{error}");
}

#[test]
fn yaml_is_read_as_kubernetes_reads_it() {
    let text = format!(
        "{GOOD}taint_control_plane: on\noptions: {{kubelet: {{config: &c {{clusterDomain: a}}}}, \
         kube-proxy: {{config: {{conntrack: {{maxPerCore: 0644}}}}}}}}\n"
    );
    let cluster = read(&text).unwrap();
    assert!(cluster.taint_control_plane);
    assert_eq!(cluster.options.cluster_domain, "a");
    let config = &cluster.options.kube_proxy.config;
    assert_eq!(config["conntrack"]["maxPerCore"], 420);
    for value in ["no", "0644", "1"] {
        let error = error_with("'1'", value);
        assert!(
            error.starts_with("cluster.yml:10:") && error.ends_with("is no text in YAML; quote it"),
            "{error}"
        );
    }
}

#[test]
fn each_mistake_in_the_text_has_its_place() {
    for (text, expected) in [
        (
            "name: a\nname: b\n",
            "cluster.yml:2:1: key `name` is there twice",
        ),
        ("name:\n\t- b\n", "cluster.yml:2:"),
        ("name: *b\n", "cluster.yml:1:7: "),
        ("", "cluster.yml: is empty; `control init` writes one"),
        ("- a\n", "cluster.yml:1:1: must be a mapping"),
        (
            "a: 1\n---\nb: 2\n",
            "cluster.yml:3:1: begins a second document",
        ),
        ("name:\n", "cluster.yml:1:5: name: has no value"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.starts_with(expected), "{text:?}: {error}");
    }
    let error = Cluster::parse(Path::new("cluster.yml"), b"name: a\nx: \xff").unwrap_err();
    assert_eq!(
        error.to_string(),
        "cluster.yml:2:4: is not UTF-8 text; is this a binary file?"
    );
}

#[test]
fn a_huge_file_is_not_read_whole() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 40).unwrap();
    let error = Cluster::read(file.path()).unwrap_err().to_string();
    assert!(error.contains("has more than 16777216 bytes"), "{error}");
}

#[test]
fn the_seeds_of_the_fuzz_target_are_answered() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/seeds/cluster");
    let mut taken = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        match Cluster::parse(Path::new("cluster.yml"), &bytes) {
            Ok(cluster) => {
                taken += 1;
                assert!(cluster.control_plane().next().is_some());
            }
            Err(error) => assert!(error.to_string().starts_with("cluster.yml:")),
        }
    }
    assert_eq!(taken, 2);
}

#[test]
fn kube_proxys_mode_and_what_control_keeps_are_checked() {
    let options = |config: &str| format!("options: {{kube-proxy: {{config: {{{config}}}}}}}\n");
    for (config, expected) in [
        (
            "mode: ebpf",
            "options.kube-proxy.config.mode: is \"ebpf\", not ipvs, nftables or iptables",
        ),
        (
            "kind: Other",
            "options.kube-proxy.config.kind: is \"Other\"; it must be KubeProxyConfiguration",
        ),
        (
            "clientConnection: {kubeconfig: /a}",
            "clientConnection.kubeconfig: is kept by control",
        ),
    ] {
        let error = error_and(&options(config));
        assert!(error.contains(expected), "{error}");
    }
    let error = error_and("options: {cluster-dns: {image: 'a b'}}\n");
    assert!(
        error.contains("options.cluster-dns.image: `a b` is no image"),
        "{error}"
    );
}
