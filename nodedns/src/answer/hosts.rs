//! Names whose addresses stand in the configuration: nobody is asked about them, and no zone
//! has anything to say of them.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::answer::made::{Made, Record};
use crate::config::Host;
use crate::wire::question::Query;
use crate::wire::{Rcode, rtype};

#[derive(Debug)]
pub(super) struct Hosts(HashMap<Box<[u8]>, Box<[IpAddr]>>);

impl Hosts {
    pub(super) fn new(hosts: &[Host]) -> Self {
        let hosts = hosts.iter().map(|host| {
            let addresses = host.addresses.as_slice();
            (host.name.as_wire().into(), addresses.into())
        });
        Self(hosts.collect())
    }

    /// The answer to `query`, whose name is `name` in lower case, if it is one of them.
    pub(super) fn answer(&self, query: &Query<'_>, name: &[u8]) -> Option<Made> {
        if self.0.is_empty() {
            return None;
        }
        let addresses = self.0.get(name)?.iter();
        let of_type = addresses.filter_map(|address| match (address, query.rtype) {
            (IpAddr::V4(address), rtype::A) => Some(address.octets().to_vec()),
            (IpAddr::V6(address), rtype::AAAA) => Some(address.octets().to_vec()),
            _ => None,
        });
        let records = of_type.map(|data| Record::of_question(query.rtype, TTL, data));
        Some(Made::new(Rcode::NOERROR, records.collect(), 0))
    }
}

/// Seconds: a reload changes them.
const TTL: u32 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::made::tests::shown;
    use crate::wire::name::Name;

    #[test]
    fn a_host_has_its_addresses_and_nothing_else() {
        let name = Name::from_text("registry.example").unwrap();
        let hosts = Hosts::new(&[Host {
            name: name.clone(),
            addresses: ["10.0.0.1", "fd00::1", "10.0.0.2"]
                .map(|text| text.parse().unwrap())
                .into(),
        }]);
        let data = |rtype| {
            let answer = shown(&name, rtype, |query| hosts.answer(query, name.as_wire())).unwrap();
            let data: Vec<_> = answer
                .answers
                .iter()
                .map(|record| record.data.to_string())
                .collect();
            (data, answer.authorities.len())
        };
        assert_eq!(
            data(rtype::A),
            (vec!["10.0.0.1".to_owned(), "10.0.0.2".to_owned()], 0)
        );
        assert_eq!(data(rtype::AAAA), (vec!["fd00::1".to_owned()], 0));
        assert_eq!(data(rtype::TXT), (vec![], 1));
        let other = Name::from_text("a.registry.example").unwrap();
        assert!(
            shown(&other, rtype::A, |query| hosts
                .answer(query, other.as_wire()))
            .is_none()
        );
    }
}
