//! When each attempt of a dial starts. Pure: the time is an argument.
//!
//! Attempts are staggered across upstreams: the first starts at once, the next one a [`STAGGER`] later
//! or as soon as an attempt fails, while those under way go on. So a black hole costs a client one
//! stagger and a refusal costs it nothing. The whole is bounded by one deadline.
//!
//! The last resort (upstreams that are believed to be down) is not touched while one of the first
//! choices may still answer: a hung server completes a TCP handshake, and would win the race.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How long an attempt has the field to itself (RFC 8305 §5 uses the same for addresses).
pub const STAGGER: Duration = Duration::from_millis(250);

/// A dial under way: candidates still to be tried, and when.
#[derive(Clone, Debug)]
pub struct DialPlan<C> {
    first: VecDeque<C>,
    last_resort: VecDeque<C>,
    in_flight: usize,
    next_at: Instant,
    deadline: Instant,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<C> {
    /// Begin an attempt, then ask again.
    Start(C),
    /// Wait until an attempt ends or this moment comes, then ask again.
    WaitUntil(Instant),
    /// Every candidate has been tried and has failed.
    Exhausted,
    /// The deadline has passed.
    TimedOut,
}

impl<C> DialPlan<C> {
    /// A dial that begins `now`, tries `order` and ends `timeout` later at the latest.
    #[must_use]
    pub fn new(order: Order<C>, now: Instant, timeout: Duration) -> Self {
        Self {
            first: order.first.into(),
            last_resort: order.last_resort.into(),
            in_flight: 0,
            next_at: now,
            deadline: now + timeout,
        }
    }

    /// What to do at `now`. After [`Step::Start`] the attempt counts as under way.
    pub fn step(&mut self, now: Instant) -> Step<C> {
        if now >= self.deadline {
            return Step::TimedOut;
        }
        if self.in_flight == 0 && self.first.is_empty() {
            std::mem::swap(&mut self.first, &mut self.last_resort);
        }
        if self.first.is_empty() {
            return match self.in_flight {
                0 => Step::Exhausted,
                _ => Step::WaitUntil(self.deadline),
            };
        }
        if now < self.next_at && self.in_flight > 0 {
            return Step::WaitUntil(self.next_at.min(self.deadline));
        }
        let Some(candidate) = self.first.pop_front() else {
            return Step::Exhausted;
        };
        self.in_flight += 1;
        self.next_at = now + STAGGER;
        Step::Start(candidate)
    }

    /// An attempt ended with an error: the next one need not wait.
    pub fn failed(&mut self, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.next_at = now;
    }
}

/// The candidates of one dial, best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order<C> {
    /// To be tried one after the other.
    pub first: Vec<C>,
    /// To be tried only when all of `first` have failed.
    pub last_resort: Vec<C>,
}

impl<C> Order<C> {
    /// All of them as first choices, in this order.
    #[must_use]
    pub const fn fixed(first: Vec<C>) -> Self {
        Self {
            first,
            last_resort: Vec::new(),
        }
    }

    /// Each candidate turned into what a dial needs of it.
    pub fn map<D>(self, turn: impl Fn(C) -> D) -> Order<D> {
        Order {
            first: self.first.into_iter().map(&turn).collect(),
            last_resort: self.last_resort.into_iter().map(&turn).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn plan(first: &[u8], last_resort: &[u8], now: Instant) -> DialPlan<u8> {
        let order = Order {
            first: first.to_vec(),
            last_resort: last_resort.to_vec(),
        };
        DialPlan::new(order, now, TIMEOUT)
    }

    #[test]
    fn the_next_attempt_starts_after_the_stagger_while_the_first_goes_on() {
        let now = Instant::now();
        let mut plan = plan(&[1, 2], &[], now);
        assert_eq!(plan.step(now), Step::Start(1));
        assert_eq!(plan.step(now), Step::WaitUntil(now + STAGGER));
        assert_eq!(plan.step(now + STAGGER), Step::Start(2));
        assert_eq!(plan.step(now + STAGGER), Step::WaitUntil(now + TIMEOUT));
    }

    #[test]
    fn a_failure_starts_the_next_attempt_at_once() {
        let now = Instant::now();
        let mut plan = plan(&[1, 2], &[], now);
        assert_eq!(plan.step(now), Step::Start(1));
        let later = now + Duration::from_millis(1);
        plan.failed(later);
        assert_eq!(plan.step(later), Step::Start(2));
        plan.failed(later);
        assert_eq!(plan.step(later), Step::Exhausted);
    }

    #[test]
    fn the_last_resort_waits_until_every_first_choice_has_failed() {
        let now = Instant::now();
        let mut plan = plan(&[1, 2], &[3], now);
        assert_eq!(plan.step(now), Step::Start(1));
        assert_eq!(plan.step(now + STAGGER), Step::Start(2));
        plan.failed(now + STAGGER);
        assert_eq!(plan.step(now + 9 * STAGGER), Step::WaitUntil(now + TIMEOUT));
        plan.failed(now + 9 * STAGGER);
        assert_eq!(plan.step(now + 9 * STAGGER), Step::Start(3));
    }

    #[test]
    fn the_deadline_ends_the_whole_dial() {
        let now = Instant::now();
        let mut plan = plan(&[1, 2], &[], now);
        assert_eq!(plan.step(now), Step::Start(1));
        assert_eq!(plan.step(now + TIMEOUT), Step::TimedOut);
    }

    #[test]
    fn without_candidates_there_is_nothing_to_wait_for() {
        let now = Instant::now();
        assert_eq!(plan(&[], &[], now).step(now), Step::Exhausted);
    }
}
