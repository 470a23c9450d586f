//! An answer whose CNAMEs lead through several zones, put together from what each
//! zone says of its own names (RFC 1034 §3.6.2).
//!
//! CoreDNS answers a Service of type ExternalName with the CNAME alone; a stub
//! resolver needs the addresses, too. And what a zone's servers say of a name in
//! another zone counts for nothing: that zone is asked.
//!
//! Rare, and names in the messages are compressed each in its own way: so this is
//! the one place where messages are decoded and encoded as a whole.

use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinDecodable as _;

use crate::wire::response::Response;

/// An answer in the making: the question, and the links so far.
#[derive(Debug)]
pub(crate) struct Chain(Message);

impl Chain {
    /// Begins with the answer of the first zone, of which the records at `owners`
    /// are taken. None when the codec cannot read it.
    pub(crate) fn begin(first: &Response, owners: &[Vec<u8>]) -> Option<Self> {
        let mut message = Message::from_vec(first.wire()).ok()?;
        let answers = std::mem::take(&mut message.answers);
        let authorities = std::mem::take(&mut message.authorities);
        message.additionals.clear();
        message.edns = None;
        let mut chain = Self(message);
        chain.take(answers, authorities, owners);
        Some(chain)
    }

    /// Goes on with the answer of the next zone. None when the codec cannot read
    /// it.
    pub(crate) fn add(mut self, next: &Response, owners: &[Vec<u8>]) -> Option<Self> {
        let next = Message::from_vec(next.wire()).ok()?;
        self.take(next.answers, next.authorities, owners);
        Some(self)
    }

    /// Ends with the answer of the last zone, all of it: its code, its data or
    /// its denial stand for the end of the chain. None when the codec cannot read
    /// it, or the whole is too long for a message.
    pub(crate) fn end(self, last: &Response) -> Option<Response> {
        let Self(mut whole) = self;
        let last = Message::from_vec(last.wire()).ok()?;
        whole.metadata.response_code = last.metadata.response_code;
        whole.answers.extend(last.answers);
        whole.authorities.extend(last.authorities);
        whole.additionals = last.additionals;
        let wire = whole.to_vec().ok()?;
        if wire.len() > usize::from(u16::MAX) {
            return None;
        }
        Response::parse(wire)
    }

    /// Takes the links, the DNAMEs that made them, and what proves that a wildcard
    /// did: whoever validates himself wants it.
    fn take(&mut self, answers: Vec<Record>, authorities: Vec<Record>, owners: &[Vec<u8>]) {
        let owners: Vec<_> = owners
            .iter()
            .filter_map(|name| Name::from_bytes(name).ok())
            .collect();
        let makes = |record: &Record| {
            covered(record) == RecordType::DNAME
                && owners.iter().any(|name| record.name.zone_of(name))
        };
        let links = answers
            .into_iter()
            .filter(|record| owners.contains(&record.name) || makes(record));
        self.0.answers.extend(links);
        let proofs = authorities
            .into_iter()
            .filter(|record| matches!(covered(record), RecordType::NSEC | RecordType::NSEC3));
        self.0.authorities.extend(proofs);
    }
}

/// The type that the record is of, or signs.
fn covered(record: &Record) -> RecordType {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(signature)) => signature.input().type_covered,
        _ => record.record_type(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Rcode;
    use crate::wire::record::tests::{a, cname, name, response, soa};
    use hickory_proto::op::ResponseCode;

    /// The answer of a zone that also says something of a name in another.
    fn alias() -> Response {
        let wire = response(|message| {
            message.add_answer(cname("WWW.example.", 60, "host.other."));
            message.add_answer(a("host.other.", 30, 66));
        });
        Response::parse(wire).unwrap()
    }

    fn target(change: impl FnOnce(&mut Message)) -> Response {
        let wire = response(|message| {
            message.queries[0].set_name(name("host.other."));
            change(message);
        });
        Response::parse(wire).unwrap()
    }

    fn joined(last: &Response) -> Message {
        let owners = [b"\x03www\x07example\0".to_vec()];
        let chain = Chain::begin(&alias(), &owners).unwrap();
        let whole = chain.end(last).unwrap();
        Message::from_vec(whole.wire()).unwrap()
    }

    #[test]
    fn each_zone_speaks_for_its_own_names_only() {
        let message = joined(&target(|message| {
            message.add_answer(a("host.other.", 30, 1));
        }));
        assert_eq!(message.queries[0].name(), &name("www.example."));
        let data: Vec<_> = message
            .answers
            .iter()
            .map(|record| record.data.to_string())
            .collect();
        assert_eq!(data, ["host.other.", "192.0.2.1"]);
    }

    #[test]
    fn a_denial_of_the_target_denies_the_whole() {
        let message = joined(&target(|message| {
            message.metadata.response_code = ResponseCode::NXDomain;
            message.add_authority(soa("other.", 60, 5));
        }));
        let rcode = u16::from(message.metadata.response_code);
        assert_eq!(rcode, Rcode::NXDOMAIN.0);
        assert_eq!((message.answers.len(), message.authorities.len()), (1, 1));
    }

    #[test]
    fn a_chain_may_lead_through_several_zones() {
        let owners = [b"\x03www\x07example\0".to_vec()];
        let middle = target(|message| {
            message.add_answer(cname("host.other.", 30, "x.third."));
        });
        let last = target(|message| {
            message.add_answer(a("x.third.", 30, 1));
        });
        let whole = Chain::begin(&alias(), &owners)
            .and_then(|chain| chain.add(&middle, &[b"\x04host\x05other\0".to_vec()]))
            .and_then(|chain| chain.end(&last))
            .unwrap();
        assert_eq!(whole.layout().records.len(), 3);
        assert!(!whole.has_loose_end());
    }
}
