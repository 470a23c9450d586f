//! What Node objects must carry: cluster.yml's labels, annotations and taints,
//! and the marks of the control plane.

use std::collections::{BTreeMap, BTreeSet};

use super::{Desired, Note};
use crate::cluster::{Cluster, Effect, Node, Taint};
use crate::observed::Observed;

/// What one registered Node must carry; whatever is not named is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedNode {
    /// The Node's name.
    pub name: String,
    /// Labels with their value; None for one that must not be there.
    pub labels: BTreeMap<String, Option<String>>,
    /// Annotations with their value.
    pub annotations: BTreeMap<String, String>,
    /// Taints that must be there. One of CKE's own that is not among them must
    /// not be there ([`is_synchronised`]).
    pub taints: Vec<Taint>,
}

/// Whether a taint is CKE's to remove as well as to add: its key contains
/// `cke.cybozu.com/`, or begins with `node-role.kubernetes.io/`. The mark of a reboot
/// in progress is left alone.
#[must_use]
pub fn is_synchronised(key: &str) -> bool {
    key != REBOOT
        && (key.contains("cke.cybozu.com/") || key.starts_with("node-role.kubernetes.io/"))
}

/// Which Nodes belong to the cluster: by name, or by address where a kubelet registered
/// under another name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// The Nodes' names.
    pub names: BTreeSet<String>,
    /// The nodes' addresses, as text.
    pub addresses: BTreeSet<String>,
    /// How many nodes cluster.yml has.
    pub count: usize,
}

impl Members {
    pub(super) fn of(cluster: &Cluster) -> Self {
        let nodes = &cluster.nodes;
        Self {
            names: nodes.iter().map(|node| node.name.clone()).collect(),
            addresses: nodes.iter().map(|node| node.address.to_string()).collect(),
            count: nodes.len(),
        }
    }
}

pub(super) fn add(desired: &mut Desired, cluster: &Cluster, observed: &Observed) {
    for node in &cluster.nodes {
        if observed.nodes.contains_key(&node.name) {
            desired
                .nodes
                .push(wanted(node, cluster.taint_control_plane));
        } else {
            desired.notes.push(Note::NotRegistered {
                node: node.name.clone(),
            });
        }
    }
}

fn wanted(node: &Node, taint_control_plane: bool) -> WantedNode {
    let mut labels: BTreeMap<_, _> = node
        .labels
        .iter()
        .map(|(key, value)| (key.clone(), Some(value.clone())))
        .collect();
    labels.insert(
        MASTER.to_owned(),
        node.control_plane.then(|| "true".to_owned()),
    );
    let mut taints = node.taints.clone();
    if node.control_plane && taint_control_plane {
        taints.push(Taint {
            key: MASTER.to_owned(),
            value: String::new(),
            effect: Effect::PreferNoSchedule,
        });
    }
    WantedNode {
        name: node.name.clone(),
        labels,
        annotations: node.annotations.clone(),
        taints,
    }
}

/// The label and taint of control plane nodes, CKE's own.
pub const MASTER: &str = "cke.cybozu.com/master";
const REBOOT: &str = "cke.cybozu.com/reboot";
