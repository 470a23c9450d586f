//! An answer fitted to what its client can receive.

use crate::wire::{flag, put_u16, u16_at};

/// Where an answer may be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cuts {
    /// Where the question ends.
    pub(crate) question_end: usize,
    /// Where the additional section begins; the end when there is none.
    pub(crate) additional_at: usize,
}

/// Shortens `answer`, which begins at its header and has no OPT yet, to at most
/// `limit` bytes. Additional records go first and silently, for they are a
/// courtesy (RFC 2181 §9). What is still too long keeps its question only, and
/// TC tells the client to come back over TCP: half an RRset helps nobody.
/// Gives true when TC was set.
pub(crate) fn fit(answer: &mut Vec<u8>, cuts: Cuts, limit: usize) -> bool {
    if answer.len() <= limit {
        return false;
    }
    answer.truncate(cuts.additional_at);
    put_u16(answer, 10, 0);
    if answer.len() <= limit {
        return false;
    }
    answer.truncate(cuts.question_end);
    put_u16(answer, 6, 0);
    put_u16(answer, 8, 0);
    let flags = u16_at(answer, 2).unwrap_or(0);
    put_u16(answer, 2, flags | flag::TC);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::tests::{a, response};
    use crate::wire::record::{Layout, Section};
    use hickory_proto::op::Message;

    fn answer() -> (Vec<u8>, Cuts) {
        let message = response(|message| {
            message.add_answer(a("www.example.", 60, 1));
            message.add_additional(a("other.example.", 60, 2));
        });
        let layout = Layout::of(&message).unwrap();
        let cuts = Cuts {
            question_end: layout.question_end,
            additional_at: layout.section(Section::Additional).next().unwrap().at,
        };
        (message, cuts)
    }

    #[test]
    fn what_fits_is_left_alone() {
        let (mut message, cuts) = answer();
        let before = message.clone();
        assert!(!fit(&mut message, cuts, before.len()));
        assert_eq!(message, before);
    }

    #[test]
    fn additional_records_go_first_and_silently() {
        let (mut message, cuts) = answer();
        let limit = message.len() - 1;
        assert!(!fit(&mut message, cuts, limit));
        let left = Message::from_vec(&message).unwrap();
        assert_eq!((left.answers.len(), left.additionals.len()), (1, 0));
        assert!(!left.metadata.truncation);
    }

    #[test]
    fn then_only_the_question_is_left_and_tc_says_so() {
        let (mut message, cuts) = answer();
        assert!(fit(&mut message, cuts, cuts.question_end));
        let left = Message::from_vec(&message).unwrap();
        assert_eq!((left.queries.len(), left.answers.len()), (1, 0));
        assert!(left.metadata.truncation);
    }
}
