//! DNS of the cluster: Service and configuration of CoreDNS (`cluster-dns`),
//! configuration of nodedns (`node-dns`).

use std::net::IpAddr;

use serde_json::json;

use super::{Desired, Note, manifest};
use crate::cluster::{Cluster, Upstreams};
use crate::object::{Key, Object};
use crate::observed::Observed;

mod corefile;
mod nodedns;
mod reverse;

pub(super) fn add(desired: &mut Desired, cluster: &Cluster, observed: &Observed) {
    let upstreams = upstreams(&cluster.upstreams, observed, &mut desired.notes);
    desired.objects.extend(services());
    desired.objects.push(config_map(
        CLUSTER_DNS,
        json!({ "Corefile": corefile::render(&cluster.options.cluster_domain, &upstreams) }),
    ));
    match observed.cluster_ip(NAMESPACE, CLUSTER_DNS) {
        Some(cluster_dns) => {
            let mut data = json!({
                nodedns::FILE: nodedns::render(cluster, cluster_dns, &upstreams),
            });
            // A takeover from CKE: pods of unbound may still read their file.
            if let Some(unbound) = observed
                .objects
                .get(&node_dns())
                .and_then(|live| live.pointer("/data/unbound.conf"))
            {
                data["unbound.conf"] = unbound.clone();
            }
            desired.objects.push(config_map(NODE_DNS, data));
        }
        None => desired.notes.push(Note::Waits {
            object: node_dns(),
            needs: cluster_dns_service(),
        }),
    }
}

/// The objects that are control's here.
pub(super) fn own() -> [Key; 3] {
    [
        cluster_dns_service(),
        Key::core("ConfigMap", NAMESPACE, CLUSTER_DNS),
        node_dns(),
    ]
}

/// What is somebody else's and must have been seen to decide about DNS.
pub(super) fn read(cluster: &Cluster) -> Option<Key> {
    let service = cluster.upstreams.service.as_ref()?;
    Some(Key::core("Service", &service.namespace, &service.name))
}

/// Who answers names outside the cluster: the Service's ClusterIP where there is
/// one, else the listed servers, as in CKE.
fn upstreams(wanted: &Upstreams, observed: &Observed, notes: &mut Vec<Note>) -> Vec<IpAddr> {
    if let Some(service) = &wanted.service {
        if let Some(address) = observed.cluster_ip(&service.namespace, &service.name) {
            return vec![address];
        }
        notes.push(Note::NoUpstreamService {
            service: service.clone(),
            fallback: !wanted.servers.is_empty(),
        });
    } else if wanted.servers.is_empty() {
        notes.push(Note::NoUpstream);
    }
    wanted.servers.clone()
}

fn services() -> Vec<Object> {
    manifest::objects(
        "cluster-dns.yaml",
        include_str!("../../manifests/cluster-dns.yaml"),
    )
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
