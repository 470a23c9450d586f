//! What is taken from the answer of a zone's server: what it says of names in
//! that zone, and of those only what answers (RFC 2181 §5.4.1). Pure.

use crate::wire::name::{self, Expanded};
use crate::wire::order::is_within;
use crate::wire::record::{Record, Section};
use crate::wire::response::Response;
use crate::wire::rtype;
use crate::wire::select::select;

/// The answers and denials of `response` whose names are in `zone`. None when it
/// cannot be written anew.
pub(super) fn scrubbed(response: &Response, zone: &[u8]) -> Option<Response> {
    let (wire, records) = (response.wire(), &response.layout().records);
    select(response, |number| {
        records
            .get(number)
            .is_some_and(|record| counts(record) && is_of(wire, record, zone))
    })
}

/// Name servers and their addresses are for those who ask them.
const fn counts(record: &Record) -> bool {
    match record.section {
        Section::Answer => true,
        Section::Authority => matches!(
            record.rtype,
            rtype::SOA | rtype::NSEC | rtype::NSEC3 | rtype::RRSIG
        ),
        Section::Additional => false,
    }
}

fn is_of(wire: &[u8], record: &Record, zone: &[u8]) -> bool {
    let mut owner = Expanded::new();
    name::expand(wire, record.at, &mut owner).is_some()
        && is_within(&owner.as_wire().to_ascii_lowercase(), zone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::tests::{a, cname, ns, response, soa};
    use hickory_proto::op::Message;

    #[test]
    fn a_server_speaks_for_its_own_zone_only() {
        let wire = response(|message| {
            message.add_answer(cname("WWW.example.", 60, "www.victim."));
            message.add_answer(a("www.victim.", 60, 66));
            message.add_authority(soa("example.", 60, 5));
            message.add_authority(soa("victim.", 60, 5));
            message.add_authority(ns("example.", 60, "ns.example."));
            message.add_additional(a("ns.example.", 60, 1));
        });
        let response = Response::parse(wire).unwrap();
        let scrubbed = scrubbed(&response, b"\x07example\0").unwrap();
        let message = Message::from_vec(scrubbed.wire()).unwrap();
        assert_eq!(message.answers.len(), 1);
        assert_eq!(message.authorities.len(), 1);
        assert_eq!(message.authorities[0].name.to_ascii(), "example.");
        assert!(message.additionals.is_empty());
    }
}
