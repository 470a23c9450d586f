//! Whose established connections are closed, so that clients reconnect elsewhere at once. Pure.
//!
//! All of this must hold:
//! - the upstream is down because nothing answers there;
//! - another one is up: closing the connections of a whole fleet kills a control plane that struggles, and
//!   brings nobody anywhere;
//! - it has been silent for [`SILENCE`], its probes and its relayed connections alike: overload, which
//!   makes probes late, must not look like death.

use std::time::{Duration, Instant};

/// What is known of an upstream here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// It is down because nothing answers.
    pub(super) is_hung: bool,
    /// It has connections that could be closed.
    pub(super) has_connections: bool,
    /// Another upstream of its listener is up, and may be dialled.
    pub(super) is_replaceable: bool,
    /// The last sign of life: an answer to a probe, a byte on a connection; or the last time that its
    /// connections were closed.
    pub(super) last: Instant,
}

impl Facts {
    /// When the connections are to be closed as things are; `None`: not at all.
    pub(super) fn due(self) -> Option<Instant> {
        let is_dead = self.is_hung && self.has_connections && self.is_replaceable;
        is_dead.then(|| self.last + SILENCE)
    }
}

/// A hung server is down within 3 s. This is longer, so that one that stops for a few seconds and comes back
/// keeps its connections.
pub const SILENCE: Duration = Duration::from_millis(3_500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_hung_and_silent_is_closed_and_only_for_somewhere_to_go() {
        let now = Instant::now();
        let dead = Facts {
            is_hung: true,
            has_connections: true,
            is_replaceable: true,
            last: now,
        };
        assert_eq!(dead.due(), Some(now + SILENCE));
        for facts in [
            Facts {
                is_hung: false,
                ..dead
            },
            Facts {
                has_connections: false,
                ..dead
            },
            Facts {
                is_replaceable: false,
                ..dead
            },
        ] {
            assert_eq!(facts.due(), None, "{facts:?}");
        }
    }
}
