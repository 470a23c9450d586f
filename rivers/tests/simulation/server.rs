//! A server of the world, and what is known of it while it is an upstream.

use std::time::{Duration, Instant};

use rand::{Rng, RngExt};
use rivers::decide::{Entered, Finding, Id};

/// What a server does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Accepts within a few milliseconds.
    Accepts,
    /// Refuses at once.
    Refuses,
    /// Never answers.
    BlackHole,
    /// Accepts half of the time.
    Flaps,
    /// Its kernel accepts, and nothing answers.
    Hangs,
    /// Serves, but answers most probes too late.
    IsSlow,
    /// Serves, and says that it wants no new clients.
    Drains,
    /// Serves, and tells nobody whether it wants clients.
    Denies,
    /// Serves, with a certificate of another CA.
    IsAnother,
}

impl Behaviour {
    /// Any, and often the good one.
    pub(crate) fn any(rng: &mut impl Rng) -> Self {
        match rng.random_range(0..15) {
            0 => Self::Refuses,
            1 => Self::BlackHole,
            2 => Self::Flaps,
            3 | 4 => Self::Hangs,
            5 => Self::IsSlow,
            6 => Self::Drains,
            7 => Self::IsAnother,
            8 => Self::Denies,
            _ => Self::Accepts,
        }
    }

    /// Whether a TCP connection to it succeeds at once.
    pub(crate) const fn accepts(self) -> bool {
        !matches!(self, Self::Refuses | Self::BlackHole | Self::Flaps)
    }

    /// Whether bytes come over its connections.
    pub(crate) const fn delivers(self) -> bool {
        !matches!(self, Self::BlackHole | Self::Hangs)
    }

    /// Whether no client is ever served.
    pub(crate) const fn is_dead(self) -> bool {
        matches!(self, Self::Refuses | Self::BlackHole | Self::Hangs)
    }

    /// How a connection to it ends, if it ends: after how long, and whether it was accepted.
    pub(crate) fn attempt(self, rng: &mut impl Rng) -> Option<(Duration, bool)> {
        let after = Duration::from_micros(rng.random_range(50..5_000));
        match self {
            Self::BlackHole => None,
            Self::Refuses => Some((after, false)),
            Self::Flaps => Some((after, rng.random())),
            _ => Some((after, true)),
        }
    }
}

/// It is there whether it is among the upstreams or not.
pub(crate) struct Server {
    pub(crate) behaviour: Behaviour,
    /// Since when it behaves so.
    pub(crate) since: Instant,
    pub(crate) member: Option<Member>,
}

/// A server while it is among the upstreams.
pub(crate) struct Member {
    pub(crate) id: Id,
    pub(crate) joined: Instant,
    /// The last time something on the way (a client's dial, a lost probe) spoke against it.
    pub(crate) spoken_against: Option<Instant>,
    /// When the finding of the probe under way comes; `Some(None)`: it is lost.
    pub(crate) probe: Option<Option<(Instant, Finding)>>,
    /// What the core was last told of its certificate.
    pub(crate) is_verified: bool,
    /// Established connections, with the epoch and time of their dial.
    pub(crate) connections: Vec<(Entered, u32, Instant)>,
    /// When a byte last came over one of them.
    pub(crate) delivered: Option<Instant>,
}

impl Member {
    pub(crate) const fn new(id: Id, joined: Instant) -> Self {
        Self {
            id,
            joined,
            spoken_against: None,
            probe: None,
            is_verified: false,
            connections: Vec::new(),
            delivered: None,
        }
    }
}

impl Server {
    /// Since when it has been an upstream that behaves so.
    pub(crate) fn settled_since(&self) -> Option<Instant> {
        self.member
            .as_ref()
            .map(|member| member.joined.max(self.since))
    }

    pub(crate) fn is_spoken_against_since(&self, since: Instant) -> bool {
        let against = self
            .member
            .as_ref()
            .and_then(|member| member.spoken_against);
        against.is_some_and(|at| at > since)
    }
}
