//! The records of a message that a server sent, walked where they lie
//! (RFC 1035 §4.1.3).
//!
//! ```text
//! name | type 2 | class 2 | TTL 4 | length 2 | data
//! ```

use std::ops::Range;

use crate::wire::name::{self, Expanded};
use crate::wire::{HEADER_LEN, QUESTION_AT, rtype, u16_at, u32_at};

/// The section in which a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Section {
    Answer,
    Authority,
    Additional,
}

/// Where one record's parts are in its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) section: Section,
    /// Where its owner's name begins.
    pub(crate) at: usize,
    pub(crate) rtype: u16,
    /// Where its TTL is.
    pub(crate) ttl_at: usize,
    /// Where its data begins.
    pub(crate) data_at: usize,
    /// Where the next record begins.
    pub(crate) end: usize,
}

impl Record {
    /// Seconds for which it may be kept. A TTL with the top bit set counts as
    /// zero (RFC 2181 §8).
    pub(crate) fn ttl(&self, message: &[u8]) -> u32 {
        let ttl = u32_at(message, self.ttl_at).unwrap_or(0);
        if ttl > i32::MAX as u32 { 0 } else { ttl }
    }
}

/// A whole response: one question, and every record that the header counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Where the question ends and the answer section begins.
    pub(crate) question_end: usize,
    /// All records in order.
    pub(crate) records: Vec<Record>,
}

impl Layout {
    /// Walks `message`. Nothing when it does not have exactly one question, or a
    /// record is cut short, or an owner's name is malformed or has parts in what
    /// changes while the message is kept: the header, or the TTL of a record. The number of
    /// records is bounded by the length of the message: each has 11 bytes.
    pub(crate) fn of(message: &[u8]) -> Option<Self> {
        if message.len() < HEADER_LEN || u16_at(message, 4)? != 1 {
            return None;
        }
        let question_end = QUESTION_AT + name::plain_len(&message[QUESTION_AT..])? + 4;
        if question_end > message.len() {
            return None;
        }
        let mut records = Vec::new();
        let mut at = question_end;
        let mut owner = Expanded::new();
        for (section, count_at) in SECTIONS {
            for _ in 0..u16_at(message, count_at)? {
                let fixed = name::expand(message, at, &mut owner)?;
                if is_made_of_fields(message, at..fixed, &records) {
                    return None;
                }
                let length = usize::from(u16_at(message, fixed + 8)?);
                let data_at = fixed + 10;
                let end = data_at + length;
                if end > message.len() {
                    return None;
                }
                records.push(Record {
                    section,
                    at,
                    rtype: u16_at(message, fixed)?,
                    ttl_at: fixed + 4,
                    data_at,
                    end,
                });
                at = end;
            }
        }
        Some(Self {
            question_end,
            records,
        })
    }

    /// The question's name in wire form.
    pub(crate) fn name<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        message
            .get(QUESTION_AT..self.question_end - 4)
            .unwrap_or(&[])
    }

    /// The question's type.
    pub(crate) fn rtype(&self, message: &[u8]) -> u16 {
        u16_at(message, self.question_end - 4).unwrap_or(0)
    }

    /// The records of one section.
    pub(crate) fn section(&self, section: Section) -> impl Iterator<Item = &Record> {
        self.records
            .iter()
            .filter(move |record| record.section == section)
    }

    /// The OPT record, when there is one.
    pub(crate) fn opt(&self) -> Option<&Record> {
        self.section(Section::Additional)
            .find(|record| record.rtype == rtype::OPT)
    }
}

/// Whether the name of which `owner` is the part that stands in its record has another in the
/// header, or in the fields between owner and data of that record or one of `records`, which
/// all begin before it: no name has ever stood there (RFC 1035 §4.1.4: "a prior occurrence
/// of the same name").
fn is_made_of_fields(message: &[u8], owner: Range<usize>, records: &[Record]) -> bool {
    name::stretches(message, owner.start).any(|stretch| {
        let after = records.partition_point(|record| record.data_at <= stretch.start);
        let fields = records.get(after).map(|record| record.ttl_at - 4);
        let fields = fields.unwrap_or(owner.end);
        stretch.start < HEADER_LEN || fields < stretch.end
    })
}

const SECTIONS: [(Section, usize); 3] = [
    (Section::Answer, 6),
    (Section::Authority, 8),
    (Section::Additional, 10),
];

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use hickory_proto::op::{Message, MessageType, OpCode, Query};
    use hickory_proto::rr::rdata::{A, CNAME, NS, SOA};
    use hickory_proto::rr::{Name, RData, Record as HickoryRecord, RecordType};
    use proptest::prelude::*;

    /// A response written by another codec. The question is `www.example. A`.
    pub(crate) fn response(change: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = Message::new(7, MessageType::Response, OpCode::Query);
        message.add_query(Query::query(name("www.example."), RecordType::A));
        change(&mut message);
        message.to_vec().unwrap()
    }

    pub(crate) fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    pub(crate) fn a(owner: &str, ttl: u32, last: u8) -> HickoryRecord {
        HickoryRecord::from_rdata(name(owner), ttl, RData::A(A::new(192, 0, 2, last)))
    }

    pub(crate) fn cname(owner: &str, ttl: u32, target: &str) -> HickoryRecord {
        HickoryRecord::from_rdata(name(owner), ttl, RData::CNAME(CNAME(name(target))))
    }

    pub(crate) fn ns(owner: &str, ttl: u32, server: &str) -> HickoryRecord {
        HickoryRecord::from_rdata(name(owner), ttl, RData::NS(NS(name(server))))
    }

    pub(crate) fn soa(owner: &str, ttl: u32, minimum: u32) -> HickoryRecord {
        let data = SOA::new(name("ns."), name("host."), 1, 2, 3, 4, minimum);
        HickoryRecord::from_rdata(name(owner), ttl, RData::SOA(data))
    }

    #[test]
    fn records_are_found_in_their_sections() {
        let message = response(|message| {
            message.add_answer(cname("www.example.", 60, "host.example."));
            message.add_answer(a("host.example.", 30, 1));
            message.add_authority(soa("example.", 90, 5));
        });
        let layout = Layout::of(&message).unwrap();
        let types: Vec<_> = layout
            .records
            .iter()
            .map(|record| (record.section, record.rtype, record.ttl(&message)))
            .collect();
        assert_eq!(
            types,
            [
                (Section::Answer, rtype::CNAME, 60),
                (Section::Answer, rtype::A, 30),
                (Section::Authority, rtype::SOA, 90)
            ]
        );
        assert_eq!(layout.name(&message), b"\x03www\x07example\0");
        assert_eq!(layout.rtype(&message), rtype::A);
        assert_eq!(layout.records.last().unwrap().end, message.len());
    }

    #[test]
    fn a_negative_ttl_is_zero() {
        let message = response(|message| {
            message.add_answer(a("www.example.", 0x8000_0000, 1));
        });
        let layout = Layout::of(&message).unwrap();
        assert_eq!(layout.records[0].ttl(&message), 0);
    }

    #[test]
    fn a_response_that_is_cut_short_is_none() {
        let message = response(|message| {
            message.add_answer(a("www.example.", 60, 1));
        });
        for cut in 0..message.len() {
            assert!(Layout::of(&message[..cut]).is_none(), "cut at {cut}");
        }
    }

    #[test]
    fn an_owner_made_of_fields_that_change_is_malformed() {
        // The TTL spells `a.`, and the second byte of the flags the root.
        let ttl = u32::from_be_bytes([0, 1, b'a', 0]);
        let mut message = response(|message| {
            message.add_answer(a("www.example.", ttl, 1));
            message.add_answer(a("www.example.", 60, 2));
        });
        let records = Layout::of(&message).unwrap().records;
        let (spelt, second) = (records[0].ttl_at + 1, records[1].at);
        for into in [spelt, 3] {
            message[second..second + 2].copy_from_slice(&(0xc000 | into as u16).to_be_bytes());
            let mut owner = Expanded::new();
            assert!(name::expand(&message, second, &mut owner).is_some());
            assert_eq!(Layout::of(&message), None, "into {into}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Layout::of(&bytes);
        }

        #[test]
        fn any_change_to_a_response_is_survived(at in 0_usize..400, value: u8) {
            let mut message = response(|message| {
                message.add_answer(cname("www.example.", 60, "host.example."));
                message.add_answer(a("host.example.", 30, 1));
            });
            let at = at % message.len();
            message[at] = value;
            if let Some(layout) = Layout::of(&message) {
                prop_assert!(layout.records.iter().all(|record| record.end <= message.len()));
            }
        }
    }
}
