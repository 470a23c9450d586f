//! DNS of the cluster: CoreDNS (`cluster-dns`) and nodedns (`node-dns`), each with its
//! configuration.

use std::net::IpAddr;

use serde_json::json;

use super::{Desired, Note, Refusal, fighter};
use crate::cluster::{Cluster, Upstreams};
use crate::object::{Key, Object};
use crate::observed::Observed;

mod corefile;
mod nodedns;
mod reverse;
mod takeover;
mod workload;

use workload::Rollout;

pub(super) fn add(desired: &mut Desired, cluster: &Cluster, observed: &Observed) {
    let upstreams = upstreams(&cluster.upstreams, observed, &mut desired.notes);
    let corefile = corefile::render(&cluster.options.cluster_domain, &upstreams);
    desired
        .objects
        .extend(workload::cluster_dns(&cluster.options.cluster_dns_image));
    let config = config_map(CLUSTER_DNS, json!({ COREFILE: corefile }));
    fighter::add(desired, observed, config, &["data", COREFILE]);
    let Some(cluster_dns) = observed.cluster_ip(NAMESPACE, CLUSTER_DNS) else {
        for object in [node_dns(), workload::daemon_set()] {
            let needs = cluster_dns_service();
            desired.notes.push(Note::Waits { object, needs });
        }
        return;
    };
    match nodedns::render(cluster, cluster_dns, &upstreams) {
        Ok(text) => add_node_dns(desired, cluster, observed, text),
        Err(why) => desired.refused.push(Refusal {
            key: node_dns(),
            why,
        }),
    }
}

fn add_node_dns(desired: &mut Desired, cluster: &Cluster, observed: &Observed, text: String) {
    let mut data = json!({ nodedns::FILE: text });
    let mut rollout = Rollout::Surge;
    if let Some(unbound) = takeover::unbound_conf(observed) {
        data[UNBOUND_CONF] = unbound.clone();
        rollout = Rollout::Replace;
    }
    let config = config_map(NODE_DNS, data);
    fighter::add(desired, observed, config, &["data", UNBOUND_CONF]);
    let image = &cluster.options.node_dns.image;
    desired.objects.extend(workload::node_dns(image, rollout));
}

/// The objects that are control's here.
pub(super) fn own() -> Vec<Key> {
    let objects = workload::cluster_dns("").into_iter();
    let mut keys: Vec<Key> = objects.map(|object| object.key).collect();
    keys.push(Key::core("ConfigMap", NAMESPACE, CLUSTER_DNS));
    keys.extend([node_dns(), workload::daemon_set()]);
    keys
}

/// What is somebody else's and must have been seen to decide about DNS.
pub(super) fn read(cluster: &Cluster) -> Option<Key> {
    let service = cluster.upstreams.service.as_ref()?;
    Some(Key::core("Service", &service.namespace, &service.name))
}

/// Who answers names outside the cluster: the Service's ClusterIP where there is
/// one, else the listed servers, as in CKE; with none nodedns goes down from the root itself.
fn upstreams(wanted: &Upstreams, observed: &Observed, notes: &mut Vec<Note>) -> Vec<IpAddr> {
    if let Some(service) = &wanted.service {
        if let Some(address) = observed.cluster_ip(&service.namespace, &service.name) {
            return vec![address];
        }
        notes.push(Note::NoUpstreamService {
            service: service.clone(),
            fallback: !wanted.servers.is_empty(),
        });
    }
    wanted.servers.clone()
}

fn config_map(name: &str, data: serde_json::Value) -> Object {
    Object {
        key: Key::core("ConfigMap", NAMESPACE, name),
        content: json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "namespace": NAMESPACE, "name": name },
            "data": data,
        }),
    }
}

fn node_dns() -> Key {
    Key::core("ConfigMap", NAMESPACE, NODE_DNS)
}

fn cluster_dns_service() -> Key {
    Key::core("Service", NAMESPACE, CLUSTER_DNS)
}

const NAMESPACE: &str = "kube-system";
const CLUSTER_DNS: &str = "cluster-dns";
const NODE_DNS: &str = "node-dns";
const COREFILE: &str = "Corefile";
const UNBOUND_CONF: &str = "unbound.conf";
