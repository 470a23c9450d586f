//! When each attempt of a dial starts. Pure: the time is an argument.
//!
//! Attempts are staggered across upstreams: the first starts at once, the next one a [`STAGGER`] later
//! or as soon as an attempt fails, while those under way go on. So a black hole costs a client one
//! stagger and a refusal costs it nothing. The whole is bounded by one deadline.
//!
//! The last resort (upstreams that are believed to be down) is not touched while one of the first
//! choices may still answer: a hung server completes a TCP handshake, and would win the race. First
//! choices that have not answered a retransmission either ([`PATIENCE`]) are no better, though.
//!
//! ```text
//!         ┌──── round ────┐
//! Start … Start … WaitUntil ── all failed, or silent for a stagger ──► Choose ── again() ──► next round
//!                                                                      (no sooner than a ROUND after the last)
//! ```
//!
//! A dial in rounds does not give up when everybody has failed: it chooses anew, about every [`ROUND`] unless
//! many do the same, and
//! at once when another snapshot has been published, and then starts all attempts together. A server that
//! comes back is so reached within one round, not when the kernel next repeats a SYN.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How long an attempt has the field to itself. RFC 8305 §5 recommends 250 ms for addresses and permits 100:
/// with this a client that meets a black hole has its first byte within 300 ms on a busy node, too.
pub const STAGGER: Duration = Duration::from_millis(200);
/// The time from the begin of one round to that of the next.
pub const ROUND: Duration = Duration::from_millis(100);
/// How long first choices may be silent before the last resort is tried beside them: longer than the
/// kernel waits before it repeats a SYN (1 s).
pub const PATIENCE: Duration = Duration::from_millis(1500);

/// A dial under way: candidates still to be tried, and when.
#[derive(Clone, Debug)]
pub struct DialPlan<C> {
    first: VecDeque<C>,
    last_resort: VecDeque<C>,
    in_flight: usize,
    stagger: Duration,
    next_at: Instant,
    /// When the last resort is tried although first choices may still answer.
    patience: Instant,
    /// When to choose anew; `None`: never.
    next_round: Option<Instant>,
    round: Duration,
    deadline: Instant,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<C> {
    /// Begin an attempt, then ask again.
    Start(C),
    /// Wait until an attempt ends or this moment comes, then ask again.
    WaitUntil(Instant),
    /// Every candidate has been tried and none has answered: choose anew, call [`DialPlan::again`], then
    /// ask again. Only of a dial in rounds.
    Choose,
    /// Every candidate has been tried and has failed. Never of a dial in rounds.
    Exhausted,
    /// The deadline has passed.
    TimedOut,
}

impl<C> DialPlan<C> {
    /// A dial that begins `now`, tries `order` once and ends `timeout` later at the latest.
    #[must_use]
    pub fn new(order: Order<C>, now: Instant, timeout: Duration) -> Self {
        Self {
            first: order.first.into(),
            last_resort: order.last_resort.into(),
            in_flight: 0,
            stagger: STAGGER,
            next_at: now,
            patience: now + PATIENCE,
            next_round: None,
            round: ROUND,
            deadline: now + timeout,
        }
    }

    /// A dial that begins `now` with `order`, and goes on in rounds until it ends `timeout` later.
    #[must_use]
    pub fn in_rounds(order: Order<C>, now: Instant, timeout: Duration) -> Self {
        Self {
            next_round: Some(now + ROUND),
            ..Self::new(order, now, timeout)
        }
    }

    /// What to do at `now`. After [`Step::Start`] the attempt counts as under way.
    pub fn step(&mut self, now: Instant) -> Step<C> {
        if now >= self.deadline {
            return Step::TimedOut;
        }
        if self.first.is_empty() && (self.in_flight == 0 || now >= self.patience) {
            std::mem::swap(&mut self.first, &mut self.last_resort);
        }
        if !self.first.is_empty() && now < self.next_at && self.in_flight > 0 {
            return Step::WaitUntil(self.next_at.min(self.deadline));
        }
        if let Some(candidate) = self.first.pop_front() {
            self.in_flight += 1;
            self.next_at = now + self.stagger;
            // Whoever is tried first has its stagger also when nobody comes after it.
            self.next_round = self.next_round.map(|at| at.max(self.next_at));
            return Step::Start(candidate);
        }
        match self.next_round {
            None if self.in_flight == 0 => Step::Exhausted,
            None => Step::WaitUntil(self.last_resort_at().min(self.deadline)),
            Some(at) if now >= at => Step::Choose,
            Some(at) => Step::WaitUntil(at.min(self.last_resort_at()).min(self.deadline)),
        }
    }

    /// When the whole ends.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// An attempt ended with an error: the next one need not wait.
    pub fn failed(&mut self, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.next_at = now;
        if self.in_flight == 0 {
            // Nobody is left whose stagger the next round would have to respect.
            self.next_round = self.next_round.map(|at| at.min(now + self.round));
        }
    }

    /// An attempt was ended for a reason that says nothing about its candidate, who is tried again before
    /// all others if the dial goes on.
    pub fn put_back(&mut self, candidate: C) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.first.push_front(candidate);
    }

    /// An attempt was ended in favour of a fresh one to the same candidate.
    pub const fn replaced(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Other things are believed: the next round need not begin later than at this moment.
    pub fn news(&mut self, moment: Instant) {
        self.next_round = self.next_round.map(|at| at.min(moment));
    }

    /// Begins a round of this length with these candidates. Attempts under way go on.
    pub fn again(&mut self, order: Order<C>, now: Instant, round: Duration) {
        self.first = order.first.into();
        // Once it is their turn, it stays so.
        if now < self.patience {
            self.last_resort = order.last_resort.into();
        } else {
            self.first.extend(order.last_resort);
        }
        self.stagger = Duration::ZERO;
        self.next_at = now;
        self.round = round;
        self.next_round = Some(now + round);
    }

    fn last_resort_at(&self) -> Instant {
        if self.last_resort.is_empty() {
            self.deadline
        } else {
            self.patience
        }
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
        let late = now + 5 * STAGGER;
        assert_eq!(plan.step(late), Step::WaitUntil(now + PATIENCE));
        plan.failed(late);
        assert_eq!(plan.step(late), Step::Start(3));
    }

    #[test]
    fn first_choices_that_stay_silent_lose_their_privilege() {
        let now = Instant::now();
        let mut plan = plan(&[1], &[2], now);
        assert_eq!(plan.step(now), Step::Start(1));
        assert_eq!(plan.step(now), Step::WaitUntil(now + PATIENCE));
        assert_eq!(plan.step(now + PATIENCE), Step::Start(2));
    }

    fn in_rounds(first: &[u8], now: Instant) -> DialPlan<u8> {
        DialPlan::in_rounds(Order::fixed(first.to_vec()), now, TIMEOUT)
    }

    #[test]
    fn when_all_have_failed_a_round_later_the_dial_chooses_anew() {
        let now = Instant::now();
        let mut plan = in_rounds(&[1, 2], now);
        for candidate in [1, 2] {
            assert_eq!(plan.step(now), Step::Start(candidate));
            plan.failed(now);
        }
        assert_eq!(plan.step(now), Step::WaitUntil(now + ROUND));
        let later = now + ROUND;
        assert_eq!(plan.step(later), Step::Choose);
        plan.again(Order::fixed(vec![2, 1]), later, ROUND);
        assert_eq!(plan.step(later), Step::Start(2));
        assert_eq!(plan.step(later), Step::Start(1));
        assert_eq!(plan.step(later), Step::WaitUntil(later + ROUND));
        assert_eq!(plan.step(now + TIMEOUT), Step::TimedOut);
    }

    #[test]
    fn a_black_hole_has_its_stagger_before_the_next_round() {
        let now = Instant::now();
        let mut plan = in_rounds(&[1], now);
        assert_eq!(plan.step(now), Step::Start(1));
        assert_eq!(plan.step(now), Step::WaitUntil(now + STAGGER));
        assert_eq!(plan.step(now + STAGGER), Step::Choose);
    }

    #[test]
    fn news_spares_the_wait_for_the_next_round() {
        let now = Instant::now();
        let mut plan = in_rounds(&[], now);
        assert_eq!(plan.step(now), Step::WaitUntil(now + ROUND));
        plan.news(now);
        assert_eq!(plan.step(now), Step::Choose);
        plan.again(Order::fixed(vec![]), now, ROUND);
        assert_eq!(plan.step(now), Step::WaitUntil(now + ROUND));
    }

    #[test]
    fn who_was_overtaken_comes_first_when_the_dial_goes_on() {
        let now = Instant::now();
        let mut plan = in_rounds(&[1, 2, 3], now);
        assert_eq!(plan.step(now), Step::Start(1));
        let later = now + STAGGER;
        assert_eq!(plan.step(later), Step::Start(2));
        // 2 won, and then went away.
        plan.put_back(1);
        plan.failed(later);
        assert_eq!(plan.step(later), Step::Start(1));
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
