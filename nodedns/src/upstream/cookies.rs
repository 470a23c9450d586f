//! By what a server knows us, and we its replies (RFC 7873): a cookie of ours, drawn for this
//! server and the address of ours that it sees, and the last one that it gave.
//!
//! Over UDP: on a connection nobody else can answer. Only there it may turn out that a server
//! gives none any more, for what has no cookie may be forged (§5.3).

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::upstream::offer::{Offer, PROOFS, holds};
use crate::wire::cookie::Shown;

#[derive(Debug, Default)]
pub(super) struct Cookies(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The address of ours that the server saw last, and what it was shown from there.
    from: Option<(IpAddr, Shown)>,
    /// It is taken when it has given one.
    offer: Offer,
    /// Replies without one that were the server's own, since that was borne with last.
    lacking: u32,
    /// Since when that is borne with.
    lenient: Option<Instant>,
}

impl Cookies {
    /// Whether to show any. `again`: it was asked already, and says nothing.
    pub(super) fn are_shown(&self, again: bool) -> bool {
        self.lock().offer.is_made(again)
    }

    /// What to show from this address of ours: another one has another cookie, so that nobody
    /// can tell by it that both are ours (RFC 7873 §4.1).
    pub(super) fn to_show(&self, own: IpAddr) -> Shown {
        let mut known = self.lock();
        match known.from {
            Some((address, shown)) if address == own => shown,
            _ => {
                let shown = Shown::new(rand::random());
                known.from = Some((own, shown));
                shown
            }
        }
    }

    /// It gave this one in a reply to us.
    pub(super) fn given(&self, next: Shown) {
        let mut known = self.lock();
        known.offer.taken();
        if let Some((_, shown)) = &mut known.from
            && shown.client() == next.client()
        {
            *shown = next;
        }
    }

    /// Whether a reply to a question with this one has to have one: it was given by the server.
    pub(super) fn are_due(&self, shown: &Shown) -> bool {
        shown.is_given() && !holds(self.lock().lenient)
    }

    /// A reply without one was the server's own. There may be others behind the same address
    /// that give some: after a few it is borne with for a while.
    pub(super) fn lacked(&self) {
        let mut known = self.lock();
        known.lacking += 1;
        if known.lacking >= PROOFS {
            known.lacking = 0;
            known.lenient = Some(Instant::now());
            if let Some((_, shown)) = &mut known.from {
                *shown = shown.of_ours_alone();
            }
        }
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
    use crate::upstream::offer::LIFETIME;
    use std::net::Ipv4Addr;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

    fn given(shown: &Shown, byte: u8) -> Shown {
        shown.next(&[shown.client(), &[byte; 8]].concat()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn none_is_shown_for_a_while_to_a_server_that_minds() {
        let cookies = Cookies::default();
        assert!(cookies.are_shown(false));
        cookies.refused();
        assert!(!cookies.are_shown(false));
        tokio::time::advance(LIFETIME).await;
        assert!(cookies.are_shown(false));
    }

    #[test]
    fn silence_alone_takes_them_only_from_who_has_never_given_any() {
        let cookies = Cookies::default();
        assert!(!cookies.are_shown(true), "nothing is known: try without");
        let shown = cookies.to_show(HERE);
        cookies.given(given(&shown, 1));
        assert!(cookies.are_shown(true));
        assert_eq!(cookies.to_show(HERE), given(&shown, 1));
    }

    #[test]
    fn they_are_given_up_when_only_questions_without_are_answered() {
        let cookies = Cookies::default();
        for _ in 0..PROOFS {
            assert!(cookies.are_shown(false));
            cookies.answered_without();
        }
        assert!(!cookies.are_shown(false));
    }

    #[test]
    fn another_address_of_ours_has_another_one() {
        let cookies = Cookies::default();
        let here = given(&cookies.to_show(HERE), 1);
        cookies.given(here);
        let there = cookies.to_show(THERE);
        assert_ne!(there.client(), here.client());
        assert!(
            !there.is_given(),
            "what was given to the other is not shown"
        );
        // What comes late, to the address before.
        cookies.given(here);
        assert_eq!(cookies.to_show(THERE), there);
        assert_ne!(cookies.to_show(HERE).client(), here.client());
    }

    #[tokio::test(start_paused = true)]
    async fn who_gave_one_owes_one_until_he_has_proved_otherwise() {
        let cookies = Cookies::default();
        let first = cookies.to_show(HERE);
        assert!(!cookies.are_due(&first));
        let shown = given(&first, 1);
        for _ in 0..PROOFS {
            cookies.given(shown);
            assert!(cookies.are_due(&shown));
            cookies.lacked();
        }
        assert!(!cookies.are_due(&shown));
        assert_eq!(cookies.to_show(HERE), first, "it may begin anew");
        tokio::time::advance(LIFETIME).await;
        assert!(!cookies.are_due(&first), "unless it gives none at all");
        cookies.given(shown);
        assert!(cookies.are_due(&cookies.to_show(HERE)));
    }
}
