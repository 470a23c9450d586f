//! The cluster as it is: what one reading found, as plain data.
//!
//! `observe` fills it; `desired` and `plan` read it and ask nobody else.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Taint;
use serde_json::Value;

use crate::encryption::Encryption;
use crate::kind::Kinds;
use crate::object::Key;
use crate::pki::Trust;

/// One reading.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// The objects that were asked for by name and exist.
    pub objects: BTreeMap<Key, Value>,
    /// Every Node, by name.
    pub nodes: BTreeMap<String, SeenNode>,
    /// Whether each API server of cluster.yml is ready.
    pub api_servers: BTreeMap<IpAddr, bool>,
    /// Whether each etcd member of cluster.yml is healthy.
    pub etcd: BTreeMap<IpAddr, bool>,
    /// The kinds that there are, or will be once the wanted definitions are.
    pub kinds: Kinds,
    /// Who vouches for webhooks.
    pub authority: Authority,
    /// How far the encryption of Secrets at rest is.
    pub encryption: Encryption,
    /// When this was read.
    pub now: Timestamp,
}

/// What the secrets store knows of the authority for webhooks.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Authority {
    /// Nobody asks for one.
    #[default]
    None,
    /// There is none yet.
    Missing {
        /// The embedded store that is to keep it.
        store: String,
    },
    /// Whom API servers are to trust.
    Trusted(Trust),
    /// The store could not be asked.
    Unknown {
        /// Why, and how to mend it.
        why: String,
    },
}

/// What matters of a Node object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeenNode {
    /// The version that was read: a patch of the taints is for this one only.
    pub resource_version: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its taints, in their order.
    pub taints: Vec<Taint>,
    /// Its UID: a Node that is deleted is this one, not a new one of its name.
    pub uid: String,
    /// Whether new pods stay away from it.
    pub cordoned: bool,
    /// Whether its kubelet says that it is ready.
    pub ready: bool,
    /// What its kubelet or a network controller says against its network for pods.
    pub network_trouble: Option<String>,
    /// Its addresses, names among them.
    pub addresses: Vec<String>,
}

impl Observed {
    /// The ClusterIP of a Service; None while it has none, and for headless ones.
    #[must_use]
    pub fn cluster_ip(&self, namespace: &str, name: &str) -> Option<IpAddr> {
        self.objects
            .get(&Key::core("Service", namespace, name))?
            .pointer("/spec/clusterIP")?
            .as_str()?
            .parse()
            .ok()
    }
}
