//! What cluster.yml may say, field by field, as CKE documents it.
//!
//! Unknown fields are refused here, by line and column; whether a value makes
//! sense is decided by the conversion in the modules beside this one. A field
//! typed [`IgnoredAny`] is CKE's own business: any value is accepted.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "accepted, and found by `ignored` in the document")]
pub(super) struct File {
    pub(super) name: String,
    pub(super) nodes: Vec<Node>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) taint_control_plane: bool,
    pub(super) service_subnet: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) dns_servers: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) dns_service: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) options: Options,

    pub(super) control_plane_tolerations: Option<IgnoredAny>,
    pub(super) etcd_backup: Option<IgnoredAny>,
    pub(super) reboot: Option<IgnoredAny>,
    pub(super) repair: Option<IgnoredAny>,
    pub(super) retire: Option<IgnoredAny>,
    pub(super) sabakan: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) trusted_rest_mappings: Vec<RestMapping>,
}

/// One entry of `trusted_rest_mappings`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RestMapping {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) resource: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) namespaced: bool,
}

/// One entry of `nodes`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Node {
    pub(super) address: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) hostname: String,
    pub(super) user: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) control_plane: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) taints: Vec<Taint>,
}

/// One entry of `nodes[].taints`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Taint {
    pub(super) key: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) value: String,
    pub(super) effect: String,
}

/// `options`: extra parameters of the components that CKE starts.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[expect(dead_code, reason = "accepted, and found by `ignored` in the document")]
pub(super) struct Options {
    pub(super) etcd: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) etcd_rivers: EtcdRivers,
    pub(super) kube_api: Option<IgnoredAny>,
    pub(super) kube_controller_manager: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) kube_proxy: KubeProxy,
    pub(super) kube_scheduler: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) rivers: Rivers,
    pub(super) kubelet: Option<Kubelet>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) cluster_dns: ClusterDns,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) node_dns: NodeDns,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) encryption: Encryption,
}

/// `options.encryption`, which CKE does not have.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Encryption {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) restart_command: Vec<String>,
}

/// `options.rivers`; `config` is not CKE's.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "accepted, and found by `ignored` in the document")]
pub(super) struct Rivers {
    /// A partial `rivers.yml`: rivers' own parser judges it.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) config: Map<String, Value>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) extra_args: Vec<String>,

    pub(super) extra_binds: Option<IgnoredAny>,
    pub(super) extra_env: Option<IgnoredAny>,
}

/// `options.etcd-rivers`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "accepted, and found by `ignored` in the document")]
pub(super) struct EtcdRivers {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) extra_args: Vec<String>,

    pub(super) extra_binds: Option<IgnoredAny>,
    pub(super) extra_env: Option<IgnoredAny>,
}

/// `options.cluster-dns`, which CKE does not have.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClusterDns {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) image: String,
}

/// `options.node-dns`, which CKE does not have.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodeDns {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) image: String,
    /// A partial `nodedns.yml`: nodedns' own parser judges it.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) config: Map<String, Value>,
}

/// `options.kube-proxy`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "accepted, and found by `ignored` in the document")]
pub(super) struct KubeProxy {
    /// A partial KubeProxyConfiguration: its fields are kube-proxy's to judge.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) config: Map<String, Value>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) disable: bool,

    pub(super) extra_args: Option<IgnoredAny>,
    pub(super) extra_binds: Option<IgnoredAny>,
    pub(super) extra_env: Option<IgnoredAny>,
}

/// `options.kubelet`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "accepted, and found by `ignored` in the document")]
pub(super) struct Kubelet {
    pub(super) config: Option<KubeletConfig>,

    pub(super) boot_taints: Option<IgnoredAny>,
    pub(super) cni_conf_file: Option<IgnoredAny>,
    pub(super) cri_endpoint: Option<IgnoredAny>,
    pub(super) extra_args: Option<IgnoredAny>,
    pub(super) extra_binds: Option<IgnoredAny>,
    pub(super) extra_env: Option<IgnoredAny>,
    pub(super) in_place_update: Option<IgnoredAny>,
}

/// `options.kubelet.config`, a partial KubeletConfiguration: its other fields
/// are kubelet's to judge.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KubeletConfig {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) cluster_domain: String,
}

/// CKE takes `field:` without a value as the field left out.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
