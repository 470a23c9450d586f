//! What the response of an authoritative server is to somebody who comes down
//! from the root (RFC 1034 §5.3.3, step 4): an answer, a step further down, or
//! nothing, because the server is lame. Pure.

use crate::wire::name::{self, Expanded, Name};
use crate::wire::order::{is_below, is_within};
use crate::wire::record::{Record, Section};
use crate::wire::response::Response;
use crate::wire::{Rcode, flag, rtype, u16_at};

/// Where a response leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bearing {
    /// Nowhere: it is the answer, or the denial.
    Answer,
    /// To the servers of this zone, which is below the one that was asked, and
    /// has the name.
    Referral(Name),
}

/// Where `response`, from a server of `zone`, leads.
///
/// # Errors
/// The server is lame (RFC 8499: it does not answer for a zone that is delegated
/// to it). The text goes after the server's name.
pub(crate) fn bearing(response: &Response, zone: &[u8]) -> Result<Bearing, &'static str> {
    let (wire, layout) = (response.wire(), response.layout());
    let question = layout.name(wire).to_ascii_lowercase();
    let is_authoritative = u16_at(wire, 2).unwrap_or(0) & flag::AA != 0;
    let mut answers = layout.section(Section::Answer).peekable();
    if answers.peek().is_none() {
        if let Some(cut) = delegated(response) {
            let is_on_the_way =
                is_below(cut.as_wire(), zone) && is_within(&question, cut.as_wire());
            let is_itself = question == cut.as_wire() && layout.rtype(wire) == rtype::DS;
            match (is_on_the_way, is_itself) {
                (true, false) => return Ok(Bearing::Referral(cut)),
                // RFC 4035 §3.1.4.1: that answer is the parent's to give.
                (true, true) => return Err("does not know that a zone's DS is its parent's"),
                (false, _) if is_authoritative => {}
                (false, _) => return Err("refers to a zone that is not on the way to the name"),
            }
        }
    } else if !answers.any(|record| speaks_of(wire, record, &question)) {
        return Err("answers about another name");
    }
    if is_authoritative {
        Ok(Bearing::Answer)
    } else {
        Err("is not authoritative for the name (AA is not set)")
    }
}

/// The owner of the NS records of a response that denies nothing.
fn delegated(response: &Response) -> Option<Name> {
    if response.rcode() != Rcode::NOERROR || response.soa().is_some() {
        return None;
    }
    let mut authority = response.layout().section(Section::Authority);
    let record = authority.find(|record| record.rtype == rtype::NS)?;
    let mut owner = Expanded::new();
    name::expand(response.wire(), record.at, &mut owner)?;
    Name::from_wire(owner.as_wire())
}

fn speaks_of(wire: &[u8], record: &Record, question: &[u8]) -> bool {
    let mut owner = Expanded::new();
    if name::expand(wire, record.at, &mut owner).is_none() {
        return false;
    }
    let owner = owner.as_wire().to_ascii_lowercase();
    owner == question || record.rtype == rtype::DNAME && is_below(question, &owner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::tests::{a, cname, ns, response, soa};
    use hickory_proto::op::{Message, ResponseCode};
    use hickory_proto::rr::RecordType;

    /// What a server of `example.` means when it is asked for `www.example. A`.
    fn of_example(change: impl FnOnce(&mut Message)) -> Result<Bearing, &'static str> {
        let response = Response::parse(response(change)).unwrap();
        bearing(&response, b"\x07example\0")
    }

    /// What a server of the root means when it is asked for that.
    fn of_root(change: impl FnOnce(&mut Message)) -> Result<Bearing, &'static str> {
        let response = Response::parse(response(change)).unwrap();
        bearing(&response, b"\0")
    }

    fn name(text: &str) -> Name {
        Name::from_text(text).unwrap()
    }

    #[test]
    fn data_and_denials_with_aa_are_answers() {
        let authoritative = |change: fn(&mut Message)| {
            of_example(|message| {
                message.metadata.authoritative = true;
                change(message);
            })
        };
        for change in [
            (|message| {
                message.add_answer(a("WWW.example.", 60, 1));
            }) as fn(&mut Message),
            |message| {
                message.add_answer(cname("www.example.", 60, "b.example."));
            },
            |message| {
                message.add_authority(soa("example.", 60, 5));
            },
            |message| {
                message.metadata.response_code = ResponseCode::NXDomain;
                message.add_authority(soa("example.", 60, 5));
            },
            // RFC 2308 §2.2, type 3: neither data, nor SOA, nor a referral.
            |_| {},
            |message| {
                message.add_authority(ns("example.", 60, "ns.example."));
            },
        ] {
            assert_eq!(authoritative(change), Ok(Bearing::Answer));
        }
    }

    #[test]
    fn without_aa_there_is_no_answer() {
        let said = of_example(|message| {
            message.add_answer(a("www.example.", 60, 1));
        });
        assert!(said.unwrap_err().contains("AA"));
        assert!(of_example(|_| {}).unwrap_err().contains("AA"));
    }

    #[test]
    fn ns_of_a_zone_below_that_has_the_name_is_a_referral() {
        let referral = |message: &mut Message| {
            message.add_authority(ns("Example.", 60, "ns.example."));
        };
        assert_eq!(of_root(referral), Ok(Bearing::Referral(name("example."))));
        let with_aa = of_root(|message| {
            referral(message);
            message.metadata.authoritative = true;
        });
        assert_eq!(with_aa, Ok(Bearing::Referral(name("example."))));
        let itself = of_example(|message| {
            message.add_authority(ns("www.example.", 60, "ns.example."));
        });
        assert_eq!(itself, Ok(Bearing::Referral(name("www.example."))));
    }

    #[test]
    fn a_referral_upwards_sideways_or_to_the_same_zone_is_lame() {
        for zone in [".", "example.", "other.example.", "other."] {
            let said = of_example(|message| {
                message.add_authority(ns(zone, 60, "ns.example."));
            });
            assert!(said.unwrap_err().contains("not on the way"), "{zone}");
        }
    }

    #[test]
    fn no_server_refers_to_a_zone_for_its_own_ds() {
        let said = of_root(|message| {
            message.queries[0].set_query_type(RecordType::DS);
            message.add_authority(ns("www.example.", 60, "ns.example."));
        });
        assert!(said.unwrap_err().contains("DS"));
    }

    #[test]
    fn an_answer_about_another_name_is_none() {
        let said = of_example(|message| {
            message.metadata.authoritative = true;
            message.add_answer(a("other.example.", 60, 1));
        });
        assert_eq!(said, Err("answers about another name"));
    }
}
