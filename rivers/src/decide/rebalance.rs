//! How connections drift to an upstream that has come back. Pure.
//!
//! While it was away its clients went to the others, and long connections (watches) stay where they are.
//! Each rivers knows its own node only, and most nodes have few connections; so it does not compare
//! loads, which says nothing of a cluster. It works out how many of its connections the upstream
//! would have by a fair share, at random where that is a fraction, and owes it as many. The debt is paid
//! one connection at a time: one is closed elsewhere and the client that comes next is sent to the one that
//! is owed. Over a thousand nodes the fractions add up to an even spread.
//!
//! The [pace](Pace) is in proportion to the connections whatever the debt, so that the handshakes of a
//! whole cluster do not hit one server at once.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rand::{Rng, RngExt};

use super::Id;
use crate::config::Pace;

/// What one listener owes to upstreams that came back.
#[derive(Clone, Debug)]
pub struct Rebalance {
    pace: Pace,
    owed: BTreeMap<Id, usize>,
    /// A connection is moved whenever this has reached one.
    tokens: f64,
    counted: Instant,
    next: Instant,
}

/// A connection to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Where a quiet one is to be closed.
    pub from: Id,
    /// Where the next client is to be sent.
    pub to: Id,
}

/// An upstream that takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which.
    pub id: Id,
    /// Its connections.
    pub connections: usize,
}

impl Rebalance {
    /// Nothing is owed.
    #[must_use]
    pub const fn new(pace: Pace, now: Instant) -> Self {
        Self {
            pace,
            owed: BTreeMap::new(),
            tokens: 0.0,
            counted: now,
            next: now,
        }
    }

    /// The pace from now on.
    pub const fn keep_to(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// An upstream takes connections again. `up` are all that do now, it among them. The result is how many
    /// it is owed.
    pub fn came_back(&mut self, id: Id, up: &[Share], now: Instant, rng: &mut impl Rng) -> usize {
        let Some(own) = up.iter().find(|upstream| upstream.id == id) else {
            return 0;
        };
        let all = total(up);
        let fair = all / up.len() + usize::from(rng.random_range(0..up.len()) < all % up.len());
        let owed = fair.saturating_sub(own.connections);
        if owed > 0 {
            if self.owed.is_empty() {
                // The nodes of a cluster see it at the same time. They begin at random phases, so that they
                // do not move in step.
                self.tokens = rng.random_range(0.0..1.0);
                self.counted = now;
                self.next = now + pause(self.rate(up));
            }
            self.owed.insert(id, owed);
        }
        owed
    }

    /// It does not take connections any more.
    pub fn went_away(&mut self, id: Id) {
        self.owed.remove(&id);
    }

    /// Lets time pass. A move that could not be carried out, since no connection was quiet, is simply not
    /// [`moved`](Self::moved), and is asked for again. Nobody is sent to an upstream that is owed something
    /// and does not take connections at the moment.
    pub fn tick(&mut self, now: Instant, up: &[Share]) -> Option<Move> {
        let passed = now.saturating_duration_since(self.counted);
        self.counted = now;
        let rate = self.rate(up);
        self.next = now + pause(rate);
        // None are saved up: a burst is what the pace is there to prevent.
        self.tokens = (self.tokens + passed.as_secs_f64() * rate).min(1.0);
        if self.tokens < 1.0 {
            return None;
        }
        let takes = |id: Id| up.iter().any(|upstream| upstream.id == id);
        let owed = self.owed.iter().filter(|&(&id, _)| takes(id));
        let (&to, _) = owed.max_by_key(|&(_, count)| count)?;
        let others = up.iter().filter(|upstream| upstream.id != to);
        let from = others.max_by_key(|upstream| upstream.connections)?;
        (from.connections > 0).then_some(Move { from: from.id, to })
    }

    /// A connection has been closed for this move.
    pub fn moved(&mut self, to: Id) {
        if let Some(count) = self.owed.get_mut(&to) {
            self.tokens -= 1.0;
            *count = count.saturating_sub(1);
        }
    }

    /// Forgets what has been paid, and what need not be: clients came by themselves, and nobody has more. The
    /// result is to whom nothing is owed any more.
    pub fn settle(&mut self, up: &[Share]) -> Vec<Id> {
        let mut settled = Vec::new();
        self.owed.retain(|&id, count| {
            let own = up.iter().find(|upstream| upstream.id == id);
            let most = up.iter().filter(|it| it.id != id);
            let most = most.map(|upstream| upstream.connections).max();
            let is_even = own.is_some_and(|own| most.is_some_and(|most| own.connections >= most));
            let is_settled = *count == 0 || is_even;
            if is_settled {
                settled.push(id);
            }
            !is_settled
        });
        settled
    }

    /// When to [`tick`](Self::tick); `None`: nothing is owed.
    #[must_use]
    pub fn wake(&self) -> Option<Instant> {
        (!self.owed.is_empty()).then_some(self.next)
    }

    /// Connections a second.
    fn rate(&self, up: &[Share]) -> f64 {
        self.pace.a_second() * total(up) as f64
    }
}

/// How long to wait before the next tick.
fn pause(rate: f64) -> Duration {
    let [least, most] = [OFTEN, EVERY].map(|pause| pause.as_secs_f64());
    // Without a connection the rate is 0, and this the longest pause.
    Duration::from_secs_f64((1.0 / rate).clamp(least, most))
}

fn total(up: &[Share]) -> usize {
    up.iter().map(|upstream| upstream.connections).sum()
}

/// How often to ask, when that is often enough for the pace.
pub const EVERY: Duration = Duration::from_secs(1);
/// How often at most: each time the workers look through their connections.
const OFTEN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::SmallRng};

    use super::*;

    fn shares(connections: &[usize]) -> Vec<Share> {
        (0..)
            .zip(connections)
            .map(|(id, &connections)| Share {
                id: Id(id),
                connections,
            })
            .collect()
    }

    /// A listener with these connections, to whose last upstream something is owed.
    fn owing(connections: &[usize], now: Instant) -> (Rebalance, Vec<Share>) {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut rebalance = Rebalance::new(Pace::default(), now);
        let up = shares(connections);
        rebalance.came_back(up[up.len() - 1].id, &up, now, &mut rng);
        (rebalance, up)
    }

    /// Asks every second for ten minutes; how many were moved.
    fn moves(rebalance: &mut Rebalance, mut up: Vec<Share>, start: Instant) -> Vec<usize> {
        for second in 1..=600 {
            if let Some(due) = rebalance.tick(start + EVERY * second, &up) {
                for share in &mut up {
                    share.connections -= usize::from(share.id == due.from);
                    share.connections += usize::from(share.id == due.to);
                }
                rebalance.moved(due.to);
            }
            rebalance.settle(&up);
        }
        up.iter().map(|share| share.connections).collect()
    }

    #[test]
    fn the_one_that_came_back_gets_its_fair_share_from_whoever_has_most() {
        let now = Instant::now();
        let (mut rebalance, up) = owing(&[20, 10, 0], now);
        assert_eq!(moves(&mut rebalance, up, now), [10, 10, 10]);
        assert_eq!(rebalance.wake(), None);
    }

    #[test]
    fn a_single_connection_is_moved_by_a_third_of_the_nodes() {
        let now = Instant::now();
        let up = shares(&[1, 0, 0]);
        let mut rng = SmallRng::seed_from_u64(1);
        let owing = (0..3_000)
            .filter(|_| {
                let mut rebalance = Rebalance::new(Pace::default(), now);
                rebalance.came_back(Id(2), &up, now, &mut rng) == 1
            })
            .count();
        assert!((900..1_100).contains(&owing), "{owing}");
    }

    #[test]
    fn the_pace_is_kept_even_when_a_move_had_to_wait() {
        let now = Instant::now();
        let (mut rebalance, up) = owing(&[500, 500, 0], now);
        // An hour in which no connection was quiet.
        let late = now + Duration::from_secs(3_600);
        assert!(rebalance.tick(late, &up).is_some());
        rebalance.moved(Id(2));
        assert_eq!(rebalance.tick(late + EVERY, &up), None);
        assert!(rebalance.tick(late + 2 * EVERY, &up).is_some());
    }

    #[test]
    fn nothing_is_owed_to_one_that_went_away_again_or_has_its_share() {
        let now = Instant::now();
        let (mut rebalance, up) = owing(&[20, 10, 0], now);
        rebalance.went_away(Id(2));
        assert_eq!(moves(&mut rebalance, up, now), [20, 10, 0]);
        let (mut rebalance, up) = owing(&[3, 3, 3], now);
        assert_eq!(moves(&mut rebalance, up, now), [3, 3, 3]);
    }

    #[test]
    fn a_debt_that_clients_settle_by_themselves_is_forgotten() {
        let now = Instant::now();
        let (mut rebalance, _) = owing(&[20, 10, 0], now);
        assert_eq!(rebalance.settle(&shares(&[20, 10, 15])), []);
        assert_eq!(rebalance.settle(&shares(&[15, 10, 15])), [Id(2)]);
        assert_eq!(rebalance.wake(), None);
    }

    #[test]
    fn one_that_is_in_doubt_keeps_its_claim_and_gets_nobody_meanwhile() {
        let now = Instant::now();
        let (mut rebalance, up) = owing(&[500, 500, 0], now);
        let later = now + 60 * EVERY;
        assert_eq!(rebalance.tick(later, &up[..2]), None);
        assert!(rebalance.tick(later + EVERY, &up).is_some());
    }

    #[test]
    fn nodes_that_were_idle_for_long_do_not_begin_in_step() {
        let start = Instant::now();
        let now = start + Duration::from_secs(3_600);
        let up = shares(&[500, 500, 0]);
        let mut rng = SmallRng::seed_from_u64(1);
        let at_once = (0..1_000).filter(|_| {
            let mut rebalance = Rebalance::new(Pace::default(), start);
            rebalance.came_back(Id(2), &up, now, &mut rng);
            rebalance.tick(now + EVERY / 10, &up).is_some()
        });
        let at_once = at_once.count();
        assert!((30..110).contains(&at_once), "{at_once} of 1,000");
    }
}
