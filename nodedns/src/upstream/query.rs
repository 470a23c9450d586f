//! What is sent to a server.

use crate::cache::key::Key;
use crate::wire::cookie::Shown;
use crate::wire::response::Response;
use crate::wire::{CLASS_IN, HEADER_LEN, QUESTION_AT, edns, flag, put_u16};

/// A query of ours, kept to compare the reply with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    wire: Vec<u8>,
    question_end: usize,
    cookie: Option<Shown>,
}

/// In which form a question is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    /// With OPT (RFC 6891).
    pub(super) edns: bool,
    /// With what the server knows us by, in OPT, where it is asked over UDP.
    pub(super) cookie: bool,
    /// With letters large or small by chance, which a forger has to guess, too
    /// (draft-vixie-dnsext-dns0x20).
    pub(super) mix_case: bool,
    /// Asking the server to recurse (RD).
    pub(super) recursion: bool,
}

impl Sent {
    /// The query that asks for `key`, with an ID that nobody can guess; `cookie` is for OPT.
    pub(super) fn new(key: &Key, form: Form, cookie: Option<Shown>) -> Self {
        let mut wire = Vec::with_capacity(HEADER_LEN + key.name().len() + 4 + edns::OPT_LEN);
        let recursion = if form.recursion { flag::RD } else { 0 };
        let checking_disabled = if key.checking_disabled() { flag::CD } else { 0 };
        wire.extend_from_slice(&rand::random::<u16>().to_be_bytes());
        wire.extend_from_slice(&(recursion | checking_disabled).to_be_bytes());
        wire.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::from(form.edns)]);
        wire.extend_from_slice(key.name());
        if form.mix_case {
            mix(&mut wire[QUESTION_AT..]);
        }
        wire.extend_from_slice(&key.rtype().to_be_bytes());
        wire.extend_from_slice(&CLASS_IN.to_be_bytes());
        let question_end = wire.len();
        if form.edns {
            edns::put_query_opt(&mut wire, key.dnssec_ok(), cookie.as_ref());
        }
        Self {
            wire,
            question_end,
            cookie: cookie.filter(|_| form.edns),
        }
    }

    /// The message.
    pub(super) fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// The ID.
    pub(super) fn id(&self) -> [u8; 2] {
        [self.wire[0], self.wire[1]]
    }

    /// Another ID, for a connection on which this one is taken.
    pub(super) fn set_id(&mut self, id: u16) {
        put_u16(&mut self.wire, 0, id);
    }

    /// The question: name, type, class.
    pub(super) fn question(&self) -> &[u8] {
        &self.wire[QUESTION_AT..self.question_end]
    }

    /// What the server was shown.
    pub(super) const fn cookie(&self) -> Option<&Shown> {
        self.cookie.as_ref()
    }

    /// Whether `response` repeats the question to the last bit, case included.
    pub(super) fn is_asked_by(&self, response: &Response) -> bool {
        response.wire().get(QUESTION_AT..self.question_end) == Some(self.question())
    }
}

/// Turns letters large by chance. Length bytes are below 64, where no letter is.
fn mix(name: &mut [u8]) {
    let mut chance = [0_u8; 32];
    rand::fill(&mut chance);
    for (at, byte) in name.iter_mut().enumerate() {
        if chance[at / 8 % chance.len()] >> (at % 8) & 1 != 0 {
            byte.make_ascii_uppercase();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::Message;

    const NAME: &[u8] = b"\x24abcdefghijklmnopqrstuvwxyz0123456789\0";

    const PLAIN: Form = Form {
        edns: false,
        cookie: false,
        mix_case: false,
        recursion: true,
    };

    #[test]
    fn another_codec_reads_what_is_sent() {
        let key = Key::new(NAME, 28, true, true);
        let with_edns = Form {
            edns: true,
            ..PLAIN
        };
        let message = Message::from_vec(Sent::new(&key, with_edns, None).wire()).unwrap();
        let flags = message.metadata;
        assert!(flags.recursion_desired && flags.checking_disabled);
        assert_eq!(message.queries.len(), 1);
        let edns = message.edns.unwrap();
        assert!(edns.flags().dnssec_ok);
        assert_eq!(edns.max_payload(), 1232);
        let plain = Message::from_vec(Sent::new(&key, PLAIN, None).wire()).unwrap();
        assert!(plain.edns.is_none());
    }

    #[test]
    fn authoritative_servers_are_not_asked_to_recurse() {
        let key = Key::new(NAME, 28, false, false);
        let form = Form {
            recursion: false,
            ..PLAIN
        };
        let message = Message::from_vec(Sent::new(&key, form, None).wire()).unwrap();
        assert!(!message.metadata.recursion_desired);
    }

    #[test]
    fn case_is_mixed_and_nothing_else() {
        let key = Key::new(NAME, 1, false, false);
        let plain = Sent::new(&key, PLAIN, None);
        let mixed = Form {
            mix_case: true,
            ..PLAIN
        };
        let mixed = Sent::new(&key, mixed, None);
        assert_ne!(mixed.question(), plain.question());
        assert!(mixed.question().eq_ignore_ascii_case(plain.question()));
    }
}
