//! The clients of one listener, on one worker, for whom no upstream could be had yet.
//!
//! Each goes on dialling in rounds, so that it is served as soon as somebody is there again. A few look for
//! all: the more wait, the longer are their rounds, and so servers that are down or starting are not dialled
//! more often for a thousand clients than for a few. When one of them gets through, all are called; not in
//! one moment, though, in which a server that has just come back would have to take them all.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use rand::{Rng, RngExt as _};

use crate::decide::dial_plan::ROUND;

/// Who waits.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    count: Rc<Cell<usize>>,
    is_called: Cell<bool>,
    /// When they were called last.
    last_call: Cell<Option<Instant>>,
}

/// One that waits, until it is dropped.
#[derive(Debug)]
pub(super) struct Waiter(Rc<Cell<usize>>);

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.update(|count| count - 1);
    }
}

impl Waiting {
    /// One more waits.
    pub(super) fn enter(&self) -> Waiter {
        self.count.update(|count| count + 1);
        Waiter(Rc::clone(&self.count))
    }

    /// How long the next round of one of them is; never the same, so that they do not dial in step.
    pub(super) fn round(&self, rng: &mut impl Rng) -> Duration {
        let all = u32::try_from(self.count.get()).unwrap_or(u32::MAX);
        let round = ROUND.saturating_mul(all.div_ceil(SCOUTS).max(1));
        round.mul_f64(rng.random_range(0.75..=1.0))
    }

    /// How much later than the others one of them acts on news.
    pub(super) fn delay(&self, rng: &mut impl Rng) -> Duration {
        let all = u32::try_from(self.count.get()).unwrap_or(u32::MAX);
        if all <= SCOUTS {
            return Duration::ZERO;
        }
        let spread = APART.saturating_mul(all).min(ROUND);
        spread.mul_f64(rng.random_range(0.0..1.0))
    }

    /// An upstream has accepted somebody. Gives whether the others are to be called for it: once a round, since
    /// one that accepts and hangs up would have them all dial at once again and again.
    pub(super) fn got_through(&self, now: Instant) -> bool {
        let is_early =
            (self.last_call.get()).is_some_and(|last| now.saturating_duration_since(last) < ROUND);
        if self.count.get() == 0 || is_early {
            return false;
        }
        self.last_call.set(Some(now));
        self.is_called.set(true);
        true
    }

    /// Whether they have been called since this was last asked.
    pub(crate) fn take_call(&self) -> bool {
        self.is_called.take()
    }
}

/// Clients that dial each round of the usual length: all, if there are no more.
const SCOUTS: u32 = 16;
/// The mean time between two of many that are called.
const APART: Duration = Duration::from_micros(200);

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::SmallRng};

    use super::*;

    #[test]
    fn a_thousand_dial_no_more_often_than_a_few() {
        let mut rng = SmallRng::seed_from_u64(1);
        let waiting = Waiting::default();
        let few: Vec<_> = (0..SCOUTS).map(|_| waiting.enter()).collect();
        for _ in 0..100 {
            assert!((ROUND.mul_f64(0.75)..=ROUND).contains(&waiting.round(&mut rng)));
            assert_eq!(waiting.delay(&mut rng), Duration::ZERO);
        }
        let many: Vec<_> = (0..1_000).map(|_| waiting.enter()).collect();
        assert!(waiting.round(&mut rng) >= ROUND * 40);
        let delays: Vec<_> = (0..100).map(|_| waiting.delay(&mut rng)).collect();
        assert!(delays.iter().all(|delay| *delay < ROUND));
        assert!(delays.iter().any(|delay| *delay > ROUND / 2));
        drop(many);
        assert!(waiting.round(&mut rng) <= ROUND);
        drop(few);
    }

    #[test]
    fn the_others_are_called_once_a_round_and_only_if_there_are_any() {
        let (waiting, now) = (Waiting::default(), Instant::now());
        assert!(!waiting.got_through(now));
        let _one = waiting.enter();
        assert!(waiting.got_through(now));
        assert!(waiting.take_call() && !waiting.take_call());
        assert!(!waiting.got_through(now + ROUND / 2));
        assert!(waiting.got_through(now + ROUND));
    }
}
