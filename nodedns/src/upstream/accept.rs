//! What is believed of what arrives. A reply that does not fit is not an error:
//! it is ignored and the wait goes on, so that a forger cannot end it.

use crate::upstream::query::Sent;
use crate::wire::cookie::Shown;
use crate::wire::edns::{self, Malformed};
use crate::wire::response::Response;
use crate::wire::{HEADER_LEN, QUESTION_AT, Rcode, flag, header_rcode, u16_at};

/// What a packet is to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Belief {
    /// The reply to our question.
    Ours(Response),
    /// It would be, but the letters of the name are not as large and small as we
    /// sent them: a server that does not keep them, or a good guess.
    OtherCase(Response),
    /// A header alone with the ID and an error: a server that could not read the
    /// question, or a guess.
    Bare(Rcode),
    /// Malformed, or no reply to our question.
    NotOurs,
}

/// Compares a packet with what was sent: a response, the ID, the question to the
/// last bit (RFC 5452 §9.1), every record whole and nothing after them, and no
/// cookie but for the one that the server was shown (RFC 7873 §5.3).
pub(super) fn believe(sent: &Sent, packet: &[u8]) -> Belief {
    let flags = u16_at(packet, 2).unwrap_or(0);
    if packet.len() < HEADER_LEN
        || packet[..2] != sent.id()
        || flags & flag::QR == 0
        || flags & flag::OPCODE != 0
    {
        return Belief::NotOurs;
    }
    let rcode = header_rcode(packet);
    if packet.len() == HEADER_LEN && packet[4..] == [0; 8] && rcode != Rcode::NOERROR {
        return Belief::Bare(rcode);
    }
    let asked = sent.question();
    let Some(echoed) = packet.get(QUESTION_AT..QUESTION_AT + asked.len()) else {
        return Belief::NotOurs;
    };
    if !echoed.eq_ignore_ascii_case(asked) {
        return Belief::NotOurs;
    }
    let Some(response) = Response::parse(packet.to_vec()) else {
        return Belief::NotOurs;
    };
    let layout = response.layout();
    let end = layout
        .records
        .last()
        .map_or(layout.question_end, |last| last.end);
    if end != packet.len() || given(sent, &response).is_err() {
        return Belief::NotOurs;
    }
    if echoed == asked {
        Belief::Ours(response)
    } else {
        Belief::OtherCase(response)
    }
}

/// The cookie to show next to the server, if `response` has one.
///
/// # Errors
/// It is not to what was shown, or malformed.
pub(super) fn given(sent: &Sent, response: &Response) -> Result<Option<Shown>, Malformed> {
    let (Some(shown), Some(options)) = (sent.cookie(), response.options()) else {
        return Ok(None);
    };
    match edns::cookie_of_server(options)? {
        // Servers that know nothing of cookies may send back what they got.
        Some(data) if data != shown.client() => shown.next(data).map(Some).ok_or(Malformed),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::Key;
    use crate::upstream::query::Form;
    use proptest::prelude::*;

    fn sent() -> Sent {
        let key = Key::new(
            b"\x24abcdefghijklmnopqrstuvwxyz0123456789\0",
            1,
            false,
            false,
        );
        let form = Form {
            edns: false,
            cookie: false,
            mix_case: true,
            recursion: true,
        };
        Sent::new(&key, form, None)
    }

    fn reply(sent: &Sent) -> Vec<u8> {
        let mut packet = sent.wire().to_vec();
        packet[2] |= 0x80;
        packet
    }

    #[test]
    fn the_reply_is_believed() {
        let sent = sent();
        assert!(matches!(believe(&sent, &reply(&sent)), Belief::Ours(_)));
    }

    #[test]
    fn any_other_bit_in_header_or_question_is_not() {
        let sent = sent();
        let good = reply(&sent);
        let question = QUESTION_AT..good.len();
        // The ID, QR, the count of questions, the question.
        for at in [0, 1, 4, 5].into_iter().chain(question) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(believe(&sent, &bad), Belief::NotOurs, "byte {at}");
        }
        assert_eq!(believe(&sent, sent.wire()), Belief::NotOurs, "a query");
    }

    #[test]
    fn another_case_is_told_apart() {
        let sent = sent();
        let mut packet = reply(&sent);
        packet[QUESTION_AT..].make_ascii_lowercase();
        assert!(matches!(believe(&sent, &packet), Belief::OtherCase(_)));
    }

    #[test]
    fn a_reply_that_is_cut_short_is_not_believed() {
        let sent = sent();
        let good = reply(&sent);
        for cut in 0..good.len() {
            assert_eq!(
                believe(&sent, &good[..cut]),
                Belief::NotOurs,
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn a_reply_with_more_than_it_says_is_not_believed() {
        let sent = sent();
        let packet = [&reply(&sent)[..], b"tail"].concat();
        assert_eq!(believe(&sent, &packet), Belief::NotOurs);
    }

    #[test]
    fn a_reply_with_a_cookie_that_was_not_shown_is_not_believed() {
        let key = Key::new(b"\x01a\0", 1, false, false);
        let form = Form {
            edns: true,
            cookie: true,
            mix_case: true,
            recursion: true,
        };
        let sent = Sent::new(&key, form, Some(Shown::new([7; 8])));
        let with = |cookie: &[u8]| {
            let mut packet = reply(&sent);
            let length = cookie.len() as u16;
            // The option, and before it the length of all options.
            packet.truncate(packet.len() - 14);
            packet.extend((length + 4).to_be_bytes());
            packet.extend([0, 10]);
            packet.extend(length.to_be_bytes());
            packet.extend(cookie);
            believe(&sent, &packet)
        };
        let both = [[7; 8], [9; 8]].concat();
        let Belief::Ours(response) = with(&both) else {
            panic!("not believed");
        };
        let next = given(&sent, &response).unwrap().unwrap();
        assert_eq!(next.as_bytes(), both);
        for other in [&[[8; 8], [9; 8]].concat()[..], &[8; 8], &[7; 3], &[]] {
            assert_eq!(with(other), Belief::NotOurs, "{other:?}");
        }
        let Belief::Ours(echo) = with(&[7; 8]) else {
            panic!("not believed");
        };
        assert_eq!(given(&sent, &echo), Ok(None));
    }

    #[test]
    fn an_error_without_question_is_told_apart() {
        let sent = sent();
        let mut packet = reply(&sent)[..HEADER_LEN].to_vec();
        packet[3] |= 1;
        packet[4..].fill(0);
        assert_eq!(believe(&sent, &packet), Belief::Bare(Rcode::FORMERR));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(believe(&sent(), &bytes), Belief::NotOurs);
        }
    }
}
