//! The objects that ought to be: a pure function of cluster.yml and of what was
//! observed.
//!
//! [`desired`] reads no clock and does no I/O. The observed state matters only
//! where one object depends on what the cluster made of another: nodedns'
//! configuration names the ClusterIP of Service `cluster-dns`. What cannot be
//! said yet becomes a [`Note`] instead of a guess.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use crate::cluster::{Cluster, ServiceName};
use crate::inventory;
use crate::object::{Key, Object};
use crate::observed::Observed;
use crate::resources::Resources;

pub use node_config::{API_SERVER, KUBE_PROXY_FILE, NodeConfig, node_config};
pub use nodes::{MASTER, Members, WantedNode, is_synchronised};
pub use webhook::WantedCertificate;

mod dns;
mod endpoints;
mod fighter;
mod manifest;
mod node_config;
mod nodes;
mod rbac;
mod resources;
pub mod webhook;

/// What ought to be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Desired {
    /// Objects that are ours, in no order.
    pub objects: Vec<Object>,
    /// Certificates to be issued into Secrets among the objects.
    pub certificates: BTreeMap<Key, WantedCertificate>,
    /// What registered Nodes must carry.
    pub nodes: Vec<WantedNode>,
    /// Which Nodes there may be.
    pub members: Members,
    /// Which of the objects are the operator's own; None without a directory of resources,
    /// when nothing is known of them.
    pub registered: Option<BTreeSet<Key>>,
    /// Objects that are asked for and must not be.
    pub refused: Vec<Refusal>,
    /// What the operator should know.
    pub notes: Vec<Note>,
}

/// An object that is asked for and must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which.
    pub key: Key,
    /// Why, and how to mend it.
    pub why: String,
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
    /// The control plane has an address that Kubernetes takes in no endpoints.
    NoEndpoints {
        /// The address.
        address: IpAddr,
    },
    /// Somebody else writes endpoints that are control's.
    Fought {
        /// Which.
        object: Key,
        /// Who.
        by: Fighter,
    },
    /// What is done could not be written down.
    Unrecorded {
        /// Why.
        why: String,
    },
    /// Webhooks are asked for, and there is no authority to issue yet.
    NoAuthority {
        /// The embedded store that is to keep it.
        store: String,
    },
    /// An authority of webhooks was made.
    AuthorityMade {
        /// The embedded store that keeps it.
        store: String,
    },
    /// The authority of webhooks is being replaced.
    AuthorityReplaced {
        /// Where that stands.
        step: &'static str,
    },
    /// Two thirds of the life of the authority of webhooks are over.
    AuthorityDue {
        /// When it expires.
        expires: jiff::Timestamp,
    },
    /// Objects that left the directory of resources and are still in the cluster.
    Unregistered {
        /// Which.
        objects: Vec<Key>,
    },
}

/// Who undoes what control writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fighter {
    /// An API server that keeps its own endpoints.
    ApiServer,
    /// A CKE that has not been stopped.
    Cke,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waits { object, needs } => {
                write!(f, "{object} follows once {needs} has a ClusterIP")
            }
            Self::NoUpstreamService { service, fallback } => {
                write!(f, "dns_service: Service {service} has no ClusterIP; ")?;
                if *fallback {
                    f.write_str("dns_servers are used until it has one")
                } else {
                    f.write_str("until it has one nodedns asks the root's name servers itself")
                }
            }
            Self::NotRegistered { node } => {
                write!(
                    f,
                    "Node {node} does not exist yet: its kubelet has not registered it"
                )
            }
            Self::NoEndpoints { address } => write!(
                f,
                "endpoints of kubernetes and cke-etcd are not written: Kubernetes takes no \
                 loopback or link-local address there, as {address} is"
            ),
            Self::Fought {
                object,
                by: Fighter::Cke,
            } => write!(
                f,
                "a CKE that still runs has written {object}: stop it, else both undo each other's \
                 work"
            ),
            Self::Fought {
                object,
                by: Fighter::ApiServer,
            } => write!(
                f,
                "kube-apiserver has written {object} otherwise; should it do so again, start the \
                 API servers with --endpoint-reconciler-type=none, else both undo each other's work"
            ),
            Self::Unrecorded { why } => write!(f, "the operations are not recorded: {why}"),
            Self::NoAuthority { store } => write!(
                f,
                "there is no webhook authority yet: sync makes one, keeps its key in the embedded \
                 store ({store}; Vault keeps it where --store is its URL), and fills each caBundle"
            ),
            Self::AuthorityMade { store } => write!(
                f,
                "a webhook authority was made; its key is in the embedded store ({store}) and \
                 nowhere else: keep a copy of that directory"
            ),
            Self::AuthorityReplaced { step } => {
                write!(f, "the webhook authority is being replaced: {step}")
            }
            Self::AuthorityDue { expires } => write!(
                f,
                "the webhook authority expires at {expires}; replace it, with the embedded store \
                 by `control ca rotate`"
            ),
            Self::Unregistered { objects } => {
                let shown: Vec<_> = objects.iter().take(SHOWN).map(Key::to_string).collect();
                write!(
                    f,
                    "left in the cluster, though no file has it: {}",
                    shown.join(", ")
                )?;
                if objects.len() > shown.len() {
                    write!(f, " and {} more", objects.len() - shown.len())?;
                }
                f.write_str("; --prune deletes what left the directory")
            }
        }
    }
}

/// What ought to be, given what is.
#[must_use]
pub fn desired(cluster: &Cluster, resources: Option<&Resources>, observed: &Observed) -> Desired {
    let mut desired = Desired {
        objects: rbac::objects(),
        members: Members::of(cluster),
        ..Desired::default()
    };
    dns::add(&mut desired, cluster, observed);
    endpoints::add(&mut desired, cluster, observed);
    nodes::add(&mut desired, cluster, observed);
    if let Some(resources) = resources {
        resources::add(&mut desired, resources, &own());
        webhook::add(&mut desired, observed);
    }
    desired
}

/// The part of [`desired`] that follows the health of API servers and etcd members.
#[must_use]
pub fn endpoints(cluster: &Cluster, observed: &Observed) -> Desired {
    let mut desired = Desired::default();
    endpoints::add(&mut desired, cluster, observed);
    desired
}

/// The objects that [`endpoints()`] may want.
#[must_use]
pub fn endpoint_keys() -> BTreeSet<Key> {
    endpoints::own().into_iter().collect()
}

/// The objects that [`desired`] and a plan must have seen, by name: all that it
/// may want, the Service that cluster.yml names, and the inventory.
#[must_use]
pub fn needed(cluster: &Cluster, resources: Option<&Resources>) -> BTreeSet<Key> {
    let mut keys: BTreeSet<Key> = own().into_iter().collect();
    keys.remove(&inventory::key());
    keys.extend(dns::read(cluster));
    if let Some(resources) = resources {
        keys.insert(inventory::key());
        keys.extend(resources.objects.iter().map(|r| r.object.key.clone()));
    }
    keys
}

/// The objects that control keeps, whether they are due just now or not.
fn own() -> Vec<Key> {
    let mut keys: Vec<Key> = rbac::objects()
        .into_iter()
        .map(|object| object.key)
        .collect();
    keys.extend(dns::own());
    keys.extend(endpoints::own());
    keys.push(inventory::key());
    keys
}

/// Objects that one note names.
const SHOWN: usize = 5;

#[cfg(test)]
mod tests;
