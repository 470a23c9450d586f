//! The core: who is among the upstreams, what is believed of each, whom to dial, and when. Pure: no socket,
//! no task, no clock and no randomness but what it is given, so that `tests/simulation/` drives it
//! through years of faults in seconds.
//!
//! Facts come in as [`Event`]s, and as the lists that [`Core::listen`] and its neighbours take, with the
//! time at which they are handled, and [`Action`]s come out. The [director](crate) is the one that calls
//! it; connections read the [`Snapshot`]s that it publishes and ask [`choose`] and [`dial_plan`] themselves.

pub mod choose;
pub mod dial_plan;
mod drift;
pub mod rebalance;
mod resolution;
mod set;
mod sever;
mod traffic;
mod upstream;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Instant};

use rand::{SeedableRng, rngs::SmallRng};

use self::drift::Drift;
use self::set::{Ids, Member, Moves, Set};
pub use self::{
    set::{Choice, Id, ListenerId, Source},
    sever::SILENCE,
    traffic::{Entered, Traffic},
    upstream::{Ask, Finding, State, UNSAID},
};
use crate::config::{Health, Pace, address::Address};

/// Everything that is believed.
#[derive(Debug)]
pub struct Core {
    sets: BTreeMap<ListenerId, Set>,
    ids: Ids,
    rng: SmallRng,
}

/// What happened to one upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A probe that [`Action::Probe`] asked for has ended, or the connection that probes keep open has
    /// something to say.
    Found {
        /// About whom.
        upstream: Id,
        /// What.
        finding: Finding,
        /// Why it is not well, in words for people.
        reason: Option<Arc<str>>,
    },
    /// A certificate has been verified with the listener's CA, or could not be.
    Verified {
        /// Whose certificate.
        upstream: Id,
        /// Where it was shown.
        socket: SocketAddr,
        /// Whether it is good.
        is_verified: bool,
    },
    /// A client's dial failed, and not for want of something on this host.
    DialFailed {
        /// Whom it tried to reach.
        upstream: Id,
    },
    /// A connection has been closed as [`Action::Move`] asked for.
    Rebalanced {
        /// Where its client is to be sent.
        upstream: Id,
    },
    /// A lookup that [`Action::Resolve`] asked for has ended.
    Resolved {
        /// Whose name it was.
        upstream: Id,
        /// What it found; `None` when it failed.
        sockets: Option<Arc<[SocketAddr]>>,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Probe this upstream once, within its listener's `health.timeout`, and report what it found.
    Probe {
        /// Whose upstream it is.
        listener: ListenerId,
        /// To be named in the event.
        upstream: Id,
        /// What to ask.
        ask: Ask,
        /// Whom to ask.
        address: Arc<Address>,
        /// Where it is; empty if its name was not found, which is a failure.
        sockets: Arc<[SocketAddr]>,
    },
    /// Look up the name of this upstream once, and report the result.
    Resolve {
        /// Whose upstream it is.
        listener: ListenerId,
        /// To be named in the result.
        upstream: Id,
        /// What to look up.
        address: Arc<Address>,
    },
    /// Another state is believed now: the snapshot is out of date.
    Changed {
        /// Whose upstream it is.
        listener: ListenerId,
        /// Whose state.
        address: Arc<Address>,
        /// The state until now.
        from: State,
        /// The state from now on.
        to: State,
        /// What was last said against it; `None` when it is well.
        reason: Option<Arc<str>>,
    },
    /// It may be dialled from now on, or may not: the snapshot is out of date.
    Trust {
        /// Whose upstream it is.
        listener: ListenerId,
        /// Who.
        address: Arc<Address>,
        /// Whether it may be dialled.
        is_trusted: bool,
    },
    /// Its established connections are to be closed, and its epoch has been raised: the snapshot is out of
    /// date.
    Severed {
        /// Whose upstream it is.
        listener: ListenerId,
        /// Whose connections.
        address: Arc<Address>,
    },
    /// It is dialled from now on: the snapshot is out of date.
    Joined {
        /// Whose upstream it is.
        listener: ListenerId,
        /// Who.
        address: Arc<Address>,
    },
    /// It is not dialled any more, and connections that it has stay: the snapshot is out of date.
    Left {
        /// Whose upstream it was.
        listener: ListenerId,
        /// Who.
        address: Arc<Address>,
    },
    /// It has come back, and connections drift to it from now on.
    Drifts {
        /// Whose upstream it is.
        listener: ListenerId,
        /// Who.
        address: Arc<Address>,
        /// How many are to be moved.
        connections: usize,
    },
    /// It has its share: nothing drifts to it any more.
    Drifted {
        /// Whose upstream it is.
        listener: ListenerId,
        /// Who.
        address: Arc<Address>,
    },
    /// Close one quiet connection of `from`, if there is one, and send the client that comes next to `to`.
    Move {
        /// Whose upstreams they are.
        listener: ListenerId,
        /// Where a connection is to be closed.
        from: Id,
        /// Where the next client is to be sent.
        to: Id,
    },
    /// It is dialled at other addresses from now on: the snapshot is out of date.
    Moved {
        /// Whose upstream it is.
        listener: ListenerId,
        /// Who.
        address: Arc<Address>,
        /// Where it is now.
        sockets: Arc<[SocketAddr]>,
    },
}

/// What connections choose from. Immutable; the director replaces it whole.
#[derive(Debug, Default)]
pub struct Snapshot {
    listeners: BTreeMap<ListenerId, Vec<Arc<Choice>>>,
}

impl Snapshot {
    /// The upstreams of a listener in the order of the configuration; none if there is no such listener.
    #[must_use]
    pub fn choices(&self, listener: ListenerId) -> &[Arc<Choice>] {
        self.listeners.get(&listener).map_or(&[], Vec::as_slice)
    }

    /// Whether an upstream of this listener has been given up since `before`: connections that it has are
    /// to be closed.
    #[must_use]
    pub fn gave_up_some_since(&self, before: &Self, listener: ListenerId) -> bool {
        let before = before.choices(listener);
        self.choices(listener).iter().any(|now| {
            let same = before.iter().find(|then| then.id == now.id);
            same.is_none_or(|then| now.epoch > then.epoch)
        })
    }
}

impl Core {
    /// No listener yet. Equal seeds and events give equal actions.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            sets: BTreeMap::new(),
            ids: Ids::default(),
            rng: SmallRng::seed_from_u64(seed),
        }
    }

    /// A listener is there from now on, or is judged so from now on and has these for seeds. Upstreams that
    /// it had before and keeps stay what they are.
    pub fn listen(
        &mut self,
        listener: ListenerId,
        seeds: &[Address],
        health: Health,
        now: Instant,
    ) -> Vec<Action> {
        let set = self
            .sets
            .entry(listener)
            .or_insert_with(|| Set::new(health.clone()));
        let trusts_as_before = set.health.trusts_as(&health);
        set.health = health;
        for member in &mut set.members {
            member.upstream.retime(now, &set.health);
            if !trusts_as_before {
                member.verified.clear();
                member.upstream.probe_soon(now, &set.health, &mut self.rng);
            }
        }
        self.replace(listener, Source::Seeds, seeds, now)
    }

    /// A listener's connections drift at this pace to upstreams that come back from now on, or not at all.
    pub fn rebalance(&mut self, listener: ListenerId, pace: Option<Pace>, now: Instant) {
        if let Some(set) = self.sets.get_mut(&listener) {
            set.rebalance(pace, now);
        }
    }

    /// A listener is gone.
    pub fn stop(&mut self, listener: ListenerId) -> Vec<Action> {
        let set = self.sets.remove(&listener);
        set.into_iter()
            .flat_map(|set| set.members)
            .map(|member| Action::Left {
                listener,
                address: member.address,
            })
            .collect()
    }

    /// A source has another list for a listener. What it said before is forgotten, but an empty list of
    /// discovered upstreams changes nothing. A listener that is gone is ignored.
    pub fn replace(
        &mut self,
        listener: ListenerId,
        source: Source,
        addresses: &[Address],
        now: Instant,
    ) -> Vec<Action> {
        match self.sets.get_mut(&listener) {
            Some(set) => moved(listener, set.replace(source, addresses, &mut self.ids, now)),
            None => Vec::new(),
        }
    }

    /// A listener has no discovery any more: its seeds are left.
    pub fn forget_discovered(&mut self, listener: ListenerId, now: Instant) -> Vec<Action> {
        match self.sets.get_mut(&listener) {
            Some(set) => moved(listener, set.forget_discovered(&mut self.ids, now)),
            None => Vec::new(),
        }
    }

    /// Takes one fact. An id of an upstream that is gone is ignored.
    pub fn handle(&mut self, event: &Event, now: Instant) -> Vec<Action> {
        let (Event::Found { upstream, .. }
        | Event::Verified { upstream, .. }
        | Event::DialFailed { upstream }
        | Event::Rebalanced { upstream }
        | Event::Resolved { upstream, .. }) = event;
        if matches!(event, Event::Rebalanced { .. }) {
            self.sets.values_mut().for_each(|set| set.moved(*upstream));
        }
        let is_told = self.sets.values().any(|set| set.says_of(*upstream));
        self.update(now, |member, health, rng| {
            if member.id == *upstream {
                match event {
                    Event::Found {
                        finding, reason, ..
                    } => {
                        member.upstream.found(*finding, now, health, rng);
                        // Nobody tells it here: nobody may. Those that did may have left.
                        if !is_told {
                            member.upstream.excuse();
                        }
                        match finding {
                            Finding::Ready => member.reason = None,
                            Finding::Unsaid if member.upstream.state() == State::Up => {
                                member.reason = None;
                            }
                            // It takes no word about readiness back.
                            Finding::Alive if member.upstream.state() != State::Up => {}
                            Finding::Alive => member.reason = None,
                            _ => member.reason.clone_from(reason),
                        }
                        if matches!(finding, Finding::Silent | Finding::Failed) {
                            member.resolution.doubt(now);
                        }
                    }
                    Event::Verified {
                        socket,
                        is_verified,
                        ..
                    } => {
                        member.verified(*socket, *is_verified);
                        member.upstream.probe_soon(now, health, rng);
                    }
                    Event::DialFailed { .. } => {
                        member.upstream.dial_failed(now, health);
                        member.resolution.doubt(now);
                    }
                    // That says nothing of the upstream itself.
                    Event::Rebalanced { .. } => {}
                    Event::Resolved { sockets, .. } => {
                        member.resolution.ended(now, sockets.clone());
                        member.forget_old_sockets();
                    }
                }
            }
            Due::default()
        })
    }

    /// Lets time pass: gives out the probes and lookups that are due.
    pub fn tick(&mut self, now: Instant) -> Vec<Action> {
        self.update(now, |member, health, rng| Due {
            lookup: member.resolution.tick(now),
            probe: member
                .resolution
                .is_settled()
                .then(|| member.upstream.tick(now, health, rng))
                .flatten(),
        })
    }

    /// When [`tick`](Self::tick) has something to do; `None` without upstreams.
    #[must_use]
    pub fn wake(&self) -> Option<Instant> {
        let members = self.sets.values().flat_map(|set| &set.members);
        let severings = self.sets.values().filter_map(Set::sever_at);
        let drifts = self.sets.values().filter_map(Set::drift_at);
        let wakes = members.flat_map(Member::wakes);
        wakes.chain(severings).chain(drifts).min()
    }

    /// What connections choose from now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let sets = self.sets.iter();
        Snapshot {
            listeners: sets.map(|(&id, set)| (id, set.view())).collect(),
        }
    }

    /// Does `step` to every upstream. The actions are the changes that it made, and what it asks for.
    fn update(
        &mut self,
        now: Instant,
        mut step: impl FnMut(&mut Member, &Health, &mut SmallRng) -> Due,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        for (&listener, set) in &mut self.sets {
            for member in &mut set.members {
                let from = member.upstream.state();
                let was_trusted = member.is_trusted(&set.health);
                let place = Arc::clone(member.resolution.sockets());
                let due = step(member, &set.health, &mut self.rng);
                let address = &member.address;
                let sockets = member.resolution.sockets();
                if !Arc::ptr_eq(&place, sockets) {
                    actions.push(Action::Moved {
                        listener,
                        address: Arc::clone(address),
                        sockets: Arc::clone(sockets),
                    });
                }
                let to = member.upstream.state();
                if from != to {
                    actions.push(Action::Changed {
                        listener,
                        address: Arc::clone(address),
                        from,
                        to,
                        reason: member.reason.clone(),
                    });
                }
                let is_trusted = member.is_trusted(&set.health);
                if was_trusted != is_trusted {
                    actions.push(Action::Trust {
                        listener,
                        address: Arc::clone(address),
                        is_trusted,
                    });
                }
                if due.lookup {
                    actions.push(Action::Resolve {
                        listener,
                        upstream: member.id,
                        address: Arc::clone(address),
                    });
                }
                if let Some(ask) = due.probe {
                    actions.push(Action::Probe {
                        listener,
                        upstream: member.id,
                        ask,
                        address: Arc::clone(address),
                        sockets: Arc::clone(sockets),
                    });
                }
            }
            let severed = set.sever(now).into_iter();
            actions.extend(severed.map(|address| Action::Severed { listener, address }));
            let drifts = set.drift(now, &mut self.rng).into_iter();
            actions.extend(drifts.map(|drift| drift.action(listener)));
        }
        actions
    }
}

/// What one upstream is due for.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    lookup: bool,
    probe: Option<Ask>,
}

impl Member {
    fn wakes(&self) -> impl Iterator<Item = Instant> + use<> {
        let probe = self.resolution.is_settled().then(|| self.upstream.wake());
        probe.into_iter().chain(self.resolution.wake())
    }
}

impl Drift {
    fn action(self, listener: ListenerId) -> Action {
        match self {
            Self::Begins {
                address,
                connections,
            } => Action::Drifts {
                listener,
                address,
                connections,
            },
            Self::Ends { address } => Action::Drifted { listener, address },
            Self::Due(rebalance::Move { from, to }) => Action::Move { listener, from, to },
        }
    }
}

fn moved(listener: ListenerId, moves: Moves) -> Vec<Action> {
    let left = moves.left.into_iter();
    let left = left.map(|address| Action::Left { listener, address });
    let joined = moves.joined.into_iter();
    left.chain(joined.map(|address| Action::Joined { listener, address }))
        .collect()
}

#[cfg(test)]
mod tests;
