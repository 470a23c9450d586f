//! Whether a connection may be closed in the hope that nobody misses it.

use std::time::Duration;

use super::{Connection, Here, Leg, Served, Stage};
use crate::decide::{Id, ListenerId};

impl Here {
    /// Since the worker began; in a `u32`, of which each connection keeps one.
    pub(super) fn seconds(&self) -> u32 {
        let seconds = self.now.saturating_duration_since(self.start).as_secs();
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }
}

impl Connection {
    /// Whether it has this upstream, and nothing is on its way in either direction. A client that waits for
    /// an answer looks the same after [`QUIET`].
    pub(crate) fn is_quiet(&self, listener: ListenerId, upstream: Id, here: &Here) -> bool {
        let Stage::Served(served) = &self.stage else {
            return false;
        };
        self.serving.id == listener
            && served.choice.id == upstream
            && served.is_quiet(&self.client, here)
    }
}

impl Served {
    fn is_quiet(&self, client: &Leg, here: &Here) -> bool {
        let legs = [client, &self.upstream];
        let directions = [&self.up, &self.down];
        let silence = here.seconds().saturating_sub(self.last_byte);
        // Of whole seconds the first may have been a short one.
        u64::from(silence) > QUIET.as_secs()
            && self.opening.is_none()
            && self.torn.is_none()
            && directions.iter().all(|it| !it.is_over && !it.is_blocked())
            && legs.iter().all(|leg| !leg.ended && !leg.failed)
            && !legs.iter().any(|leg| leg.has_unread())
    }
}

/// The silence that is taken for a quiet moment.
pub(super) const QUIET: Duration = Duration::from_secs(2);
