//! Something that is shown to a server with each question, and which it may not take: EDNS, a
//! cookie.
//!
//! That it does not is believed for some minutes only, and only on proof: what makes us ask in a
//! weaker way must not be had by forging a packet.

use std::time::Duration;

use tokio::time::Instant;

/// What is known of how one server takes it.
#[derive(Debug, Default)]
pub(super) struct Offer {
    refused: Option<Instant>,
    /// It has answered a question with it.
    works: bool,
    /// Questions in a row that it answered without after silence with it.
    answers_without: u32,
}

impl Offer {
    /// Whether to show it. `again`: it was asked already, and says nothing; a server, or a
    /// firewall before it, that drops what it does not know is met this way.
    pub(super) fn is_made(&self, again: bool) -> bool {
        !holds(self.refused) && (self.works || !again)
    }

    /// It was taken.
    pub(super) const fn taken(&mut self) {
        self.works = true;
        self.answers_without = 0;
    }

    /// The server answered without it what it did not answer with it.
    pub(super) fn answered_without(&mut self) {
        self.answers_without += 1;
        if self.answers_without >= PROOFS {
            self.refused();
        }
    }

    /// The server did not understand a question with it, and then the same without.
    pub(super) fn refused(&mut self) {
        *self = Self {
            refused: Some(Instant::now()),
            ..Self::default()
        };
    }
}

/// Whether what was seen `since` then is still believed.
pub(super) fn holds(since: Option<Instant>) -> bool {
    since.is_some_and(|since| since.elapsed() < LIFETIME)
}

/// A server that is replaced by a better one is treated as such after that.
pub(super) const LIFETIME: Duration = Duration::from_secs(600);
/// A packet may be lost, but not only those with what is offered.
pub(super) const PROOFS: u32 = 3;
