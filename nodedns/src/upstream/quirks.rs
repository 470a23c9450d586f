//! What a server cannot do, remembered, so that it costs each question one
//! exchange and not three.
//!
//! A quirk is believed for some minutes only, and only on proof: what makes us
//! ask in a weaker way must not be had by forging a packet.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The quirks of one server.
#[derive(Debug, Default)]
pub(super) struct Quirks(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    no_edns: Option<Instant>,
    loses_case: Option<Instant>,
    /// It has answered a question with EDNS.
    edns_works: bool,
    /// Questions in a row that it answered without EDNS after silence with it.
    plain_answers: u32,
}

impl Quirks {
    /// Whether to ask with EDNS. `again`: it was asked already, and says nothing;
    /// a server, or a firewall before it, that drops what it does not know is met
    /// this way.
    pub(super) fn edns(&self, again: bool) -> bool {
        let known = self.lock();
        !holds(known.no_edns) && (known.edns_works || !again)
    }

    /// Whether to mix the case of names.
    pub(super) fn keeps_case(&self) -> bool {
        !holds(self.lock().loses_case)
    }

    /// It answered a question with EDNS.
    pub(super) fn answered_edns(&self) {
        let mut known = self.lock();
        known.edns_works = true;
        known.plain_answers = 0;
    }

    /// It answered without EDNS what it did not answer with it.
    pub(super) fn answered_plain(&self) {
        let mut known = self.lock();
        known.plain_answers += 1;
        if known.plain_answers >= PROOFS {
            known.forget_edns();
        }
    }

    /// It said that it does not know EDNS, and then answered without.
    pub(super) fn refused_edns(&self) {
        self.lock().forget_edns();
    }

    /// It changes the case of names.
    pub(super) fn lost_case(&self) {
        self.lock().loses_case = Some(Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn forget_edns(&mut self) {
        self.no_edns = Some(Instant::now());
        self.edns_works = false;
        self.plain_answers = 0;
    }
}

fn holds(since: Option<Instant>) -> bool {
    since.is_some_and(|since| since.elapsed() < LIFETIME)
}

/// A server that is replaced by a better one is treated as such after that.
const LIFETIME: Duration = Duration::from_secs(600);
/// A packet may be lost, but not only those with EDNS.
const PROOFS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn edns_is_given_up_when_it_is_refused_and_tried_again_later() {
        let quirks = Quirks::default();
        assert!(quirks.edns(false));
        quirks.refused_edns();
        assert!(!quirks.edns(false));
        tokio::time::advance(LIFETIME).await;
        assert!(quirks.edns(false));
    }

    #[test]
    fn silence_alone_never_takes_edns_from_a_server_that_answered_with_it() {
        let quirks = Quirks::default();
        assert!(!quirks.edns(true), "nothing is known: try without");
        quirks.answered_edns();
        assert!(quirks.edns(true));
    }

    #[test]
    fn edns_is_given_up_when_only_questions_without_are_answered() {
        let quirks = Quirks::default();
        for _ in 1..PROOFS {
            quirks.answered_plain();
            assert!(quirks.edns(false));
        }
        quirks.answered_plain();
        assert!(!quirks.edns(false));
    }

    #[tokio::test(start_paused = true)]
    async fn case_is_mixed_again_after_a_while() {
        let quirks = Quirks::default();
        assert!(quirks.keeps_case());
        quirks.lost_case();
        assert!(!quirks.keeps_case());
        tokio::time::advance(LIFETIME).await;
        assert!(quirks.keeps_case());
    }
}
