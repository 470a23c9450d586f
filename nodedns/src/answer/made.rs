//! Answers that are made here, of records that nobody sent.

use crate::wire::patch::{self, Kept, Transport, Ttls};
use crate::wire::question::Query;
use crate::wire::truncate::Cuts;
use crate::wire::{CLASS_IN, QUESTION_AT, Rcode, flag, rtype};

/// An answer of our own.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) rcode: Rcode,
    /// All of the answer section, or the one SOA of a denial.
    records: Vec<Record>,
}

/// One record. Its owner is in the question.
#[derive(Debug)]
pub(super) struct Record {
    /// Where in the message its owner's name is.
    owner_at: usize,
    rtype: u16,
    ttl: u32,
    data: Vec<u8>,
}

impl Made {
    /// An answer with these records; when there are none, a denial by the zone whose name
    /// begins with that byte of the question's.
    pub(super) fn new(rcode: Rcode, mut records: Vec<Record>, zone_at: usize) -> Self {
        if records.is_empty() {
            records.push(Record::denial(QUESTION_AT + zone_at));
        }
        Self { rcode, records }
    }

    /// Makes `out` the answer to `query`.
    pub(super) fn put(&self, out: &mut Vec<u8>, query: &Query<'_>, transport: Transport) {
        let mut wire = Vec::with_capacity(512);
        wire.extend_from_slice(&[0, 0]);
        wire.extend_from_slice(&(flag::QR | self.rcode.0).to_be_bytes());
        let count = (self.records.len() as u16).to_be_bytes();
        let is_denial = self.records.iter().any(|record| record.rtype == rtype::SOA);
        let (answers, authorities) = if is_denial {
            ([0; 2], count)
        } else {
            (count, [0; 2])
        };
        wire.extend_from_slice(&[0, 1]);
        wire.extend_from_slice(&answers);
        wire.extend_from_slice(&authorities);
        wire.extend_from_slice(&[0, 0]);
        wire.extend_from_slice(query.name);
        wire.extend_from_slice(&query.rtype.to_be_bytes());
        wire.extend_from_slice(&query.class.to_be_bytes());
        let question_end = wire.len();
        for record in &self.records {
            record.put(&mut wire);
        }
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
        patch::answer(out, kept, query, Ttls::Aged(0), transport);
    }
}

impl Record {
    /// A record of the name that was asked for.
    pub(super) const fn of_question(rtype: u16, ttl: u32, data: Vec<u8>) -> Self {
        Self {
            owner_at: QUESTION_AT,
            rtype,
            ttl,
            data,
        }
    }

    /// The SOA of a zone, which makes its denial cacheable (RFC 2308).
    fn denial(owner_at: usize) -> Self {
        let mut data = b"\x09localhost\0\x06nobody\x07invalid\0".to_vec();
        for number in [1, 3_600, 1_200, 604_800, DENIAL] {
            data.extend_from_slice(&u32::to_be_bytes(number));
        }
        Self {
            owner_at,
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

/// Seconds. A name that is special stays so, but a reload may give it a zone.
const DENIAL: u32 = 60;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::wire::edns::Options;
    use crate::wire::name::Name;
    use hickory_proto::op::Message;

    /// The answer that `make` makes to a question, as another codec reads it.
    pub(in crate::answer) fn shown(
        name: &Name,
        rtype: u16,
        make: impl FnOnce(&Query<'_>) -> Option<Made>,
    ) -> Option<Message> {
        let query = Query {
            id: 7,
            flags: flag::RD,
            name: name.as_wire(),
            rtype,
            class: CLASS_IN,
            edns: None,
            options: Options::default(),
        };
        let mut out = Vec::new();
        make(&query)?.put(&mut out, &query, Transport::Udp);
        Some(Message::from_vec(&out).unwrap())
    }
}
