//! What one client's question may cost, everything that it leads to included:
//! CNAMEs, the chain of trust, the name servers on the way. And who watches.

use crate::explain::{Event, Record};
use crate::validate::budget::Budget;

/// One question on its way.
#[derive(Debug)]
pub(crate) struct Errand<'a> {
    /// What is left of the work of validation.
    pub(crate) budget: Budget,
    questions: u32,
    record: Option<&'a Record>,
}

/// Nothing is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spent;

impl<'a> Errand<'a> {
    /// One of which nothing is spent, watched or not.
    pub(crate) const fn new(record: Option<&'a Record>) -> Self {
        Self {
            budget: Budget::new(),
            questions: QUESTIONS,
            record,
        }
    }

    /// A server that a stranger named is going to be asked.
    pub(crate) fn question(&mut self) -> Result<(), Spent> {
        self.questions = self.questions.checked_sub(1).ok_or(Spent)?;
        Ok(())
    }

    /// Tells whoever watches, if anybody does.
    pub(crate) fn note(&self, event: impl FnOnce() -> Event) {
        if let Some(record) = self.record {
            record.add(event());
        }
    }
}

/// Questions on the way down from the root. A name whose zones are all unknown
/// takes some 10, a deep one with name servers elsewhere some 30; who makes
/// zones so that more are needed has others asked for him (NXNSAttack,
/// CVE-2020-12662).
const QUESTIONS: u32 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_bounded() {
        let mut errand = Errand::new(None);
        let asked = (0..).take_while(|_| errand.question().is_ok()).count();
        assert_eq!(asked, 128);
    }

    #[test]
    fn who_is_not_watched_says_nothing() {
        Errand::new(None).note(|| panic!("nobody listens"));
    }
}
