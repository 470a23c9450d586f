//! Names of the public must not lead into networks of one's own: whoever owns one could have a
//! browser in here talk to what is behind the firewall, as if it were his (DNS rebinding).
//!
//! A name is public when the zone `.` has it: other zones are there because somebody wants them.
//! All addresses of an answer count, those at the end of a CNAME into another zone as well, and the
//! hints of HTTPS and SVCB records (RFC 9460 §7.3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::cache::key::Key;
use crate::config::{Name, Rebinding, Subnet};
use crate::resolve::route::Routes;
use crate::wire::order::is_within;
use crate::wire::record::Section;
use crate::wire::response::Response;
use crate::wire::{name, rtype, u16_at};

/// What may not be in answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filter {
    deny: Vec<Subnet>,
    exempt: Vec<Name>,
}

impl Filter {
    pub(super) fn new(config: &Rebinding) -> Self {
        Self {
            deny: config.deny.clone(),
            exempt: config.exempt.clone(),
        }
    }

    /// An address in the answer to `key` that may not be there.
    pub(super) fn offence(
        &self,
        key: &Key,
        response: &Response,
        routes: &Routes,
    ) -> Option<IpAddr> {
        let is_public = || {
            let zone = routes.zone_for(key.name(), key.rtype());
            zone.is_none_or(|zone| zone.name.is_root())
                && !self
                    .exempt
                    .iter()
                    .any(|top| is_within(key.name(), top.as_wire()))
        };
        if self.deny.is_empty() || !is_public() {
            return None;
        }
        let wire = response.wire();
        let records = response.layout().section(Section::Answer);
        let mut addresses = records.flat_map(|record| {
            let data = wire.get(record.data_at..record.end).unwrap_or_default();
            addresses(record.rtype, data)
        });
        addresses.find(|address| self.deny.iter().any(|subnet| subnet.contains(*address)))
    }
}

/// The addresses in the data of a record.
fn addresses(kind: u16, data: &[u8]) -> Vec<IpAddr> {
    match kind {
        rtype::A => of_size::<4>(data)
            .map(|bytes| Ipv4Addr::from(bytes).into())
            .collect(),
        rtype::AAAA => of_size::<16>(data)
            .map(|bytes| Ipv6Addr::from(bytes).into())
            .collect(),
        rtype::SVCB | rtype::HTTPS => hints(data),
        _ => Vec::new(),
    }
}

/// Those of `priority 2 | target | (key 2 | length 2 | value)*`.
fn hints(data: &[u8]) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    let Some(target) = data.get(2..).and_then(name::plain_len) else {
        return addresses;
    };
    let mut at = 2 + target;
    while let (Some(key), Some(length)) = (u16_at(data, at), u16_at(data, at + 2)) {
        let end = at + 4 + usize::from(length);
        let value = data.get(at + 4..end).unwrap_or_default();
        match key {
            V4_HINT => addresses
                .extend(of_size::<4>(value).map(|bytes| IpAddr::from(Ipv4Addr::from(bytes)))),
            V6_HINT => addresses
                .extend(of_size::<16>(value).map(|bytes| IpAddr::from(Ipv6Addr::from(bytes)))),
            _ => {}
        }
        at = end;
    }
    addresses
}

fn of_size<const N: usize>(data: &[u8]) -> impl Iterator<Item = [u8; N]> {
    data.as_chunks().0.iter().copied()
}

/// RFC 9460 §14.3.2.
const V4_HINT: u16 = 4;
const V6_HINT: u16 = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::route::tests::routes;
    use crate::wire::record::tests::{a, response};
    use proptest::prelude::*;

    fn filter() -> Filter {
        Filter {
            deny: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
            exempt: vec![Name::from_text("corp.example").unwrap()],
        }
    }

    /// What is found in an answer `name. A`.
    fn offence(name: &str, address: [u8; 4]) -> Option<IpAddr> {
        let wire = response(|message| {
            let mut record = a("www.example.", 60, 1);
            record.data = hickory_proto::rr::RData::A(Ipv4Addr::from(address).into());
            message.add_answer(record);
        });
        let key = Key::new(
            Name::from_text(name).unwrap().as_wire(),
            rtype::A,
            false,
            false,
        );
        let routes = routes(&[".", "cluster.local"]);
        filter().offence(&key, &Response::parse(wire).unwrap(), &routes)
    }

    #[test]
    fn public_names_have_no_private_addresses_and_others_have() {
        assert_eq!(
            offence("evil.example", [10, 0, 0, 1]),
            Some([10, 0, 0, 1].into())
        );
        assert_eq!(offence("www.example", [192, 0, 2, 1]), None);
        assert_eq!(offence("a.corp.example", [10, 0, 0, 1]), None);
        assert_eq!(offence("a.cluster.local", [10, 0, 0, 1]), None);
    }

    #[test]
    fn hints_of_https_records_count() {
        let hints = |data: &[u8]| addresses(rtype::HTTPS, data);
        let data = b"\0\x01\0\0\x01\0\x03\x02h2\0\x04\0\x08\x0a\0\0\x01\x0a\0\0\x02";
        assert_eq!(
            hints(data),
            [IpAddr::from([10, 0, 0, 1]), [10, 0, 0, 2].into()]
        );
        let v6 = [&b"\0\x01\0\0\x06\0\x10\xfd"[..], &[0; 14], &[1]].concat();
        assert_eq!(hints(&v6), ["fd00::1".parse::<IpAddr>().unwrap()]);
        assert!(hints(&data[..3]).is_empty());
    }

    proptest! {
        #[test]
        fn any_data_is_survived(data in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = addresses(rtype::HTTPS, &data);
        }
    }
}
