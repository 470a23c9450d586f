//! What ought to be, as a specification.

use std::path::Path;

use daemon::config_file::Document;
use serde_json::json;

use super::*;
use crate::observed::SeenNode;

/// A cluster of one control plane node and one other, with `more` in its file.
fn cluster(more: &str) -> Cluster {
    let text = format!(
        "name: test
service_subnet: 10.68.0.0/16
nodes:
- {{address: 10.0.0.1, hostname: cp, user: u, control_plane: true}}
- address: 10.0.0.2
  hostname: worker
  user: u
  labels: {{example.com/a: '1'}}
  annotations: {{example.com/b: '2'}}
  taints: [{{key: example.com/c, effect: NoSchedule}}]
{more}"
    );
    Cluster::parse(Path::new("cluster.yml"), text.as_bytes()).unwrap()
}

fn service(name: &str, cluster_ip: &str) -> (Key, serde_json::Value) {
    let key = Key::core("Service", "kube-system", name);
    (key, json!({"spec": {"clusterIP": cluster_ip}}))
}

fn with_cluster_dns() -> Observed {
    Observed {
        objects: [service("cluster-dns", "10.68.0.10")].into(),
        ..Observed::default()
    }
}

fn names(desired: &Desired) -> Vec<String> {
    desired
        .objects
        .iter()
        .map(|object| object.key.to_string())
        .collect()
}

fn data(desired: &Desired, config_map: &str, key: &str) -> Option<String> {
    let config_map = Key::core("ConfigMap", "kube-system", config_map);
    let object = desired
        .objects
        .iter()
        .find(|object| object.key == config_map)?;
    Some(object.content["data"][key].as_str()?.to_owned())
}

#[test]
fn every_cluster_gets_these_objects() {
    insta::assert_snapshot!(names(&desired(&cluster(""), None, &with_cluster_dns())).join("\n"));
}

#[test]
fn all_that_may_be_wanted_is_read_first() {
    let cluster = cluster("dns_service: dns/upstream\n");
    let needed = needed(&cluster, None);
    for object in desired(&cluster, None, &with_cluster_dns()).objects {
        assert!(needed.contains(&object.key), "{}", object.key);
    }
    assert!(needed.contains(&Key::core("Service", "dns", "upstream")));
}

#[test]
fn node_dns_waits_for_the_cluster_ip_of_cluster_dns() {
    for observed in [
        Observed::default(),
        Observed {
            objects: [service("cluster-dns", "None")].into(),
            ..Observed::default()
        },
    ] {
        let desired = desired(&cluster("dns_servers: [192.0.2.53]\n"), None, &observed);
        assert_eq!(data(&desired, "node-dns", "nodedns.yml"), None);
        assert!(!names(&desired).contains(&"DaemonSet kube-system/node-dns".to_owned()));
        assert_eq!(
            desired.notes[0].to_string(),
            "ConfigMap kube-system/node-dns follows once Service kube-system/cluster-dns has a ClusterIP"
        );
    }
}

#[test]
fn nodedns_asks_coredns_for_the_cluster_and_private_addresses() {
    let desired = desired(
        &cluster("dns_servers: [192.0.2.53, '2001:db8::53']\n"),
        None,
        &with_cluster_dns(),
    );
    insta::assert_snapshot!(data(&desired, "node-dns", "nodedns.yml").unwrap());
}

#[test]
fn nodedns_takes_what_is_written_for_it() {
    for more in [
        "",
        "dns_servers: [192.0.2.53, '2001:db8::53']\n",
        "options: {kubelet: {config: {clusterDomain: 'a.b-c.example'}}}\n",
    ] {
        let desired = desired(&cluster(more), None, &with_cluster_dns());
        let text = data(&desired, "node-dns", "nodedns.yml").unwrap();
        let document = Document::new(Path::new("nodedns.yml"), &text);
        let config = nodedns::config::file::File::check(&document).unwrap();
        assert_eq!(config.listen.len(), 2);
    }
}

#[test]
fn the_cluster_domain_is_the_same_in_both_configurations() {
    let cluster = cluster("options: {kubelet: {config: {clusterDomain: k8s.example}}}\n");
    let desired = desired(&cluster, None, &with_cluster_dns());
    let corefile = data(&desired, "cluster-dns", "Corefile").unwrap();
    assert!(
        corefile.contains("kubernetes k8s.example in-addr.arpa ip6.arpa {"),
        "{corefile}"
    );
    let nodedns = data(&desired, "node-dns", "nodedns.yml").unwrap();
    assert!(nodedns.contains("name: k8s.example."), "{nodedns}");
}

#[test]
fn without_upstreams_there_is_no_root_zone_and_nodedns_recurses() {
    let desired = desired(&cluster(""), None, &with_cluster_dns());
    let nodedns = data(&desired, "node-dns", "nodedns.yml").unwrap();
    assert!(!nodedns.contains("name: .\n"), "{nodedns}");
    let about_upstreams = |note: &Note| note.to_string().contains("dns_");
    assert!(!desired.notes.iter().any(about_upstreams));
}

#[test]
fn the_dns_service_goes_before_dns_servers() {
    let cluster = cluster("dns_service: kube-system/upstream\ndns_servers: [192.0.2.53]\n");
    let mut observed = with_cluster_dns();
    let corefile = |observed: &Observed| {
        let desired = desired(&cluster, None, observed);
        (
            data(&desired, "cluster-dns", "Corefile").unwrap(),
            desired.notes,
        )
    };
    let (text, notes) = corefile(&observed);
    assert!(text.contains("forward . 192.0.2.53\n"), "{text}");
    assert_eq!(
        notes[0].to_string(),
        "dns_service: Service kube-system/upstream has no ClusterIP; dns_servers are used until it has one"
    );
    observed.objects.extend([service("upstream", "10.68.0.53")]);
    let (text, notes) = corefile(&observed);
    assert!(text.contains("forward . 10.68.0.53\n"), "{text}");
    assert!(
        !notes
            .iter()
            .any(|note| matches!(note, Note::NoUpstreamService { .. }))
    );
}

#[test]
fn unbounds_configuration_stays_while_it_is_there() {
    let mut observed = with_cluster_dns();
    observed.objects.insert(
        Key::core("ConfigMap", "kube-system", "node-dns"),
        json!({"data": {"unbound.conf": "server:", "other": "x"}}),
    );
    let desired = desired(&cluster(""), None, &observed);
    assert_eq!(
        data(&desired, "node-dns", "unbound.conf").unwrap(),
        "server:"
    );
    assert_eq!(data(&desired, "node-dns", "other"), None);
}

fn registered() -> Observed {
    let nodes = ["cp", "worker", "foreign"].map(|name| (name.to_owned(), SeenNode::default()));
    Observed {
        nodes: nodes.into(),
        ..with_cluster_dns()
    }
}

#[test]
fn control_plane_nodes_are_marked_and_others_must_not_be() {
    let marked = |more: &str| {
        desired(&cluster(more), None, &registered())
            .nodes
            .into_iter()
            .map(|node| {
                let taints: Vec<_> = node.taints.iter().map(|t| t.key.clone()).collect();
                (
                    node.name,
                    node.labels["cke.cybozu.com/master"].clone(),
                    taints,
                )
            })
            .collect::<Vec<_>>()
    };
    let yes = Some("true".to_owned());
    let own = || vec!["example.com/c".to_owned()];
    assert_eq!(
        marked("taint_control_plane: false\n"),
        [
            ("cp".into(), yes.clone(), vec![]),
            ("worker".into(), None, own())
        ]
    );
    assert_eq!(
        marked("taint_control_plane: true\n"),
        [
            ("cp".into(), yes, vec!["cke.cybozu.com/master".into()]),
            ("worker".into(), None, own())
        ]
    );
}

#[test]
fn a_node_that_has_not_registered_is_a_note() {
    let mut observed = registered();
    observed.nodes.remove("worker");
    let desired = desired(&cluster("dns_servers: [192.0.2.53]\n"), None, &observed);
    assert_eq!(desired.nodes.len(), 1);
    assert_eq!(
        desired.notes,
        [Note::NotRegistered {
            node: "worker".to_owned()
        }]
    );
}

#[test]
fn taints_of_cke_and_of_node_roles_are_ours_to_remove() {
    for ours in [
        "cke.cybozu.com/state",
        "sabakan.cke.cybozu.com/x",
        "example.com-cke.cybozu.com/x",
        "node-role.kubernetes.io/control-plane",
    ] {
        assert!(is_synchronised(ours), "{ours}");
    }
    for others in [
        "cke.cybozu.com/reboot",
        "cke.cybozu.com.example/x",
        "node.kubernetes.io/not-ready",
        "example.com/cke.cybozu.com",
    ] {
        assert!(!is_synchronised(others), "{others}");
    }
}

fn resources(text: &str) -> Resources {
    Resources {
        objects: crate::resources::parse(Path::new("a.yml"), text.as_bytes()).unwrap(),
    }
}

#[test]
fn the_operators_own_resources_are_wanted_and_must_have_been_seen() {
    let own = resources("{apiVersion: v1, kind: Namespace, metadata: {name: a}}");
    let wanted = desired(&cluster(""), Some(&own), &with_cluster_dns());
    assert!(names(&wanted).contains(&"Namespace a".to_owned()));
    let key = Key::namespace("a");
    assert_eq!(wanted.registered, Some([key.clone()].into()));
    let needed = needed(&cluster(""), Some(&own));
    assert!(needed.contains(&key) && needed.contains(&inventory::key()));
    assert_eq!(
        desired(&cluster(""), None, &with_cluster_dns()).registered,
        None,
        "without a directory nothing is known of them"
    );
}

#[test]
fn what_control_keeps_itself_is_refused_among_the_operators_own() {
    let own = resources(
        "{apiVersion: v1, kind: ConfigMap, metadata: {namespace: kube-system, name: node-dns}}\n\
         ---\n{apiVersion: v1, kind: Node, metadata: {name: a}}",
    );
    let wanted = desired(&cluster(""), Some(&own), &with_cluster_dns());
    let refused: Vec<_> = wanted
        .refused
        .iter()
        .map(|refusal| format!("{} {}", refusal.key, refusal.why))
        .collect();
    assert_eq!(
        refused,
        [
            "ConfigMap kube-system/node-dns control itself keeps it, from cluster.yml; \
             remove it from a.yml:1:1",
            "Node a control itself keeps it, from cluster.yml; remove it from a.yml:3:1",
        ]
    );
}

#[test]
fn what_nodedns_would_refuse_in_this_cluster_is_blocked_and_named() {
    // Good in itself; but here CoreDNS has the address that the operator listens on.
    let cluster = cluster("options: {node-dns: {config: {listen: ['10.68.0.10:53']}}}\n");
    let desired = desired(&cluster, None, &with_cluster_dns());
    let [Refusal { key, why }] = &desired.refused[..] else {
        panic!("{:?}", desired.refused)
    };
    assert_eq!(key.to_string(), "ConfigMap kube-system/node-dns");
    assert!(why.contains("is nodedns itself"), "{why}");
}
