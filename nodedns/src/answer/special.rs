//! Names and types that no server is asked about: `localhost.`, `invalid.`
//! (RFC 6761 §6.3, §6.4), `onion.` (RFC 7686), ANY (RFC 8482), and queries for
//! other things than records.

use crate::resolve::route::Routes;
use crate::wire::patch::{self, Kept, Transport};
use crate::wire::question::Query;
use crate::wire::truncate::Cuts;
use crate::wire::{CLASS_IN, QUESTION_AT, Rcode, flag, name, rtype};

/// Makes `out` the answer when the name or the type is special and no zone that
/// was configured for it wins. Gives the code of the answer.
pub(super) fn answer(
    out: &mut Vec<u8>,
    query: &Query<'_>,
    transport: Transport,
    routes: &Routes,
) -> Option<Rcode> {
    let (rcode, record) = if query.rtype == rtype::ANY {
        (Rcode::NOERROR, Record::any())
    } else {
        let top = TOPS.iter().find(|top| is_below(query.name, top.name))?;
        if routes.is_within(&query.name.to_ascii_lowercase(), top.name) {
            return None;
        }
        let top_at = QUESTION_AT + query.name.len() - top.name.len();
        match (top.exists, query.rtype) {
            (true, rtype::A) => (Rcode::NOERROR, Record::address(rtype::A, &V4_LOOPBACK)),
            (true, rtype::AAAA) => (Rcode::NOERROR, Record::address(rtype::AAAA, &V6_LOOPBACK)),
            (true, _) => (Rcode::NOERROR, Record::denial(top_at)),
            (false, _) => (Rcode::NXDOMAIN, Record::denial(top_at)),
        }
    };
    let mut wire = Vec::with_capacity(512);
    wire.extend_from_slice(&[0, 0]);
    wire.extend_from_slice(&(flag::QR | rcode.0).to_be_bytes());
    let is_denial = record.rtype == rtype::SOA;
    wire.extend_from_slice(&[0, 1, 0, u8::from(!is_denial), 0, u8::from(is_denial), 0, 0]);
    wire.extend_from_slice(query.name);
    wire.extend_from_slice(&query.rtype.to_be_bytes());
    wire.extend_from_slice(&query.class.to_be_bytes());
    let question_end = wire.len();
    record.put(&mut wire);
    let kept = Kept {
        wire: &wire,
        ttls: &[],
        cuts: Cuts {
            question_end,
            additional_at: wire.len(),
        },
        error: None,
        is_secure: false,
    };
    patch::answer(out, kept, query, 0, transport);
    Some(rcode)
}

/// Whether the type asks for something that a resolver does not serve: zone
/// transfers, keys and signatures of transactions, the mailbox types of RFC 883.
pub(super) const fn is_unsupported(rtype: u16) -> bool {
    rtype >= rtype::FIRST_META && rtype < rtype::ANY
}

/// A special name with everything below it.
struct Top {
    name: &'static [u8],
    /// Whether it has the loopback addresses, or does not exist.
    exists: bool,
}

const TOPS: [Top; 3] = [
    Top {
        name: b"\x09localhost\0",
        exists: true,
    },
    Top {
        name: b"\x07invalid\0",
        exists: false,
    },
    Top {
        name: b"\x05onion\0",
        exists: false,
    },
];

/// Whether `name` ends in the labels of `top`.
fn is_below(name: &[u8], top: &[u8]) -> bool {
    // Most names fail this at once.
    name.len()
        .checked_sub(top.len())
        .is_some_and(|tail| name[tail..].eq_ignore_ascii_case(top))
        // The same bytes in the middle of a label are no label.
        && name::suffixes(name).any(|suffix| suffix.len() == top.len())
}

/// The one record of an answer.
struct Record {
    /// Where in the message its owner's name is: in the question.
    owner_at: usize,
    rtype: u16,
    ttl: u32,
    data: Vec<u8>,
}

impl Record {
    fn address(rtype: u16, address: &[u8]) -> Self {
        Self {
            owner_at: QUESTION_AT,
            rtype,
            ttl: DAY,
            data: address.into(),
        }
    }

    /// RFC 8482 §4.2: instead of all records, one that says why.
    fn any() -> Self {
        Self {
            owner_at: QUESTION_AT,
            rtype: rtype::HINFO,
            ttl: DAY,
            data: b"\x07RFC8482\0".into(),
        }
    }

    /// The SOA of the special name, which makes its denial cacheable (RFC 2308).
    fn denial(top_at: usize) -> Self {
        let mut data = b"\x09localhost\0\x06nobody\x07invalid\0".to_vec();
        for number in [1, 3_600, 1_200, 604_800, DENIAL] {
            data.extend_from_slice(&u32::to_be_bytes(number));
        }
        Self {
            owner_at: top_at,
            rtype: rtype::SOA,
            ttl: DENIAL,
            data,
        }
    }

    fn put(&self, wire: &mut Vec<u8>) {
        // The question ends before byte 300: the offset fits a pointer.
        let pointer = 0xc000 | self.owner_at as u16;
        wire.extend_from_slice(&pointer.to_be_bytes());
        wire.extend_from_slice(&self.rtype.to_be_bytes());
        wire.extend_from_slice(&CLASS_IN.to_be_bytes());
        wire.extend_from_slice(&self.ttl.to_be_bytes());
        wire.extend_from_slice(&(self.data.len() as u16).to_be_bytes());
        wire.extend_from_slice(&self.data);
    }
}

const V4_LOOPBACK: [u8; 4] = [127, 0, 0, 1];
const V6_LOOPBACK: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const DAY: u32 = 86_400;
const DENIAL: u32 = 10_800;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::route::tests::routes;
    use crate::wire::name::Name;
    use hickory_proto::op::{Message, ResponseCode};
    use hickory_proto::rr::RecordType;

    fn ask(name: &str, rtype: u16, zones: &[&str]) -> Option<Message> {
        let name = Name::from_text(name).unwrap();
        let query = Query {
            id: 7,
            flags: flag::RD,
            name: name.as_wire(),
            rtype,
            class: CLASS_IN,
            edns: None,
        };
        let mut out = Vec::new();
        answer(&mut out, &query, Transport::Udp, &routes(zones))?;
        Some(Message::from_vec(&out).unwrap())
    }

    #[test]
    fn localhost_is_the_loopback_address() {
        for (rtype, address) in [(rtype::A, "127.0.0.1"), (rtype::AAAA, "::1")] {
            let message = ask("a.localhost", rtype, &["."]).unwrap();
            assert_eq!(message.answers.len(), 1);
            assert_eq!(message.answers[0].data.to_string(), address);
            assert_eq!(message.answers[0].name.to_ascii(), "a.localhost.");
        }
        let other = ask("localhost", 15, &["."]).unwrap();
        assert_eq!(other.metadata.response_code, ResponseCode::NoError);
        assert_eq!(other.authorities[0].name.to_ascii(), "localhost.");
    }

    #[test]
    fn invalid_and_onion_do_not_exist() {
        for name in ["a.b.invalid", "x.onion", "invalid"] {
            let message = ask(name, rtype::A, &["."]).unwrap();
            assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
            assert_eq!(message.authorities[0].record_type(), RecordType::SOA);
            let owner = message.authorities[0].name.to_ascii();
            assert!(format!("{name}.").ends_with(&owner), "{name}: {owner}");
        }
    }

    #[test]
    fn a_zone_that_was_configured_for_it_wins() {
        assert!(ask("a.invalid", rtype::A, &["invalid"]).is_none());
        assert!(ask("a.localhost", rtype::A, &["localhost", "."]).is_none());
    }

    #[test]
    fn other_names_are_not_special() {
        for name in [".", "example.com", "notlocalhost", "localhost.example"] {
            assert!(ask(name, rtype::A, &["."]).is_none(), "{name}");
        }
        // A label that contains the bytes of the name, length byte included.
        let name = b"\x0cab\x09localhost\0";
        assert!(!is_below(name, b"\x09localhost\0"));
    }

    #[test]
    fn any_gets_one_record_that_says_why() {
        let message = ask("example.com", rtype::ANY, &["."]).unwrap();
        assert_eq!(message.answers[0].record_type(), RecordType::HINFO);
    }
}
