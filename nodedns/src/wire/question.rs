//! What a client sent: the header, its one question, its EDNS options, read in
//! place without allocation.

use crate::wire::cookie::Cookie;
use crate::wire::edns::{self, ClientEdns, Options};
use crate::wire::{HEADER_LEN, QUESTION_AT, Rcode, flag, name, rtype, u16_at};

/// One readable query. The name is as the client wrote it, case included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query<'a> {
    /// Ties the answer to the query.
    pub(crate) id: u16,
    /// The header's flags, as sent.
    pub(crate) flags: u16,
    /// The name in wire form, uncompressed.
    pub(crate) name: &'a [u8],
    /// The record type asked for.
    pub(crate) rtype: u16,
    /// The class asked for.
    pub(crate) class: u16,
    /// What OPT said, when there was one.
    pub(crate) edns: Option<ClientEdns>,
    /// What the OPT of the answer says.
    pub(crate) options: Options,
}

/// A packet that is no query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Nothing may be said: too short to have an ID, or a response, which must
    /// never be answered lest two servers answer each other for ever.
    Silence,
    /// No question, but a cookie: the client wants to know ours, and nothing else.
    Cookie {
        /// The ID of the packet.
        id: u16,
        /// Its flags.
        flags: u16,
        /// What it showed.
        cookie: Cookie,
    },
    /// A bare header with this code is the answer.
    Error {
        /// The ID of the packet.
        id: u16,
        /// Its flags.
        flags: u16,
        /// FORMERR or NOTIMP.
        rcode: Rcode,
    },
}

impl<'a> Query<'a> {
    /// Reads `packet`.
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub(crate) fn parse(packet: &'a [u8]) -> Result<Self, Unreadable> {
        if packet.len() < HEADER_LEN {
            return Err(Unreadable::Silence);
        }
        let count = |at| u16_at(packet, at).unwrap_or(0);
        let (id, flags) = (count(0), count(2));
        if flags & flag::QR != 0 {
            return Err(Unreadable::Silence);
        }
        let error = |rcode| Unreadable::Error { id, flags, rcode };
        if flags & flag::OPCODE != 0 {
            return Err(error(Rcode::NOTIMP));
        }
        let malformed = error(Rcode::FORMERR);
        let (questions, answers, authorities, additionals) =
            (count(4), count(6), count(8), count(10));
        if questions == 0
            && let Ok(Some(edns)) =
                edns::of_client(packet, HEADER_LEN, additionals.min(MAX_ADDITIONAL))
            && let Some(cookie) = edns.cookie
        {
            return Err(Unreadable::Cookie { id, flags, cookie });
        }
        if questions != 1 || answers != 0 || authorities != 0 || additionals > MAX_ADDITIONAL {
            return Err(malformed);
        }
        let rest = &packet[QUESTION_AT..];
        let length = name::plain_len(rest).ok_or(malformed)?;
        let fixed = QUESTION_AT + length;
        let query = Self {
            id,
            flags,
            name: &rest[..length],
            rtype: u16_at(packet, fixed).ok_or(malformed)?,
            class: u16_at(packet, fixed + 2).ok_or(malformed)?,
            edns: edns::of_client(packet, fixed + 4, additionals).map_err(|_| malformed)?,
            options: Options::default(),
        };
        if query.rtype == rtype::OPT {
            return Err(malformed);
        }
        Ok(query)
    }

    /// Whether the client wants DNSSEC records (RFC 3225).
    pub(crate) fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// Whether the client takes unvalidated data (RFC 4035 §3.2.2).
    pub(crate) const fn checking_disabled(&self) -> bool {
        self.flags & flag::CD != 0
    }

    /// Whether the client wants to be told that an answer was validated
    /// (RFC 6840 §5.8).
    pub(crate) fn wants_authentic_data(&self) -> bool {
        self.flags & flag::AD != 0 || self.dnssec_ok()
    }

    /// Whether the client asks us to find the answer.
    pub(crate) const fn recursion_desired(&self) -> bool {
        self.flags & flag::RD != 0
    }
}

/// OPT, and TSIG or SIG(0), which are not understood but may be there.
const MAX_ADDITIONAL: u16 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::CLASS_IN;
    use hickory_proto::op::{Edns, Message, MessageType, OpCode};
    use hickory_proto::rr::{Name, RecordType};
    use proptest::prelude::*;

    /// `example.com. A`, written by another codec.
    fn packet(change: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(hickory_proto::op::Query::query(
            Name::from_ascii("ExAmple.com.").unwrap(),
            RecordType::A,
        ));
        change(&mut message);
        message.to_vec().unwrap()
    }

    fn rcode_of(packet: &[u8]) -> Rcode {
        match Query::parse(packet).unwrap_err() {
            Unreadable::Error { rcode, .. } => rcode,
            other => panic!("expected an error: {other:?}"),
        }
    }

    #[test]
    fn a_plain_query_is_read_with_its_case() {
        let packet = packet(|_| ());
        let query = Query::parse(&packet).unwrap();
        assert_eq!(query.id, 7);
        assert_eq!(query.name, b"\x07ExAmple\x03com\0");
        assert_eq!((query.rtype, query.class), (rtype::A, CLASS_IN));
        assert!(query.recursion_desired() && query.edns.is_none());
    }

    #[test]
    fn edns_is_read() {
        let packet = packet(|message| {
            let mut edns = Edns::new();
            edns.set_max_payload(4096);
            edns.set_dnssec_ok(true);
            message.set_edns(edns);
        });
        let query = Query::parse(&packet).unwrap();
        assert!(query.dnssec_ok());
        assert_eq!(query.edns.unwrap().udp_size, 4096);
    }

    #[test]
    fn a_cookie_may_come_without_a_question() {
        let cookie = [
            &[0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 12, 0, 10, 0, 8][..],
            &[7; 8],
        ]
        .concat();
        let packet = [&[0, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], &cookie].concat();
        let expected = Unreadable::Cookie {
            id: 9,
            flags: flag::RD,
            cookie: Cookie::read(&[7; 8]).unwrap(),
        };
        assert_eq!(Query::parse(&packet).unwrap_err(), expected);
        assert_eq!(rcode_of(&packet[..30]), Rcode::FORMERR);
    }

    #[test]
    fn responses_and_fragments_get_silence() {
        assert_eq!(Query::parse(&[0; 11]).unwrap_err(), Unreadable::Silence);
        let mut response = packet(|_| ());
        response[2] |= 0x80;
        assert_eq!(Query::parse(&response).unwrap_err(), Unreadable::Silence);
    }

    #[test]
    fn other_opcodes_are_not_implemented() {
        let mut update = packet(|_| ());
        update[2] |= 5 << 3;
        assert_eq!(rcode_of(&update), Rcode::NOTIMP);
    }

    #[test]
    fn a_question_must_be_one_and_whole() {
        let whole = packet(|_| ());
        for cut in HEADER_LEN..whole.len() {
            assert_eq!(rcode_of(&whole[..cut]), Rcode::FORMERR, "cut at {cut}");
        }
        for (count_at, value) in [(5, 0), (5, 2), (7, 1), (9, 1), (11, 3), (11, 1)] {
            let mut wrong = whole.clone();
            wrong[count_at] = value;
            assert_eq!(rcode_of(&wrong), Rcode::FORMERR, "count at {count_at}");
        }
    }

    #[test]
    fn a_compressed_question_is_refused() {
        let mut packet = packet(|_| ());
        packet[QUESTION_AT] = 0xc0;
        packet[QUESTION_AT + 1] = 0x0c;
        assert_eq!(rcode_of(&packet), Rcode::FORMERR);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Query::parse(&bytes);
        }

        #[test]
        fn any_change_to_a_query_is_survived(at in 0_usize..60, value: u8) {
            let mut packet = packet(|message| { message.set_edns(Edns::new()); });
            let at = at % packet.len();
            packet[at] = value;
            let _ = Query::parse(&packet);
        }
    }
}
