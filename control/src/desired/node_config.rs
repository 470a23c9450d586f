//! What programs on a node must be told, by whoever starts them: kube-proxy's configuration
//! file, and how kubelet finds the API servers and DNS.

use serde_json::{Value, json};

use crate::cluster::{self, Cluster, Node, ProxyMode};
use crate::json::merge;

/// The configuration of one node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeConfig {
    /// The content of [`KUBE_PROXY_FILE`]; None where kube-proxy is disabled.
    pub kube_proxy: Option<Value>,
    /// What kubelet's configuration file must say: pods ask nodedns on their own node.
    pub kubelet: Value,
    /// What an operator should know.
    pub notes: Vec<String>,
}

/// Where kube-proxy's configuration stands on a node, as in CKE.
pub const KUBE_PROXY_FILE: &str = "/etc/kubernetes/proxy/config.yml";
/// The `server` in the kubeconfig of kubelet and kube-proxy: rivers on the node itself.
pub const API_SERVER: &str = "https://localhost:16443";

/// What `node` must be told.
#[must_use]
pub fn node_config(cluster: &Cluster, node: &Node) -> NodeConfig {
    let mut notes = Vec::new();
    let kube_proxy = if cluster.options.kube_proxy.disabled {
        notes.push("kube-proxy is disabled: options.kube-proxy.disable".to_owned());
        None
    } else {
        if cluster.options.kube_proxy.mode == ProxyMode::Ipvs {
            notes.push(IPVS.to_owned());
        }
        Some(kube_proxy(cluster, node))
    };
    NodeConfig {
        kube_proxy,
        kubelet: json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "clusterDNS": [node.address],
            "clusterDomain": cluster.options.cluster_domain,
        }),
        notes,
    }
}

/// CKE's defaults, the operator's fields over them, and last what is not theirs.
fn kube_proxy(cluster: &Cluster, node: &Node) -> Value {
    let wanted = &cluster.options.kube_proxy;
    let mut config = json!({
        "apiVersion": cluster::PROXY_API_VERSION,
        "kind": cluster::PROXY_KIND,
        "hostnameOverride": node.name,
        "metricsBindAddress": "0.0.0.0",
        "conntrack": {"tcpEstablishedTimeout": "24h", "tcpCloseWaitTimeout": "1h"},
    });
    merge(&mut config, Value::Object(wanted.config.clone()));
    let kept = json!({
        "mode": wanted.mode.to_string(),
        "clientConnection": {"kubeconfig": "/etc/kubernetes/proxy/kubeconfig"},
    });
    merge(&mut config, kept);
    config
}

const IPVS: &str = "kube-proxy's mode is ipvs, which Kubernetes has deprecated since 1.35: it goes on \
                    working and will be removed; `options.kube-proxy.config.mode: nftables` needs kernel \
                    5.13 and a restart of each node";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(options: &str) -> NodeConfig {
        let text = format!(
            "name: a\nservice_subnet: 10.96.0.0/16\nnodes:\n\
             - {{address: 10.0.0.1, user: u, control_plane: true}}\n\
             - {{address: 10.0.0.2, hostname: worker, user: u}}\n\
             options:\n  kubelet: {{config: {{clusterDomain: k8s.example}}}}\n{options}"
        );
        let cluster = Cluster::parse(Path::new("cluster.yml"), text.as_bytes()).unwrap();
        node_config(&cluster, &cluster.nodes[1])
    }

    #[test]
    fn pods_ask_nodedns_on_their_own_node() {
        assert_eq!(config("").kubelet["clusterDNS"], json!(["10.0.0.2"]));
        assert_eq!(config("").kubelet["clusterDomain"], "k8s.example");
    }

    #[test]
    fn ipvs_is_the_default_and_its_end_is_named() {
        let config = config("");
        assert_eq!(
            config.kube_proxy,
            Some(json!({
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration",
                "mode": "ipvs",
                "hostnameOverride": "worker",
                "metricsBindAddress": "0.0.0.0",
                "clientConnection": {"kubeconfig": "/etc/kubernetes/proxy/kubeconfig"},
                "conntrack": {"tcpEstablishedTimeout": "24h", "tcpCloseWaitTimeout": "1h"},
            }))
        );
        assert!(config.notes[0].contains("deprecated since 1.35"));
    }

    #[test]
    fn the_operators_fields_go_over_the_defaults() {
        let options = "  kube-proxy: {config: {mode: nftables, clusterCIDR: 10.64.0.0/14, \
                       conntrack: {tcpCloseWaitTimeout: 30m}, clientConnection: {qps: 9}}}\n";
        let config = config(options);
        let kube_proxy = config.kube_proxy.unwrap();
        assert_eq!(kube_proxy["mode"], "nftables");
        assert_eq!(kube_proxy["clusterCIDR"], "10.64.0.0/14");
        assert_eq!(
            kube_proxy["conntrack"],
            json!({"tcpEstablishedTimeout": "24h", "tcpCloseWaitTimeout": "30m"})
        );
        assert_eq!(
            kube_proxy["clientConnection"],
            json!({"qps": 9, "kubeconfig": "/etc/kubernetes/proxy/kubeconfig"})
        );
        assert!(config.notes.is_empty());
    }

    #[test]
    fn a_disabled_kube_proxy_has_no_file() {
        let config = config("  kube-proxy: {disable: yes}\n");
        assert_eq!(config.kube_proxy, None);
        assert_eq!(config.notes.len(), 1);
    }
}
