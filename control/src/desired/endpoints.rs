//! Where the API servers and etcd are, for all who ask the cluster: Endpoints and
//! EndpointSlices `kubernetes` in `default` and `cke-etcd` in `kube-system`, and the
//! headless Service of the latter.
//!
//! CKE starts API servers that do not write their own; readiness comes from their
//! `/readyz`, and from etcd's health.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::{Desired, Note, fighter};
use crate::cluster::Cluster;
use crate::object::{Key, Object};
use crate::observed::Observed;

/// One Service whose endpoints are control's.
struct Subject {
    namespace: &'static str,
    name: &'static str,
    port: u16,
    port_name: &'static str,
}

const SUBJECTS: [Subject; 2] = [
    Subject {
        namespace: "default",
        name: "kubernetes",
        port: 6443,
        port_name: "https",
    },
    Subject {
        namespace: "kube-system",
        name: "cke-etcd",
        port: 2379,
        port_name: "",
    },
];

pub(super) fn add(desired: &mut Desired, cluster: &Cluster, observed: &Observed) {
    desired.objects.push(etcd_service());
    let addresses: Vec<IpAddr> = cluster.control_plane().map(|node| node.address).collect();
    if let Some(address) = addresses.iter().copied().find(is_refused) {
        desired.notes.push(Note::NoEndpoints { address });
        return;
    }
    let primary_is_v4 = cluster.service_subnet.network().is_ipv4();
    let has_primary = addresses.iter().any(|a| a.is_ipv4() == primary_is_v4);
    for (subject, health) in SUBJECTS.iter().zip([&observed.api_servers, &observed.etcd]) {
        let ready = |address: &IpAddr| is_ready(health, address);
        for v4 in [true, false] {
            let mut family: Vec<IpAddr> = addresses
                .iter()
                .copied()
                .filter(|address| address.is_ipv4() == v4)
                .collect();
            family.sort();
            if family.is_empty() {
                continue;
            }
            // Endpoints have one family: the Service's.
            let is_primary = v4 == primary_is_v4 || !has_primary;
            if is_primary {
                add_object(desired, observed, subject.endpoints(&family, ready));
            }
            add_object(
                desired,
                observed,
                subject.slice(&family, v4, is_primary, ready),
            );
        }
    }
}

/// All that [`add`] may want.
pub(super) fn own() -> Vec<Key> {
    let mut keys = vec![Key::core("Service", "kube-system", "cke-etcd")];
    for subject in &SUBJECTS {
        keys.push(Key::core("Endpoints", subject.namespace, subject.name));
        for suffix in ["", "-ipv4", "-ipv6"] {
            keys.push(subject.slice_key(suffix));
        }
    }
    keys
}

impl Subject {
    fn endpoints(&self, addresses: &[IpAddr], ready: impl Fn(&IpAddr) -> bool) -> Object {
        let (up, down): (Vec<&IpAddr>, Vec<&IpAddr>) = addresses.iter().partition(|a| ready(a));
        let mut port = json!({"port": self.port, "protocol": "TCP"});
        if !self.port_name.is_empty() {
            port["name"] = json!(self.port_name);
        }
        let mut subset = json!({"ports": [port]});
        for (field, list) in [("addresses", up), ("notReadyAddresses", down)] {
            if !list.is_empty() {
                let ips: Vec<Value> = list.iter().map(|ip| json!({"ip": ip})).collect();
                subset[field] = ips.into();
            }
        }
        object(
            Key::core("Endpoints", self.namespace, self.name),
            json!({"endpointslice.kubernetes.io/skip-mirror": "true"}),
            json!({"subsets": [subset]}),
        )
    }

    fn slice(
        &self,
        addresses: &[IpAddr],
        v4: bool,
        is_primary: bool,
        ready: impl Fn(&IpAddr) -> bool,
    ) -> Object {
        let suffix = match (is_primary, v4) {
            (true, _) => "",
            (false, true) => "-ipv4",
            (false, false) => "-ipv6",
        };
        let endpoints: Vec<Value> = addresses
            .iter()
            .map(|address| json!({"addresses": [address], "conditions": {"ready": ready(address)}}))
            .collect();
        object(
            self.slice_key(suffix),
            json!({
                "endpointslice.kubernetes.io/managed-by": "cke.cybozu.com",
                "kubernetes.io/service-name": self.name,
            }),
            json!({
                "addressType": if v4 { "IPv4" } else { "IPv6" },
                "endpoints": endpoints,
                "ports": [{"name": self.port_name, "port": self.port, "protocol": "TCP"}],
            }),
        )
    }

    fn slice_key(&self, suffix: &str) -> Key {
        Key {
            api_version: "discovery.k8s.io/v1".to_owned(),
            ..Key::core(
                "EndpointSlice",
                self.namespace,
                &format!("{}{suffix}", self.name),
            )
        }
    }
}

fn etcd_service() -> Object {
    object(
        Key::core("Service", "kube-system", "cke-etcd"),
        json!({}),
        json!({"spec": {
            "clusterIP": "None",
            "type": "ClusterIP",
            "ports": [{"port": 2379, "protocol": "TCP"}],
        }}),
    )
}

fn object(key: Key, labels: Value, mut content: Value) -> Object {
    content["apiVersion"] = json!(key.api_version);
    content["kind"] = json!(key.kind);
    content["metadata"] = json!({"namespace": key.namespace, "name": key.name, "labels": labels});
    Object { key, content }
}

/// Adds the object, and a note if somebody else has written it otherwise.
fn add_object(desired: &mut Desired, observed: &Observed, object: Object) {
    let field = if object.key.kind == "Endpoints" {
        "subsets"
    } else {
        "endpoints"
    };
    fighter::add(desired, observed, object, &[field]);
}

/// Whether an address counts as ready: it is healthy, or none is, when the probes rather
/// than all servers must be wrong.
fn is_ready(health: &BTreeMap<IpAddr, bool>, address: &IpAddr) -> bool {
    health.get(address).copied().unwrap_or(true) || !health.values().any(|&healthy| healthy)
}

/// Addresses that Kubernetes refuses in endpoints.
fn is_refused(address: &IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    address.is_loopback() || link_local
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn desired(addresses: &[&str], health: &[(&str, bool)], observed: Observed) -> Desired {
        let nodes: String = addresses
            .iter()
            .map(|a| {
                let name = a.replace([':', '.'], "-");
                format!("- {{address: '{a}', hostname: n{name}, user: u, control_plane: true}}\n")
            })
            .collect();
        let text = format!("name: t\nservice_subnet: 10.96.0.0/16\nnodes:\n{nodes}");
        let cluster = Cluster::parse(Path::new("cluster.yml"), text.as_bytes()).unwrap();
        let health: BTreeMap<_, _> = health
            .iter()
            .map(|(address, healthy)| (address.parse().unwrap(), *healthy))
            .collect();
        let observed = Observed {
            api_servers: health.clone(),
            etcd: health,
            ..observed
        };
        let mut desired = Desired::default();
        add(&mut desired, &cluster, &observed);
        desired
    }

    fn find<'a>(desired: &'a Desired, kind: &str, name: &str) -> Option<&'a Value> {
        let found = desired
            .objects
            .iter()
            .find(|object| object.key.kind == kind && object.key.name == name);
        Some(&found?.content)
    }

    #[test]
    fn each_address_is_ready_as_its_health_says() {
        let desired = desired(
            &["10.9.0.3", "10.9.0.2"],
            &[("10.9.0.2", true), ("10.9.0.3", false)],
            Observed::default(),
        );
        assert_eq!(
            find(&desired, "Endpoints", "kubernetes").unwrap()["subsets"],
            json!([{
                "addresses": [{"ip": "10.9.0.2"}],
                "notReadyAddresses": [{"ip": "10.9.0.3"}],
                "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}],
            }])
        );
        assert_eq!(
            find(&desired, "EndpointSlice", "cke-etcd").unwrap()["endpoints"],
            json!([
                {"addresses": ["10.9.0.2"], "conditions": {"ready": true}},
                {"addresses": ["10.9.0.3"], "conditions": {"ready": false}},
            ])
        );
    }

    #[test]
    fn when_none_is_healthy_the_probes_are_not_believed() {
        let desired = desired(&["10.9.0.2"], &[("10.9.0.2", false)], Observed::default());
        let subsets = &find(&desired, "Endpoints", "cke-etcd").unwrap()["subsets"];
        assert_eq!(subsets[0]["addresses"], json!([{"ip": "10.9.0.2"}]));
    }

    #[test]
    fn each_family_has_a_slice_and_endpoints_have_the_services() {
        let desired = desired(&["10.9.0.2", "fd00::2"], &[], Observed::default());
        let endpoints = find(&desired, "Endpoints", "kubernetes")
            .unwrap()
            .to_string();
        assert!(!endpoints.contains("fd00"), "{endpoints}");
        let slice = |name| find(&desired, "EndpointSlice", name).unwrap()["addressType"].clone();
        assert_eq!(
            (slice("kubernetes"), slice("kubernetes-ipv6")),
            (json!("IPv4"), json!("IPv6"))
        );
        let own = own();
        assert!(
            desired
                .objects
                .iter()
                .all(|object| own.contains(&object.key))
        );
    }

    #[test]
    fn addresses_that_kubernetes_refuses_are_a_note() {
        let desired = desired(&["127.0.0.2"], &[], Observed::default());
        assert!(find(&desired, "Endpoints", "kubernetes").is_none());
        assert!(find(&desired, "Service", "cke-etcd").is_some());
        assert!(desired.notes[0].to_string().contains("127.0.0.2"));
    }

    #[test]
    fn an_api_server_that_writes_them_too_is_named_only_while_they_differ() {
        let live = |ip: &str| {
            let live = json!({
                "subsets": [{
                    "addresses": [{"ip": ip}],
                    "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}],
                }],
                "metadata": {"managedFields": [
                    {"manager": "kube-apiserver", "fieldsV1": {"f:subsets": {}}},
                ]},
            });
            Observed {
                objects: [(Key::core("Endpoints", "default", "kubernetes"), live)].into(),
                ..Observed::default()
            }
        };
        let notes = |ip| desired(&["10.9.0.2"], &[], live(ip)).notes;
        assert_eq!(notes("10.9.0.2"), []);
        let note = notes("10.9.0.9")[0].to_string();
        assert!(note.contains("--endpoint-reconciler-type=none"), "{note}");
    }

    #[test]
    fn a_cke_that_still_runs_is_named_once_we_have_taken_over() {
        let notes = |ours: Value| {
            let key = Key::core("Endpoints", "default", "kubernetes");
            let live = json!({"subsets": [], "metadata": {"managedFields": [
                {"manager": "cke", "operation": "Update", "fieldsV1": {"f:subsets": {}}},
                ours,
            ]}});
            let observed = Observed {
                objects: [(key, live)].into(),
                ..Observed::default()
            };
            desired(&["10.9.0.2"], &[], observed).notes
        };
        assert_eq!(notes(json!({})), [], "what CKE left is no fight");
        let note = notes(json!({"manager": "cke", "operation": "Apply"}))[0].to_string();
        assert!(note.contains("a CKE that still runs"), "{note}");
    }
}
