//! What a referral says: a zone, its name servers, and the addresses of those
//! that come with it (RFC 1034 §4.2.1). Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::canonical::{self, Case};
use crate::wire::name::{self, Expanded, Name};
use crate::wire::order::is_within;
use crate::wire::record::{Record, Section};
use crate::wire::response::Response;
use crate::wire::rtype;

/// The name servers of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Referral {
    pub(super) names: Vec<NameServer>,
    /// Seconds for which all of it holds.
    pub(super) ttl: u32,
}

/// A name server, and what is known of where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NameServer {
    pub(super) name: Name,
    pub(super) addresses: Vec<IpAddr>,
}

impl Referral {
    /// Reads the NS records of `zone` in a section of `response`, and the glue
    /// for them. Who was asked is believed about names in `bailiwick`, the zone
    /// that it has, and about no others (RFC 2181 §5.4.1).
    pub(super) fn read(
        response: &Response,
        section: Section,
        zone: &Name,
        bailiwick: &[u8],
    ) -> Self {
        let (wire, layout) = (response.wire(), response.layout());
        let mut referral = Self {
            names: Vec::new(),
            ttl: u32::MAX,
        };
        for record in layout.section(section) {
            if record.rtype != rtype::NS || owner(wire, record).as_ref() != Some(zone) {
                continue;
            }
            referral.ttl = referral.ttl.min(record.ttl(wire));
            let data = canonical::data(wire, record, Case::Canonical);
            let Some(name) = data.and_then(|data| Name::from_wire(&data)) else {
                continue;
            };
            let is_new = referral.names.iter().all(|server| server.name != name);
            if is_new && referral.names.len() < MAX_NAMES {
                referral.names.push(NameServer {
                    name,
                    addresses: Vec::new(),
                });
            }
        }
        for record in layout.section(Section::Additional) {
            let Some(address) = address(wire, record) else {
                continue;
            };
            let Some(owner) = owner(wire, record) else {
                continue;
            };
            let mut names = referral.names.iter_mut();
            if let Some(server) = names.find(|server| server.name == owner)
                && is_within(owner.as_wire(), bailiwick)
                && server.addresses.len() < MAX_ADDRESSES
            {
                server.addresses.push(address);
                referral.ttl = referral.ttl.min(record.ttl(wire));
            }
        }
        referral
    }
}

/// The addresses that `response` gives for the name in its question, and the
/// seconds for which it does. None when that is an alias, which the name of a
/// name server must not be (RFC 2181 §10.3).
pub(super) fn addresses(response: &Response) -> (Vec<IpAddr>, u32) {
    let (wire, layout) = (response.wire(), response.layout());
    let name = Name::from_wire(layout.name(wire));
    let mut ttl = u32::MAX;
    let found = layout.section(Section::Answer).filter_map(|record| {
        let address = address(wire, record)?;
        (owner(wire, record) == name).then(|| {
            ttl = ttl.min(record.ttl(wire));
            address
        })
    });
    (found.take(MAX_ADDRESSES).collect(), ttl)
}

fn owner(wire: &[u8], record: &Record) -> Option<Name> {
    let mut owner = Expanded::new();
    name::expand(wire, record.at, &mut owner)?;
    Name::from_wire(owner.as_wire())
}

fn address(wire: &[u8], record: &Record) -> Option<IpAddr> {
    let data = wire.get(record.data_at..record.end)?;
    match record.rtype {
        rtype::A => <[u8; 4]>::try_from(data)
            .ok()
            .map(|bytes| Ipv4Addr::from(bytes).into()),
        rtype::AAAA => <[u8; 16]>::try_from(data)
            .ok()
            .map(|bytes| Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

/// Name servers of one zone that are taken note of: the root has 13.
const MAX_NAMES: usize = 16;
/// Addresses of one name server.
const MAX_ADDRESSES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::tests::{a, cname, ns, response};
    use hickory_proto::op::Message;

    /// What a server of `example.` says of the zone `sub.example.`.
    fn read(change: impl FnOnce(&mut Message)) -> Referral {
        let response = Response::parse(response(change)).unwrap();
        let sub = Name::from_text("sub.example.").unwrap();
        Referral::read(&response, Section::Authority, &sub, b"\x07example\0")
    }

    fn addresses_of(referral: &Referral) -> Vec<(String, usize)> {
        let count = |server: &NameServer| (server.name.to_string(), server.addresses.len());
        referral.names.iter().map(count).collect()
    }

    #[test]
    fn servers_come_with_their_addresses_and_the_shortest_ttl() {
        let referral = read(|message| {
            message.add_authority(ns("sub.example.", 600, "NS1.sub.example."));
            message.add_authority(ns("sub.example.", 600, "ns2.example."));
            message.add_additional(a("ns1.sub.example.", 300, 1));
            message.add_additional(a("ns1.SUB.example.", 200, 2));
            message.add_additional(a("ns2.example.", 400, 3));
        });
        assert_eq!(
            addresses_of(&referral),
            [("ns1.sub.example.".into(), 2), ("ns2.example.".into(), 1)]
        );
        assert_eq!(referral.ttl, 200);
    }

    #[test]
    fn glue_counts_for_names_of_the_zone_that_gives_it_only() {
        let referral = read(|message| {
            message.add_authority(ns("sub.example.", 600, "ns.victim."));
            message.add_additional(a("ns.victim.", 300, 66));
        });
        assert_eq!(addresses_of(&referral), [("ns.victim.".into(), 0)]);
        assert_eq!(referral.ttl, 600);
    }

    #[test]
    fn addresses_of_others_and_ns_of_other_zones_are_left_alone() {
        let referral = read(|message| {
            message.add_authority(ns("sub.example.", 600, "ns.sub.example."));
            message.add_authority(ns("other.example.", 600, "ns.other.example."));
            message.add_additional(a("www.example.", 300, 66));
            message.add_additional(a("ns.other.example.", 300, 66));
        });
        assert_eq!(addresses_of(&referral), [("ns.sub.example.".into(), 0)]);
    }

    #[test]
    fn a_referral_to_hundreds_of_servers_is_cut() {
        let referral = read(|message| {
            for number in 0..200 {
                message.add_authority(ns("sub.example.", 600, &format!("n{number}.victim.")));
            }
            message.add_authority(ns("sub.example.", 600, "ns.sub.example."));
            for last in 0..100 {
                message.add_additional(a("n0.victim.", 300, last));
            }
        });
        assert_eq!(referral.names.len(), MAX_NAMES);
        let most = referral.names.iter().map(|server| server.addresses.len());
        assert!(most.max().unwrap() <= MAX_ADDRESSES);
    }

    #[test]
    fn addresses_of_an_alias_are_none() {
        let of = |change: fn(&mut Message)| addresses(&Response::parse(response(change)).unwrap());
        let (found, ttl) = of(|message| {
            message.add_answer(a("www.example.", 60, 1));
            message.add_answer(a("www.example.", 30, 2));
        });
        assert_eq!((found.len(), ttl), (2, 30));
        let (found, _) = of(|message| {
            message.add_answer(cname("www.example.", 60, "b.example."));
            message.add_answer(a("b.example.", 60, 1));
        });
        assert!(found.is_empty());
    }
}
