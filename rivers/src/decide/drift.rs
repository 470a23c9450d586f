//! Who of a listener's upstreams has been away and is back, and what follows for its connections. Pure.
//!
//! Away is who was down, drained, or lost its certificate: its clients went elsewhere. One that was merely
//! suspect was not, and who rises for the first time without having been seen down was not either: a
//! process that has just been started has found its upstreams, and not got them back.

use std::{sync::Arc, time::Instant};

use rand::Rng;

use super::{
    rebalance::{Move, Rebalance, Share},
    set::{Id, Member, Presence, Set},
    upstream::State,
};
use crate::config::{Health, Pace, address::Address};

/// What happened.
#[derive(Debug)]
pub(super) enum Drift {
    /// So many connections are owed to one that came back.
    Begins {
        address: Arc<Address>,
        connections: usize,
    },
    /// It has its share.
    Ends { address: Arc<Address> },
    /// It is time for one connection.
    Due(Move),
}

impl Set {
    /// Connections drift at this pace from now on, or not at all.
    pub(super) fn rebalance(&mut self, pace: Option<Pace>, now: Instant) {
        match (&mut self.rebalance, pace) {
            (Some(rebalance), Some(pace)) => rebalance.keep_to(pace),
            (rebalance, pace) => *rebalance = pace.map(|pace| Rebalance::new(pace, now)),
        }
    }

    /// A connection has been closed for one that came back.
    pub(super) fn moved(&mut self, to: Id) {
        if let Some(rebalance) = &mut self.rebalance {
            rebalance.moved(to);
        }
    }

    /// Notes who went away and who came back, and lets time pass.
    pub(super) fn drift(&mut self, now: Instant, rng: &mut impl Rng) -> Vec<Drift> {
        let mut drifts = Vec::new();
        let up = self.takers();
        for member in &mut self.members {
            let before = member.presence;
            member.presence = member.presence_now(&self.health);
            let Some(rebalance) = &mut self.rebalance else {
                continue;
            };
            match (before, member.presence) {
                (Presence::There, Presence::Away) => {
                    rebalance.went_away(member.id);
                    member.traffic.break_promises();
                }
                (Presence::Away, Presence::There) => {
                    let connections = rebalance.came_back(member.id, &up, now, rng);
                    if connections > 0 {
                        let address = Arc::clone(&member.address);
                        drifts.push(Drift::Begins {
                            address,
                            connections,
                        });
                    }
                }
                _ => {}
            }
        }
        if let Some(rebalance) = &mut self.rebalance {
            for id in rebalance.settle(&up) {
                let settled = self.members.iter().find(|member| member.id == id);
                drifts.extend(settled.map(|member| Drift::Ends {
                    address: Arc::clone(&member.address),
                }));
            }
            if rebalance.wake().is_some_and(|at| at <= now) {
                drifts.extend(rebalance.tick(now, &up).map(Drift::Due));
            }
        }
        drifts
    }

    /// When [`drift`](Self::drift) has something to do.
    pub(super) fn drift_at(&self) -> Option<Instant> {
        self.rebalance.as_ref().and_then(Rebalance::wake)
    }

    fn takers(&self) -> Vec<Share> {
        let takers = self.members.iter().filter(|it| it.takes(&self.health));
        takers
            .map(|member| Share {
                id: member.id,
                connections: member.traffic.connections(),
            })
            .collect()
    }
}

impl Member {
    fn takes(&self, health: &Health) -> bool {
        self.upstream.state() == State::Up && self.is_trusted(health)
    }

    fn presence_now(&self, health: &Health) -> Presence {
        match self.upstream.state() {
            _ if self.takes(health) => Presence::There,
            State::Down | State::Draining => Presence::Away,
            _ if self.presence == Presence::There && !self.is_trusted(health) => Presence::Away,
            State::Up | State::Unknown | State::Suspect => self.presence,
        }
    }
}
