//! Which process it is that answers. During an upgrade two listen on the same
//! addresses and the kernel deals the queries out among them: one that wants to know
//! whether it answers itself asks until the answer is its own.
//!
//! The question is `instance.nodedns. CH TXT`, the answer a number that says nothing
//! but who is who (as `id.server` of RFC 4892 does, which names the host).

use std::fmt;

use crate::wire::patch::{self, Kept, Transport, Ttls};
use crate::wire::question::Query;
use crate::wire::truncate::Cuts;
use crate::wire::{CLASS_CH, QUESTION_AT, flag, rtype};

/// The number of a process, drawn when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instance(String);

impl Instance {
    /// One that no other process has.
    pub(crate) fn new() -> Self {
        Self(format!("{:016x}", rand::random::<u64>()))
    }

    /// Whether `query` asks for it.
    pub(crate) fn is_asked(query: &Query<'_>) -> bool {
        query.class == CLASS_CH
            && query.rtype == rtype::TXT
            && query.name.eq_ignore_ascii_case(NAME)
    }

    /// Makes `out` the answer to a query that asks for it.
    pub(crate) fn answer(&self, out: &mut Vec<u8>, query: &Query<'_>, transport: Transport) {
        let mut wire = vec![0, 0];
        wire.extend_from_slice(&flag::QR.to_be_bytes());
        wire.extend_from_slice(&[0, 1, 0, 1, 0, 0, 0, 0]);
        put_question(&mut wire);
        let question_end = wire.len();
        wire.extend_from_slice(&[0xc0, QUESTION_AT as u8]);
        wire.extend_from_slice(&rtype::TXT.to_be_bytes());
        wire.extend_from_slice(&CLASS_CH.to_be_bytes());
        // Good for no time at all.
        wire.extend_from_slice(&[0; 4]);
        wire.extend_from_slice(&self.data());
        let cuts = Cuts {
            question_end,
            additional_at: wire.len(),
        };
        let kept = Kept {
            wire: &wire,
            ttls: &[],
            cuts,
            error: None,
            is_secure: false,
        };
        patch::answer(out, kept, query, Ttls::Aged(0), transport);
    }

    /// The question, as it goes over UDP.
    pub(crate) fn question(id: u16) -> Vec<u8> {
        let mut wire = id.to_be_bytes().to_vec();
        wire.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        put_question(&mut wire);
        wire
    }

    /// Whether this is this process's answer to the question with that ID.
    pub(crate) fn is_from(&self, answer: &[u8], id: u16) -> bool {
        answer.starts_with(&id.to_be_bytes()) && answer.ends_with(&self.data())
    }

    /// The length of the data, that of the one text in it, and the text.
    fn data(&self) -> Vec<u8> {
        let length = self.0.len() as u8;
        [&[0, length + 1, length], self.0.as_bytes()].concat()
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn put_question(wire: &mut Vec<u8>) {
    wire.extend_from_slice(NAME);
    wire.extend_from_slice(&rtype::TXT.to_be_bytes());
    wire.extend_from_slice(&CLASS_CH.to_be_bytes());
}

const NAME: &[u8] = b"\x08instance\x07nodedns\0";

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::Message;

    #[test]
    fn each_process_knows_its_own_answer() {
        let (own, other) = (Instance::new(), Instance::new());
        let question = Instance::question(7);
        let query = Query::parse(&question).unwrap();
        assert!(Instance::is_asked(&query));
        let mut answer = Vec::new();
        own.answer(&mut answer, &query, Transport::Udp);
        assert!(own.is_from(&answer, 7));
        assert!(!own.is_from(&answer, 8) && !other.is_from(&answer, 7));
        let message = Message::from_vec(&answer).unwrap();
        assert_eq!(
            message.answers[0].data.to_string().trim_matches('"'),
            own.to_string()
        );
    }

    #[test]
    fn other_questions_are_not_its_own() {
        let mut question = Instance::question(7);
        question[QUESTION_AT + 1] = b'x';
        assert!(!Instance::is_asked(&Query::parse(&question).unwrap()));
        let mut question = Instance::question(7);
        let end = question.len();
        question[end - 1] = 1;
        assert!(!Instance::is_asked(&Query::parse(&question).unwrap()));
    }
}
