//! What a server cannot do, remembered, so that it costs each question one
//! exchange and not three. It is believed as long as that it does not take an
//! [`offer`](super::offer).

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::upstream::offer::{Offer, holds};

/// The quirks of one server.
#[derive(Debug, Default)]
pub(super) struct Quirks(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    edns: Offer,
    loses_case: Option<Instant>,
}

impl Quirks {
    /// Whether to ask with EDNS. `again`: it was asked already, and says nothing.
    pub(super) fn edns(&self, again: bool) -> bool {
        self.lock().edns.is_made(again)
    }

    /// Whether to mix the case of names.
    pub(super) fn keeps_case(&self) -> bool {
        !holds(self.lock().loses_case)
    }

    /// It answered a question with EDNS.
    pub(super) fn answered_edns(&self) {
        self.lock().edns.taken();
    }

    /// It answered without EDNS what it did not answer with it.
    pub(super) fn answered_plain(&self) {
        self.lock().edns.answered_without();
    }

    /// It said that it does not know EDNS, and then answered without.
    pub(super) fn refused_edns(&self) {
        self.lock().edns.refused();
    }

    /// It changes the case of names.
    pub(super) fn lost_case(&self) {
        self.lock().loses_case = Some(Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::offer::{LIFETIME, PROOFS};

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
