//! Who answers names outside the cluster: servers by address, or a Service.

use std::fmt;
use std::net::IpAddr;

use super::document::{ClusterError, Document};

use super::name::check_label;

/// `dns_servers` and `dns_service`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upstreams {
    /// Addresses of DNS servers, used while `service` has no ClusterIP.
    pub servers: Vec<IpAddr>,
    /// A Service whose ClusterIP answers; it goes before `servers`, as in CKE.
    pub service: Option<ServiceName>,
}

/// A Service in its namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName {
    /// The namespace.
    pub namespace: String,
    /// The Service's name.
    pub name: String,
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Upstreams {
    pub(super) fn new(
        document: &Document,
        servers: Vec<String>,
        service: String,
    ) -> Result<Self, ClusterError> {
        if servers.len() > MAX_SERVERS {
            let message = format!(
                "has {} addresses; CoreDNS forwards to at most {MAX_SERVERS}",
                servers.len()
            );
            return Err(document.error_at("dns_servers", message));
        }
        let servers = parse_servers(document, servers)?;
        let service = if service.is_empty() {
            None
        } else {
            let name = ServiceName::parse(&service)
                .map_err(|message| document.error_at("dns_service", message))?;
            Some(name)
        };
        Ok(Self { servers, service })
    }
}

fn parse_servers(document: &Document, servers: Vec<String>) -> Result<Vec<IpAddr>, ClusterError> {
    let mut addresses: Vec<IpAddr> = Vec::with_capacity(servers.len());
    for (index, server) in servers.into_iter().enumerate() {
        let at = |message: &str| {
            document.error_at(
                &format!("dns_servers[{index}]"),
                format!("`{server}` {message}"),
            )
        };
        let Ok(address) = server.parse::<IpAddr>() else {
            return Err(at("is not an IP address, as 192.0.2.53"));
        };
        // Every node's own resolver would ask itself.
        if address.is_loopback() || address.is_unspecified() || address.is_multicast() {
            return Err(at(
                "is no other machine's address; name a DNS server of the network",
            ));
        }
        if addresses.contains(&address) {
            return Err(at("is there twice; remove one"));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

impl ServiceName {
    fn parse(text: &str) -> Result<Self, String> {
        let Some((namespace, name)) = text.split_once('/') else {
            return Err(format!(
                "`{text}` has no namespace; write `namespace/service`"
            ));
        };
        for part in [namespace, name] {
            check_label(part)
                .map_err(|rule| format!("`{text}` is not `namespace/service`: `{part}` {rule}"))?;
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// With more, CoreDNS' plugin `forward` refuses its configuration.
const MAX_SERVERS: usize = 15;
