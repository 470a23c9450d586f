//! By what a server knows us, and we its replies (RFC 7873): a cookie of ours, drawn for this
//! server alone, and the last one that it gave, 48 bytes a server.
//!
//! Over UDP only: on a connection nobody else can answer.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::upstream::offer::Offer;
use crate::wire::cookie::Shown;

#[derive(Debug)]
pub(super) struct Cookies(Mutex<Known>);

#[derive(Debug)]
struct Known {
    shown: Shown,
    /// It is taken when it has given one.
    offer: Offer,
}

impl Default for Cookies {
    fn default() -> Self {
        Self(Mutex::new(Known {
            shown: Shown::new(rand::random()),
            offer: Offer::default(),
        }))
    }
}

impl Cookies {
    /// What to show, if anything. `again`: it was asked already, and says nothing.
    pub(super) fn to_show(&self, again: bool) -> Option<Shown> {
        let known = self.lock();
        known.offer.is_made(again).then_some(known.shown)
    }

    /// It gave this one in a reply to us.
    pub(super) fn given(&self, next: Shown) {
        let mut known = self.lock();
        known.shown = next;
        known.offer.taken();
    }

    /// It did not understand a question with a cookie, and then the same without.
    pub(super) fn refused(&self) {
        self.lock().offer.refused();
    }

    /// It answered without one what it did not answer with it.
    pub(super) fn answered_without(&self) {
        self.lock().offer.answered_without();
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
    async fn none_is_shown_for_a_while_to_a_server_that_minds() {
        let cookies = Cookies::default();
        assert!(cookies.to_show(false).is_some());
        cookies.refused();
        assert_eq!(cookies.to_show(false), None);
        tokio::time::advance(LIFETIME).await;
        assert!(cookies.to_show(false).is_some());
    }

    #[test]
    fn silence_alone_takes_them_only_from_who_has_never_given_any() {
        let cookies = Cookies::default();
        assert_eq!(cookies.to_show(true), None, "nothing is known: try without");
        let shown = cookies.to_show(false).unwrap();
        let next = shown.next(&[shown.as_bytes(), &[1; 8]].concat()).unwrap();
        cookies.given(next);
        assert_eq!(cookies.to_show(true), Some(next));
    }

    #[test]
    fn they_are_given_up_when_only_questions_without_are_answered() {
        let cookies = Cookies::default();
        for _ in 0..PROOFS {
            assert!(cookies.to_show(false).is_some());
            cookies.answered_without();
        }
        assert_eq!(cookies.to_show(false), None);
    }
}
