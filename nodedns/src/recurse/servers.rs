//! The servers at the addresses that strangers' zones name: one for each address,
//! whoever names it, so that what is known of it is known to all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rand::seq::SliceRandom as _;

use crate::config::Subnet;
use crate::metrics::ServerMetrics;
use crate::upstream::pool::{Network, Server};

/// All of them that some zone still needs.
#[derive(Debug)]
pub(super) struct Servers {
    network: Arc<Network>,
    denied: Vec<Subnet>,
    metrics: ServerMetrics,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_address: HashMap<IpAddr, Weak<Server>>,
    /// When the table has grown so long, it is looked through.
    sweep_at: usize,
}

/// The servers at some addresses.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) servers: Vec<Arc<Server>>,
    /// An address that was left out because it is denied.
    pub(super) denied: Option<IpAddr>,
}

impl Servers {
    /// None yet, and none at all at addresses in `denied`.
    pub(super) fn new(network: Arc<Network>, denied: Vec<Subnet>) -> Self {
        Self {
            network,
            denied,
            metrics: ServerMetrics::of_recursion(),
            known: Mutex::default(),
        }
    }

    /// The servers at these addresses, in any order and not too many: those that
    /// may be asked, and to which there is a way.
    pub(super) fn at(&self, addresses: &[IpAddr]) -> Found {
        let is_denied =
            |address: &IpAddr| self.denied.iter().any(|subnet| subnet.contains(*address));
        let (denied, allowed): (Vec<IpAddr>, Vec<IpAddr>) =
            addresses.iter().partition(|address| is_denied(address));
        Found {
            servers: self.at_any(&allowed),
            denied: denied.first().copied(),
        }
    }

    /// The same, at addresses that a person wrote.
    pub(super) fn at_any(&self, addresses: &[IpAddr]) -> Vec<Arc<Server>> {
        let mut addresses = within_reach(addresses);
        addresses.shuffle(&mut rand::rng());
        addresses.truncate(MAX_SERVERS);
        addresses.into_iter().map(|ip| self.one(ip)).collect()
    }

    fn one(&self, ip: IpAddr) -> Arc<Server> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = known.by_address.get(&ip).and_then(Weak::upgrade) {
            return server;
        }
        if known.by_address.len() >= known.sweep_at {
            known.by_address.retain(|_, one| one.strong_count() > 0);
            known.sweep_at = (2 * known.by_address.len()).max(FIRST_SWEEP);
        }
        let address = SocketAddr::new(ip, PORT);
        let server = Arc::new(Server::found(address, &self.network, self.metrics.clone()));
        known.by_address.insert(ip, Arc::downgrade(&server));
        server
    }
}

/// Those of the addresses that this machine has a way to, by family; all when it
/// has none at all, which may be over before they are asked.
fn within_reach(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let has_way = |family: fn(&IpAddr) -> bool| {
        let mut addresses = addresses.iter().copied();
        addresses.find(family).is_some_and(has_way_to)
    };
    let (v4, v6) = (has_way(IpAddr::is_ipv4), has_way(IpAddr::is_ipv6));
    let mut reached = addresses.to_vec();
    if v4 || v6 {
        reached.retain(|address| if address.is_ipv4() { v4 } else { v6 });
    }
    reached
}

/// Whether the kernel knows a way; nothing is sent.
fn has_way_to(address: IpAddr) -> bool {
    let own: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((own, 0))
        .and_then(|socket| socket.connect((address, PORT)))
        .is_ok()
}

/// Where all name servers are (RFC 1035 §4.2).
const PORT: u16 = 53;
/// Servers of one zone that are made use of.
const MAX_SERVERS: usize = 8;
const FIRST_SWEEP: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::tls::Authorities;

    fn servers(denied: &[&str]) -> Servers {
        let denied = denied.iter().map(|text| text.parse().unwrap());
        Servers::new(Network::new(Authorities::none()), denied.collect())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn one_address_is_one_server() {
        let servers = servers(&[]);
        let (one, other) = (
            servers.at(&[ip("127.0.0.1")]),
            servers.at(&[ip("127.0.0.1")]),
        );
        assert!(Arc::ptr_eq(&one.servers[0], &other.servers[0]));
    }

    #[tokio::test]
    async fn denied_addresses_are_left_out_and_named() {
        let servers = servers(&["127.0.0.0/8"]);
        let found = servers.at(&[ip("127.0.0.1"), ip("192.0.2.1")]);
        assert_eq!(found.servers.len(), 1);
        assert_eq!(found.denied, Some(ip("127.0.0.1")));
        assert_eq!(servers.at_any(&[ip("127.0.0.1")]).len(), 1);
    }

    #[tokio::test]
    async fn servers_that_nobody_needs_are_forgotten() {
        let servers = servers(&[]);
        for number in 0..3 * FIRST_SWEEP as u32 {
            servers.at(&[Ipv4Addr::from(0x7f00_0001 + number).into()]);
        }
        assert!(servers.known.lock().unwrap().by_address.len() <= FIRST_SWEEP);
    }

    #[test]
    fn the_way_is_looked_for_by_family() {
        // Nobody may send there who has not asked for it (SO_BROADCAST).
        let unreachable = ip("255.255.255.255");
        assert!(has_way_to(ip("127.0.0.1")) && !has_way_to(unreachable));
        assert_eq!(within_reach(&[unreachable]), [unreachable]);
    }
}
