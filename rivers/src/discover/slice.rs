//! What EndpointSlices say, into addresses that may be dialled. Pure.
//!
//! Whoever may write an EndpointSlice decides where the node's clients connect to, so nothing is taken that
//! no API server can be at: this host itself, everybody, nobody. Whether an endpoint is `ready` is not
//! asked: only our own probes judge.

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    net::{IpAddr, SocketAddr},
};

use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::config::address::Address;

/// What a set of slices says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// In the order of addresses, each once. Empty when nobody is named.
    pub(super) addresses: Vec<Address>,
    /// What was not taken.
    pub(super) refused: Refused,
}

/// Entries that were not taken, as one sentence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refused {
    count: usize,
    first: Option<(String, Unusable)>,
}

/// Why an address cannot be that of an API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    NoIp,
    NoPort,
    Loopback,
    Unspecified,
    Multicast,
    LinkLocal,
    OwnListener,
}

/// There are more of them than any cluster has API servers: none is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TooMany {
    #[error("the EndpointSlice names {0} endpoints; more than {MAX_UPSTREAMS} are not taken")]
    AtOnce(usize),
    #[error(
        "the EndpointSlice has named more than {MAX_EVER} different endpoints; no others are taken until rivers is restarted"
    )]
    SinceStart,
}

/// Every address that was taken. Each costs memory for as long as the process lives, if only in its
/// metrics, so their number is bounded.
#[derive(Debug, Default)]
pub(super) struct Ever(HashSet<Address>);

impl Ever {
    /// Takes these, too, or none of them.
    pub(super) fn admit(&mut self, addresses: &[Address]) -> Result<(), TooMany> {
        let new: Vec<_> = addresses
            .iter()
            .filter(|address| !self.0.contains(address))
            .cloned()
            .collect();
        if self.0.len() + new.len() > MAX_EVER {
            return Err(TooMany::SinceStart);
        }
        self.0.extend(new);
        Ok(())
    }
}

/// The addresses that these slices name at their port `https`. `is_ours` tells what would lead back to the
/// listener itself.
pub(super) fn addresses<'a>(
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
    is_ours: impl Fn(SocketAddr) -> bool,
) -> Result<Found, TooMany> {
    let mut taken = BTreeSet::new();
    let mut refused = Refused::default();
    for slice in slices {
        let port = https_port(slice);
        for text in slice
            .endpoints
            .iter()
            .flat_map(|endpoint| &endpoint.addresses)
        {
            match port.ok_or(Unusable::NoPort).and_then(|port| {
                let socket = SocketAddr::new(parsed(text)?, port);
                if is_ours(socket) {
                    return Err(Unusable::OwnListener);
                }
                Ok(socket)
            }) {
                Ok(socket) => drop(taken.insert(socket)),
                Err(why) => refused.add(text, why),
            }
        }
    }
    if taken.len() > MAX_UPSTREAMS {
        return Err(TooMany::AtOnce(taken.len()));
    }
    Ok(Found {
        addresses: taken.into_iter().map(Address::from).collect(),
        refused,
    })
}

/// The address as we write it, if an API server can be at it, wherever it is known from.
pub(super) fn usable(ip: IpAddr) -> Result<IpAddr, Unusable> {
    // ::ffff:10.9.0.2 is 10.9.0.2, and would be a second upstream for one server.
    let ip = ip.to_canonical();
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let is_everybody = ip.is_multicast() || matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    if ip.is_loopback() {
        Err(Unusable::Loopback)
    } else if ip.is_unspecified() {
        Err(Unusable::Unspecified)
    } else if is_everybody {
        Err(Unusable::Multicast)
    } else if is_link_local {
        Err(Unusable::LinkLocal)
    } else {
        Ok(ip)
    }
}

fn parsed(text: &str) -> Result<IpAddr, Unusable> {
    let ip: IpAddr = text.parse().map_err(|_| Unusable::NoIp)?;
    usable(ip)
}

fn https_port(slice: &EndpointSlice) -> Option<u16> {
    let ports = slice.ports.iter().flatten();
    let mut https = ports.filter(|port| port.name.as_deref() == Some("https"));
    https
        .find_map(|port| port.port)
        .and_then(|port| u16::try_from(port).ok())
        .filter(|&port| port != 0)
}

impl Refused {
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn add(&mut self, text: &str, why: Unusable) {
        self.count += 1;
        self.first
            .get_or_insert_with(|| (text.chars().take(MAX_SHOWN).collect(), why));
    }
}

/// `127.0.0.1: a loopback address, and 3 more`.
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((text, why)) = &self.first else {
            return f.write_str("none");
        };
        write!(f, "{text}: {}", why.words())?;
        match self.count - 1 {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

impl Unusable {
    const fn words(self) -> &'static str {
        match self {
            Self::NoIp => "no IP address",
            Self::NoPort => "its slice has no port named https",
            Self::Loopback => "a loopback address",
            Self::Unspecified => "the unspecified address",
            Self::Multicast => "a multicast or broadcast address",
            Self::LinkLocal => "a link-local address",
            Self::OwnListener => "this listener itself",
        }
    }
}

/// Clusters have up to nine API servers; the rest is room.
pub(super) const MAX_UPSTREAMS: usize = 64;
/// Years of a cluster whose API servers are replaced each day.
const MAX_EVER: usize = 4096;
/// Characters of an address in the log; a DNS name has at most 253.
const MAX_SHOWN: usize = 64;

#[cfg(test)]
mod tests {
    use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort};

    use super::*;

    fn slice(addresses: &[&str]) -> EndpointSlice {
        EndpointSlice {
            address_type: "IPv4".to_owned(),
            endpoints: addresses
                .iter()
                .map(|&address| Endpoint {
                    addresses: vec![address.to_owned()],
                    ..Endpoint::default()
                })
                .collect(),
            ports: Some(vec![port(Some("https"), Some(6443))]),
            ..EndpointSlice::default()
        }
    }

    fn port(name: Option<&str>, port: Option<i32>) -> EndpointPort {
        EndpointPort {
            name: name.map(str::to_owned),
            port,
            ..EndpointPort::default()
        }
    }

    /// Addresses and refusals in words, with a listener on port 16443.
    fn found(slices: &[EndpointSlice]) -> (Vec<String>, String) {
        let found = addresses(slices, |socket| socket.port() == 16443).unwrap();
        (
            found.addresses.iter().map(ToString::to_string).collect(),
            found.refused.to_string(),
        )
    }

    #[test]
    fn both_families_are_taken_each_address_once() {
        let slices = [
            slice(&["10.9.0.3", "10.9.0.2", "10.9.0.3"]),
            slice(&["fd00::2", "::ffff:10.9.0.2"]),
        ];
        let (addresses, refused) = found(&slices);
        assert_eq!(
            addresses,
            ["10.9.0.2:6443", "10.9.0.3:6443", "[fd00::2]:6443"]
        );
        assert_eq!(refused, "none");
    }

    #[test]
    fn an_endpoint_that_is_not_ready_stays_a_candidate() {
        let mut slice = slice(&["10.9.0.2"]);
        slice.endpoints[0].conditions = Some(EndpointConditions {
            ready: Some(false),
            serving: Some(false),
            terminating: Some(true),
        });
        assert_eq!(found(&[slice]).0, ["10.9.0.2:6443"]);
    }

    #[test]
    fn what_no_api_server_can_be_at_is_refused_and_the_rest_is_taken() {
        for (text, why) in [
            ("127.0.0.1", "a loopback address"),
            ("::1", "a loopback address"),
            ("::ffff:127.0.0.1", "a loopback address"),
            ("0.0.0.0", "the unspecified address"),
            ("::", "the unspecified address"),
            ("224.0.0.1", "a multicast or broadcast address"),
            ("ff02::1", "a multicast or broadcast address"),
            ("255.255.255.255", "a multicast or broadcast address"),
            ("169.254.1.1", "a link-local address"),
            ("fe80::1", "a link-local address"),
            ("api.example", "no IP address"),
            ("10.9.0.2:6443", "no IP address"),
            ("", "no IP address"),
        ] {
            let (addresses, refused) = found(&[slice(&[text, "10.9.0.9"])]);
            assert_eq!(addresses, ["10.9.0.9:6443"]);
            assert_eq!(refused, format!("{text}: {why}"));
        }
    }

    #[test]
    fn refusals_are_one_sentence_however_many_they_are() {
        let long = "x".repeat(100_000);
        let (_, refused) = found(&[slice(&[&long, "127.0.0.1", "0.0.0.0"])]);
        assert_eq!(
            refused,
            format!("{}: no IP address, and 2 more", "x".repeat(64))
        );
    }

    #[test]
    fn only_the_port_named_https_counts() {
        let with = |ports| EndpointSlice {
            ports,
            ..slice(&["10.9.0.2"])
        };
        for ports in [
            None,
            Some(vec![]),
            Some(vec![port(None, Some(6443))]),
            Some(vec![port(Some("https"), None)]),
            Some(vec![port(Some("https"), Some(0))]),
            Some(vec![port(Some("https"), Some(70_000))]),
            Some(vec![port(Some("https"), Some(-1))]),
        ] {
            let (addresses, refused) = found(&[with(ports)]);
            assert!(addresses.is_empty(), "{addresses:?}");
            assert_eq!(refused, "10.9.0.2: its slice has no port named https");
        }
        let ports = vec![
            port(Some("metrics"), Some(1)),
            port(Some("https"), Some(443)),
        ];
        assert_eq!(found(&[with(Some(ports))]).0, ["10.9.0.2:443"]);
    }

    #[test]
    fn the_listener_itself_is_refused() {
        let mut slice = slice(&["10.9.0.11"]);
        slice.ports = Some(vec![port(Some("https"), Some(16443))]);
        assert_eq!(found(&[slice]).1, "10.9.0.11: this listener itself");
    }

    #[test]
    fn more_than_any_cluster_has_are_refused_whole() {
        let texts: Vec<String> = (0..=MAX_UPSTREAMS).map(|n| format!("10.9.1.{n}")).collect();
        let mut texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let error = addresses(&[slice(&texts)], |_| false).unwrap_err();
        assert_eq!(error, TooMany::AtOnce(MAX_UPSTREAMS + 1));
        texts.pop();
        let found = addresses(&[slice(&texts)], |_| false).unwrap();
        assert_eq!(found.addresses.len(), MAX_UPSTREAMS);
    }

    #[test]
    fn the_number_of_addresses_that_were_ever_taken_is_bounded_and_the_known_ones_stay() {
        let address =
            |n: usize| Address::from(SocketAddr::from(([10, 8, (n >> 8) as u8, n as u8], 1)));
        let mut ever = Ever::default();
        for n in 0..MAX_EVER {
            ever.admit(&[address(n), address(n / 2)]).unwrap();
        }
        let error = ever.admit(&[address(0), address(MAX_EVER)]).unwrap_err();
        assert_eq!(error, TooMany::SinceStart);
        ever.admit(&[address(0), address(MAX_EVER - 1)]).unwrap();
    }
}
