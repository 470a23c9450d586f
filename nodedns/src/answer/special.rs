//! Names and types that no server is asked about: those that are set aside ([`names`]), ANY
//! (RFC 8482), and queries for other things than records.

mod names;

use crate::answer::made::{Made, Record};
use crate::answer::special::names::{Kind, LOCALHOST, Names};
use crate::resolve::route::Routes;
use crate::wire::order::is_within;
use crate::wire::question::Query;
use crate::wire::{Rcode, rtype};

/// What is special.
#[derive(Debug)]
pub(super) struct Special(Names);

impl Special {
    pub(super) fn new() -> Self {
        Self(Names::new())
    }

    /// The answer to `query`, whose name is `name` in lower case, when the name or the type is
    /// special and no zone that was configured for it wins.
    pub(super) fn answer(&self, query: &Query<'_>, name: &[u8], routes: &Routes) -> Option<Made> {
        if query.rtype == rtype::ANY {
            // RFC 8482 §4.2: instead of all records, one that says why.
            let record = Record::of_question(rtype::HINFO, DAY, b"\x07RFC8482\0".into());
            return Some(Made::new(Rcode::NOERROR, vec![record], 0));
        }
        let (top, kind) = self.0.find(name)?;
        // What delegates a zone is the affair of the one above it (RFC 4035 §2.4).
        let is_above = query.rtype == rtype::DS && name == top;
        if is_above || routes.is_within(name, top) {
            return None;
        }
        let is_top = name == top;
        let (rcode, data) = match (kind, query.rtype) {
            (Kind::Loopback, rtype::A) => (Rcode::NOERROR, Some(&V4_LOOPBACK[..])),
            (Kind::Loopback, rtype::AAAA) => (Rcode::NOERROR, Some(&V6_LOOPBACK[..])),
            (Kind::Loopback, _) => (Rcode::NOERROR, None),
            (Kind::Reverse { of }, rtype::PTR) if name == of => (Rcode::NOERROR, Some(LOCALHOST)),
            // Names above one that exists do, too (RFC 8020).
            (Kind::Reverse { of }, _) if is_within(of, name) => (Rcode::NOERROR, None),
            (Kind::Empty, _) if is_top => (Rcode::NOERROR, None),
            (Kind::Empty | Kind::Reverse { .. } | Kind::Absent, _) => (Rcode::NXDOMAIN, None),
        };
        let record = data.map(|data| Record::of_question(query.rtype, DAY, data.into()));
        let top_at = name.len() - top.len();
        Some(Made::new(rcode, record.into_iter().collect(), top_at))
    }
}

/// Whether the type asks for something that a resolver does not serve: zone
/// transfers, keys and signatures of transactions, the mailbox types of RFC 883.
pub(super) const fn is_unsupported(rtype: u16) -> bool {
    rtype >= rtype::FIRST_META && rtype < rtype::ANY
}

const V4_LOOPBACK: [u8; 4] = [127, 0, 0, 1];
const V6_LOOPBACK: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const DAY: u32 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::made::tests::shown;
    use crate::resolve::route::tests::routes;
    use crate::wire::name::Name;
    use hickory_proto::op::{Message, ResponseCode};
    use hickory_proto::rr::RecordType;

    fn ask(name: &str, rtype: u16, zones: &[&str]) -> Option<Message> {
        let name = Name::from_text(name).unwrap();
        let (special, routes) = (Special::new(), routes(zones));
        shown(&name, rtype, |query| {
            special.answer(query, name.as_wire(), &routes)
        })
    }

    #[test]
    fn localhost_is_the_loopback_address_both_ways() {
        for (rtype, address) in [(rtype::A, "127.0.0.1"), (rtype::AAAA, "::1")] {
            let message = ask("a.localhost", rtype, &["."]).unwrap();
            assert_eq!(message.answers.len(), 1);
            assert_eq!(message.answers[0].data.to_string(), address);
            assert_eq!(message.answers[0].name.to_ascii(), "a.localhost.");
        }
        let other = ask("localhost", 15, &["."]).unwrap();
        assert_eq!(other.metadata.response_code, ResponseCode::NoError);
        assert_eq!(other.authorities[0].name.to_ascii(), "localhost.");
        let v6 = format!("1.{}ip6.arpa", "0.".repeat(31));
        for name in ["1.0.0.127.in-addr.arpa", &v6] {
            let message = ask(name, rtype::PTR, &["."]).unwrap();
            assert_eq!(message.answers[0].data.to_string(), "localhost.", "{name}");
        }
        let above = ask("0.127.in-addr.arpa", rtype::PTR, &["."]).unwrap();
        assert_eq!(above.metadata.response_code, ResponseCode::NoError);
        let beside = ask("2.0.0.127.in-addr.arpa", rtype::PTR, &["."]).unwrap();
        assert_eq!(beside.metadata.response_code, ResponseCode::NXDomain);
    }

    #[test]
    fn what_is_set_aside_does_not_exist() {
        for name in [
            "a.b.invalid",
            "x.onion",
            "invalid",
            "a.test",
            "b.alt",
            "1.2.3.10.in-addr.arpa",
        ] {
            let message = ask(name, rtype::A, &["."]).unwrap();
            assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
            assert_eq!(message.authorities[0].record_type(), RecordType::SOA);
            let owner = message.authorities[0].name.to_ascii();
            assert!(format!("{name}.").ends_with(&owner), "{name}: {owner}");
        }
        let top = ask("home.arpa", rtype::A, &["."]).unwrap();
        assert_eq!(top.metadata.response_code, ResponseCode::NoError);
        assert!(ask("home.arpa", rtype::DS, &["."]).is_none());
    }

    #[test]
    fn a_zone_that_was_configured_for_it_wins() {
        assert!(ask("a.invalid", rtype::A, &["invalid"]).is_none());
        assert!(ask("a.localhost", rtype::A, &["localhost", "."]).is_none());
        let private = "1.2.3.10.in-addr.arpa";
        assert!(ask(private, rtype::PTR, &["10.in-addr.arpa", "."]).is_none());
        assert!(ask(private, rtype::PTR, &["in-addr.arpa", "."]).is_some());
    }

    #[test]
    fn other_names_are_not_special() {
        for name in [".", "example.com", "notlocalhost", "localhost.example"] {
            assert!(ask(name, rtype::A, &["."]).is_none(), "{name}");
        }
    }

    #[test]
    fn any_gets_one_record_that_says_why() {
        let message = ask("example.com", rtype::ANY, &["."]).unwrap();
        assert_eq!(message.answers[0].record_type(), RecordType::HINFO);
    }
}
