//! The objects that ought to be: a pure function of cluster.yml and of what was
//! observed.
//!
//! [`desired`] reads no clock and does no I/O. The observed state matters only
//! where one object depends on what the cluster made of another: nodedns'
//! configuration names the ClusterIP of Service `cluster-dns`. What cannot be
//! said yet becomes a [`Note`] instead of a guess.

use std::fmt;

use crate::cluster::{Cluster, ServiceName};
use crate::object::{Key, Object};
use crate::observed::Observed;

pub use nodes::{WantedNode, is_synchronised};

mod dns;
mod manifest;
mod nodes;
mod rbac;

/// What ought to be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Desired {
    /// Objects that are ours, in no order.
    pub objects: Vec<Object>,
    /// What registered Nodes must carry.
    pub nodes: Vec<WantedNode>,
    /// What the operator should know.
    pub notes: Vec<Note>,
}

/// Something that holds a wish back, or that an operator may have overlooked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// `object` is written only once `needs` has its ClusterIP.
    Waits {
        /// What is not written yet.
        object: Key,
        /// What it waits for.
        needs: Key,
    },
    /// cluster.yml gives no upstream DNS server.
    NoUpstream,
    /// `dns_service` names a Service without ClusterIP.
    NoUpstreamService {
        /// The Service.
        service: ServiceName,
        /// Whether `dns_servers` take its place.
        fallback: bool,
    },
    /// A node of cluster.yml has no Node object.
    NotRegistered {
        /// The Node's name.
        node: String,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waits { object, needs } => {
                write!(f, "{object} follows once {needs} has a ClusterIP")
            }
            Self::NoUpstream => f.write_str(
                "names outside the cluster are not answered: cluster.yml gives neither \
                 dns_servers nor dns_service, and nodedns does no recursion yet",
            ),
            Self::NoUpstreamService { service, fallback } => {
                write!(f, "dns_service: Service {service} has no ClusterIP; ")?;
                if *fallback {
                    f.write_str("dns_servers are used until it has one")
                } else {
                    f.write_str("names outside the cluster are not answered until it has one")
                }
            }
            Self::NotRegistered { node } => {
                write!(
                    f,
                    "Node {node} does not exist yet: its kubelet has not registered it"
                )
            }
        }
    }
}

/// What ought to be, given what is.
#[must_use]
pub fn desired(cluster: &Cluster, observed: &Observed) -> Desired {
    let mut desired = Desired {
        objects: rbac::objects(),
        ..Desired::default()
    };
    dns::add(&mut desired, cluster, observed);
    nodes::add(&mut desired, cluster, observed);
    desired
}

/// The objects that [`desired`] and a plan must have seen, by name: all that it
/// may want, and the Service that cluster.yml names.
#[must_use]
pub fn needed(cluster: &Cluster) -> Vec<Key> {
    let mut keys: Vec<Key> = rbac::objects()
        .into_iter()
        .map(|object| object.key)
        .collect();
    keys.extend(dns::needed(cluster));
    keys
}

#[cfg(test)]
mod tests;
