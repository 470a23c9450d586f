//! Whether CoreDNS answers for the cluster, at its ClusterIP or, where that leads nowhere from
//! here, at its pods.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::op::ResponseCode;
use serde_json::Value;

use super::{Finding, Verdict};
use crate::client::Server;
use crate::cluster::Cluster;
use crate::demo::question::{Transport, ask};
use crate::observed::Observed;

pub(super) async fn check(server: &Server, cluster: &Cluster, observed: &Observed) -> Finding {
    let slices = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices\
                  ?labelSelector=kubernetes.io%2Fservice-name%3Dcluster-dns";
    let pods = match server
        .items("list EndpointSlices of cluster-dns", slices)
        .await
    {
        Ok(slices) => ready(&slices),
        Err(error) => return (Verdict::Open, error.to_string()),
    };
    if pods.is_empty() {
        return (Verdict::Bad, "no pod of cluster-dns is ready".to_owned());
    }
    let name = format!("kubernetes.default.svc.{}.", cluster.options.cluster_domain);
    let mut unreached = String::new();
    let service = observed.cluster_ip("kube-system", "cluster-dns");
    for server in service.into_iter().chain(pods).take(MOST_ASKED) {
        let at = SocketAddr::new(server, DNS_PORT);
        match ask(at, &name, Transport::Tcp).await {
            Ok(reply) if reply.code == ResponseCode::NoError && !reply.addresses.is_empty() => {
                return (Verdict::Good, format!("{server} answers for {name}"));
            }
            Ok(reply) => {
                return (
                    Verdict::Bad,
                    format!("{server} says {} to {name}", reply.code),
                );
            }
            Err(error) => unreached = format!("{server}: {error:#}"),
        }
    }
    let detail = format!("its pods are ready; none could be asked from here ({unreached})");
    (Verdict::Open, detail)
}

/// The addresses of pods that are ready.
fn ready(slices: &[Value]) -> Vec<IpAddr> {
    let lists = |value: &Value| value.as_array().cloned().unwrap_or_default();
    slices
        .iter()
        .flat_map(|slice| lists(&slice["endpoints"]))
        .filter(|endpoint| endpoint["conditions"]["ready"] != false)
        .flat_map(|endpoint| lists(&endpoint["addresses"]))
        .filter_map(|address| address.as_str()?.parse().ok())
        .collect()
}

const DNS_PORT: u16 = 53;
/// Each may cost two seconds.
const MOST_ASKED: usize = 3;
