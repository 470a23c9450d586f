//! The core: what is believed of each upstream, whom to dial, and when. Pure: no socket, no task, no
//! clock and no randomness but what it is given, so that `tests/simulation.rs` drives it through years
//! of faults in seconds.
//!
//! Facts come in as [`Event`]s with the time at which they are handled, and [`Action`]s come out. The
//! [director](crate) is the one that calls it; connections read the [`Snapshot`]s that it publishes and
//! ask [`choose`] and [`dial_plan`] themselves.

pub mod choose;
pub mod dial_plan;
mod set;
mod upstream;

use std::{sync::Arc, time::Instant};

use rand::{SeedableRng, rngs::SmallRng};

use self::set::{Member, Set};
pub use self::{
    set::{Choice, Id, Load, Loaded},
    upstream::State,
};
use crate::config::{Health, address::Address};

/// Everything that is believed.
#[derive(Debug)]
pub struct Core {
    sets: Vec<Set>,
    rng: SmallRng,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A probe that [`Action::Probe`] asked for has ended.
    ProbeEnded {
        /// Whom it asked.
        upstream: Id,
        /// Whether the answer was good.
        healthy: bool,
    },
    /// A client's dial failed, and not for want of something on this host.
    DialFailed {
        /// Whom it tried to reach.
        upstream: Id,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Probe this upstream once, within its listener's `health.timeout`, and report the result.
    Probe {
        /// Index of the listener.
        listener: usize,
        /// To be named in the result.
        upstream: Id,
        /// Whom to ask.
        address: Arc<Address>,
    },
    /// Another state is believed now: the snapshot is out of date.
    Changed {
        /// Index of the listener.
        listener: usize,
        /// Whose state.
        address: Arc<Address>,
        /// The state until now.
        from: State,
        /// The state from now on.
        to: State,
    },
}

/// What connections choose from. Immutable; the director replaces it whole.
#[derive(Debug)]
pub struct Snapshot {
    /// By the index of the listener.
    pub listeners: Vec<Vec<Arc<Choice>>>,
}

impl Core {
    /// Nothing is known yet. One element of `listeners` is the upstreams of one listener and how they are
    /// judged. Equal seeds and events give equal actions.
    #[must_use]
    pub fn new(listeners: &[(&[Address], Health)], seed: u64, now: Instant) -> Self {
        let mut next_id = 0;
        let sets = listeners
            .iter()
            .map(|&(addresses, health)| {
                let set = Set::new(health, addresses, next_id, now);
                next_id += u32::try_from(addresses.len()).unwrap_or(u32::MAX);
                set
            })
            .collect();
        Self {
            sets,
            rng: SmallRng::seed_from_u64(seed),
        }
    }

    /// Takes one fact. An id of an upstream that is gone is ignored.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Action> {
        let (Event::ProbeEnded { upstream, .. } | Event::DialFailed { upstream }) = event;
        self.update(|member, health, rng| {
            if member.id == upstream {
                match event {
                    Event::ProbeEnded { healthy, .. } => {
                        member.upstream.probe_ended(now, healthy, health, rng);
                    }
                    Event::DialFailed { .. } => member.upstream.dial_failed(now, health),
                }
            }
            false
        })
    }

    /// Lets time pass: gives out the probes that are due.
    pub fn tick(&mut self, now: Instant) -> Vec<Action> {
        self.update(|member, health, rng| member.upstream.tick(now, health, rng))
    }

    /// When [`tick`](Self::tick) has something to do; `None` without upstreams.
    #[must_use]
    pub fn wake(&self) -> Option<Instant> {
        let members = self.sets.iter().flat_map(|set| &set.members);
        members.map(|member| member.upstream.wake()).min()
    }

    /// What connections choose from now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            listeners: self.sets.iter().map(Set::view).collect(),
        }
    }

    /// Does `step` to every upstream. The actions are the changes of state, and a probe wherever `step`
    /// asks for one.
    fn update(
        &mut self,
        mut step: impl FnMut(&mut Member, &Health, &mut SmallRng) -> bool,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        for (listener, set) in self.sets.iter_mut().enumerate() {
            for member in &mut set.members {
                let from = member.upstream.state();
                let probe = step(member, &set.health, &mut self.rng);
                let to = member.upstream.state();
                if from != to {
                    actions.push(Action::Changed {
                        listener,
                        address: Arc::clone(&member.address),
                        from,
                        to,
                    });
                }
                if probe {
                    actions.push(Action::Probe {
                        listener,
                        upstream: member.id,
                        address: Arc::clone(&member.address),
                    });
                }
            }
        }
        actions
    }
}
