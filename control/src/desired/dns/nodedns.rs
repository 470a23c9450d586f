//! nodedns' configuration: the cluster's names from CoreDNS, all others from the
//! upstreams. Written with nodedns' own types, so that what it would refuse is
//! noticed here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nodedns::config::file::{File, Zone};
use nodedns::config::{Forward, Name, Protocol};

use super::reverse;
use crate::cluster::Cluster;

/// The ConfigMap's key that nodedns reads.
pub(super) const FILE: &str = "nodedns.yml";

/// The text of `nodedns.yml`, with `cluster_dns` as CoreDNS' ClusterIP, or why what
/// cluster.yml asks for cannot be.
pub(super) fn render(
    cluster: &Cluster,
    cluster_dns: IpAddr,
    upstreams: &[IpAddr],
) -> Result<String, String> {
    let domain = format!("{}.", cluster.options.cluster_domain);
    let mut zones: Vec<Zone> = std::iter::once(domain)
        .chain(reverse::zones(cluster.service_subnet))
        .map(|name| Zone {
            // The world has nothing signed to say about a cluster's names.
            validate: Some(false),
            ..zone(&name, &Protocol::Tcp, &[cluster_dns])
        })
        .collect();
    if !upstreams.is_empty() {
        zones.push(zone(".", &Protocol::Udp, upstreams));
    }
    let file = File {
        listen: vec![
            SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), DNS_PORT),
            SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), DNS_PORT),
        ],
        admin: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), ADMIN_PORT),
        ..File::with_zones(zones)
    };
    let file = cluster.options.node_dns.over(file)?;
    let yaml = daemon::config_file::to_yaml(&file).expect("its keys are words");
    Ok(format!(
        "# Written by control from cluster.yml; changes here are undone.\n{yaml}"
    ))
}

fn zone(name: &str, protocol: &Protocol, servers: &[IpAddr]) -> Zone {
    let forward = |&server: &IpAddr| Forward {
        protocol: protocol.clone(),
        address: SocketAddr::new(server, DNS_PORT),
    };
    Zone::forwarded(
        Name::from_text(name).expect("a checked domain, or a reverse zone of ours"),
        servers.iter().map(forward).collect(),
    )
}

const DNS_PORT: u16 = 53;
/// Metrics and probes.
const ADMIN_PORT: u16 = 9253;
