//! The addresses of a name in another order: for clients that take the first of several.

use crate::wire::name::Expanded;
use crate::wire::{QUESTION_AT, name, rtype, u16_at};

/// Turns each run of addresses of the same name in the answer section of `message` by so many
/// places. Their records are alike but for the data, so nothing else in the message notices.
pub(crate) fn addresses(message: &mut [u8], by: usize) {
    let Some(question) = message.get(QUESTION_AT..).and_then(name::plain_len) else {
        return;
    };
    let mut at = QUESTION_AT + question + 4;
    let mut run = Run::default();
    for _ in 0..u16_at(message, 6).unwrap_or(0) {
        let Some(record) = Address::at(message, at) else {
            return run.turn(message, by);
        };
        at = record.end;
        if !run.takes(message, &record) {
            run.turn(message, by);
            run = Run::default();
            run.takes(message, &record);
        }
    }
    run.turn(message, by);
}

/// A record of the answer section.
struct Address {
    start: usize,
    end: usize,
    /// Of those that may be moved.
    is_address: bool,
    data_len: usize,
}

impl Address {
    fn at(message: &[u8], start: usize) -> Option<Self> {
        let fixed = name::expand(message, start, &mut Expanded::new())?;
        let data_len = usize::from(u16_at(message, fixed + 8)?);
        let end = fixed + 10 + data_len;
        (end <= message.len()).then_some(Self {
            start,
            end,
            is_address: matches!(u16_at(message, fixed)?, rtype::A | rtype::AAAA),
            data_len,
        })
    }
}

/// Records one after the other that are alike.
#[derive(Default)]
struct Run {
    start: usize,
    end: usize,
    size: usize,
    /// The bytes of each in front of its data.
    head: usize,
}

impl Run {
    /// Whether `record` goes on with it, or begins it.
    fn takes(&mut self, message: &[u8], record: &Address) -> bool {
        let size = record.end - record.start;
        if self.size == 0 {
            if record.is_address {
                *self = Self {
                    start: record.start,
                    end: record.end,
                    size,
                    head: size - record.data_len,
                };
            }
            return true;
        }
        let head = |at: usize| message.get(at..at + self.head);
        let is_alike = size == self.size && head(record.start) == head(self.start);
        if is_alike {
            self.end = record.end;
        }
        is_alike
    }

    fn turn(&self, message: &mut [u8], by: usize) {
        if self.size > 0
            && let Some(records) = message.get_mut(self.start..self.end)
        {
            let count = records.len() / self.size;
            records.rotate_left(by % count * self.size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::tests::{a, cname, response};
    use hickory_proto::op::Message;
    use proptest::prelude::*;

    fn data(message: &[u8]) -> Vec<String> {
        let message = Message::from_vec(message).unwrap();
        let answers = message.answers.iter();
        answers
            .map(|record| format!("{} {}", record.name, record.data))
            .collect()
    }

    #[test]
    fn addresses_turn_and_all_else_stays() {
        let mut message = response(|message| {
            message.add_answer(cname("www.example.", 60, "b.example."));
            for last in 1..=3 {
                message.add_answer(a("b.example.", 60, last));
            }
            message.add_authority(a("c.example.", 60, 9));
        });
        let before = message.clone();
        addresses(&mut message, 4);
        assert_eq!(
            data(&message),
            [
                "www.example. b.example.",
                "b.example. 192.0.2.2",
                "b.example. 192.0.2.3",
                "b.example. 192.0.2.1"
            ]
        );
        addresses(&mut message, 2);
        assert_eq!(message, before);
    }

    #[test]
    fn names_are_not_mixed() {
        let mut message = response(|message| {
            message.add_answer(a("www.example.", 60, 1));
            message.add_answer(a("other.example.", 60, 2));
            message.add_answer(a("other.example.", 60, 3));
        });
        for by in 0..4 {
            addresses(&mut message, by);
            let mut data = data(&message);
            assert_eq!(data[0], "www.example. 192.0.2.1");
            data.sort();
            assert_eq!(
                data[..2],
                ["other.example. 192.0.2.2", "other.example. 192.0.2.3"]
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..200), by: usize) {
            addresses(&mut bytes, by);
        }
    }
}
