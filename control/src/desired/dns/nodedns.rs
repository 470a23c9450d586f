//! nodedns' configuration: the cluster's names from CoreDNS, all others from the
//! upstreams, validated.

use std::net::IpAddr;

use serde::Serialize;

use super::reverse;
use crate::cluster::Cluster;

/// The ConfigMap's key that nodedns reads.
pub(super) const FILE: &str = "nodedns.yml";

#[derive(Serialize)]
struct File {
    listen: Vec<String>,
    admin: String,
    zones: Vec<Zone>,
}

#[derive(Serialize)]
struct Zone {
    name: String,
    forward: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    validate: Option<bool>,
}

/// The text of `nodedns.yml`, with `cluster_dns` as CoreDNS' ClusterIP.
pub(super) fn render(cluster: &Cluster, cluster_dns: IpAddr, upstreams: &[IpAddr]) -> String {
    let core_dns = format!("tcp://{}", host(cluster_dns));
    let domain = format!("{}.", cluster.options.cluster_domain);
    let ours = std::iter::once(domain).chain(reverse::zones(cluster.service_subnet));
    let mut zones: Vec<Zone> = ours
        .map(|name| Zone {
            name,
            forward: vec![core_dns.clone()],
            validate: Some(false),
        })
        .collect();
    if !upstreams.is_empty() {
        zones.push(Zone {
            name: ".".to_owned(),
            forward: upstreams.iter().map(|&upstream| host(upstream)).collect(),
            validate: None,
        });
    }
    let file = File {
        listen: vec!["0.0.0.0:53".to_owned(), "[::]:53".to_owned()],
        admin: "0.0.0.0:9253".to_owned(),
        zones,
    };
    let yaml = daemon::config_file::to_yaml(&file).expect("keys are words");
    format!("# Written by control from cluster.yml; changes here are undone.\n{yaml}")
}

fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}
