//! The state of one upstream, and when it is probed next. Pure.
//!
//! ```text
//!            success                        failure
//! unknown ────────────► up ◄──────┐  ┌─► suspect ─┐
//!    │                   │ success│  │      │      │ `fall` failures in a row
//!    │ failure           │        └──┼──────┘      ▼
//!    └───────────────────┴───────────┘            down ──► up after `rise` successes in a row
//! ```
//!
//! A client's failed dial makes `up` or `unknown` suspect as a failed probe does, but it never counts
//! towards `down`: it only asks for a probe at once, and probes judge.

use std::{
    fmt,
    time::{Duration, Instant},
};

use rand::{Rng, RngExt};

use crate::config::Health;

/// What is believed of an upstream, in the order in which they are preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// The last word was good.
    Up,
    /// Never heard of; dialled after those that are up.
    Unknown,
    /// The last word was bad, but there were fewer than `fall` of them.
    Suspect,
    /// It lives, but asks for no new connections: it is about to stop, or not yet ready.
    Draining,
    /// Dialled only when nothing else answers.
    Down,
}

impl State {
    /// All states, for metrics that have a series for each.
    pub const ALL: [Self; 5] = [
        Self::Up,
        Self::Unknown,
        Self::Suspect,
        Self::Draining,
        Self::Down,
    ];

    /// The word for it in logs and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Unknown => "unknown",
            Self::Suspect => "suspect",
            Self::Draining => "draining",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The state machine of one upstream.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    state: State,
    /// Failed probes in a row, while not down.
    failures: u32,
    /// Good probes in a row, while down.
    successes: u32,
    probe: Probe,
}

#[derive(Clone, Copy, Debug)]
enum Probe {
    Due(Instant),
    /// Given out; if no result has come by then, that is a failure.
    Running {
        since: Instant,
        overdue: Instant,
    },
}

impl Upstream {
    /// Unknown, to be probed at once.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            state: State::Unknown,
            failures: 0,
            successes: 0,
            probe: Probe::Due(now),
        }
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(super) const fn wake(&self) -> Instant {
        match self.probe {
            Probe::Due(at) => at,
            Probe::Running { overdue, .. } => overdue,
        }
    }

    /// Whether a probe is to be started now. A probe whose result never came counts as failed first.
    pub(super) fn tick(&mut self, now: Instant, health: &Health, rng: &mut impl Rng) -> bool {
        if let Probe::Running { overdue, .. } = self.probe
            && now >= overdue
        {
            self.probe_ended(now, false, health, rng);
        }
        match self.probe {
            Probe::Due(at) if now >= at => {
                self.probe = Probe::Running {
                    since: now,
                    overdue: now + health.timeout + RESULT_GRACE,
                };
                true
            }
            _ => false,
        }
    }

    /// Takes the result of a probe. One that nobody waits for any more is ignored.
    pub(super) fn probe_ended(
        &mut self,
        now: Instant,
        healthy: bool,
        health: &Health,
        rng: &mut impl Rng,
    ) {
        let Probe::Running { since, .. } = self.probe else {
            return;
        };
        if healthy {
            self.good(health);
        } else {
            self.bad(health);
        }
        let unsettled = match self.state {
            State::Unknown | State::Suspect => true,
            State::Up | State::Draining => false,
            State::Down => self.successes > 0,
        };
        let pause = if unsettled {
            QUICK.min(health.interval)
        } else {
            jittered(health.interval, rng)
        };
        // From start to start, so that a slow answer does not stretch the interval.
        self.probe = Probe::Due((since + pause).max(now));
    }

    /// It is judged by another `health` from now on: the next probe comes no later than that says.
    pub(super) fn retime(&mut self, now: Instant, health: &Health) {
        if let Probe::Due(at) = &mut self.probe {
            *at = (*at).min(now + health.interval);
        }
    }

    /// A client's dial to it failed.
    pub(super) fn dial_failed(&mut self, now: Instant, health: &Health) {
        if matches!(self.state, State::Up | State::Unknown) {
            self.state = State::Suspect;
            self.failures = 0;
            if let Probe::Due(at) = &mut self.probe {
                // Clients may fail by the thousand; probes stay paced, since only a good one ends this.
                *at = (*at).min(now + QUICK.min(health.interval));
            }
        }
    }

    fn good(&mut self, health: &Health) {
        self.failures = 0;
        self.successes += 1;
        if self.state != State::Down || self.successes >= health.rise {
            self.state = State::Up;
            self.successes = 0;
        }
    }

    fn bad(&mut self, health: &Health) {
        self.successes = 0;
        if self.state == State::Down {
            return;
        }
        self.failures += 1;
        self.state = if self.failures >= health.fall {
            State::Down
        } else {
            State::Suspect
        };
    }
}

/// A tenth either way, so that the probes of a thousand nodes do not march in step.
fn jittered(interval: Duration, rng: &mut impl Rng) -> Duration {
    interval.mul_f64(rng.random_range(0.9..1.1))
}

/// The pause before a probe that settles a doubt.
const QUICK: Duration = Duration::from_millis(250);
/// How much later than its time-out the result of a probe may come.
const RESULT_GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::SmallRng};

    use super::*;

    /// An upstream with its clock.
    struct Case {
        upstream: Upstream,
        health: Health,
        now: Instant,
        rng: SmallRng,
    }

    impl Case {
        fn new(rise: u32, fall: u32) -> Self {
            let now = Instant::now();
            Self {
                upstream: Upstream::new(now),
                health: Health {
                    rise,
                    fall,
                    ..Health::default()
                },
                now,
                rng: SmallRng::seed_from_u64(1),
            }
        }

        /// Waits for the next probe, gives it this result, and says what is believed then.
        fn probe(&mut self, healthy: bool) -> State {
            self.now = self.now.max(self.upstream.wake());
            assert!(self.upstream.tick(self.now, &self.health, &mut self.rng));
            self.upstream
                .probe_ended(self.now, healthy, &self.health, &mut self.rng);
            self.upstream.state()
        }
    }

    #[test]
    fn the_first_probe_is_due_at_once_and_one_success_is_enough() {
        let mut case = Case::new(3, 3);
        assert_eq!(case.upstream.wake(), case.now);
        assert_eq!(case.probe(true), State::Up);
    }

    #[test]
    fn fall_failures_in_a_row_make_it_down_and_rise_successes_up_again() {
        let mut case = Case::new(2, 3);
        assert_eq!(case.probe(true), State::Up);
        assert_eq!(case.probe(false), State::Suspect);
        assert_eq!(case.probe(false), State::Suspect);
        assert_eq!(case.probe(false), State::Down);
        assert_eq!(case.probe(true), State::Down);
        assert_eq!(case.probe(false), State::Down);
        assert_eq!(case.probe(true), State::Down);
        assert_eq!(case.probe(true), State::Up);
    }

    #[test]
    fn a_success_clears_a_suspicion() {
        let mut case = Case::new(2, 2);
        for _ in 0..10 {
            assert_eq!(case.probe(false), State::Suspect);
            assert_eq!(case.probe(true), State::Up);
        }
    }

    #[test]
    fn a_failed_dial_raises_suspicion_and_a_quick_probe_but_never_down() {
        let mut case = Case::new(2, 2);
        case.probe(true);
        for _ in 0..100 {
            case.upstream.dial_failed(case.now, &case.health);
        }
        assert_eq!(case.upstream.state(), State::Suspect);
        assert_eq!(case.upstream.wake(), case.now + QUICK);
        assert_eq!(case.probe(true), State::Up);
        assert!(case.upstream.wake() >= case.now + case.health.interval.mul_f64(0.9));
    }

    #[test]
    fn a_probe_without_a_result_counts_as_failed() {
        let mut case = Case::new(2, 1);
        assert!(case.upstream.tick(case.now, &case.health, &mut case.rng));
        let overdue = case.upstream.wake();
        assert_eq!(overdue, case.now + case.health.timeout + RESULT_GRACE);
        assert!(case.upstream.tick(overdue, &case.health, &mut case.rng));
        assert_eq!(case.upstream.state(), State::Down);
    }

    #[test]
    fn a_shorter_interval_holds_at_once() {
        let mut case = Case::new(2, 1);
        case.health.interval = Duration::from_secs(300);
        case.probe(true);
        case.health.interval = Duration::from_secs(1);
        case.upstream.retime(case.now, &case.health);
        assert_eq!(case.upstream.wake(), case.now + case.health.interval);
    }

    #[test]
    fn a_result_that_nobody_waits_for_is_ignored() {
        let mut case = Case::new(2, 1);
        case.upstream
            .probe_ended(case.now, false, &case.health, &mut case.rng);
        assert_eq!(case.upstream.state(), State::Unknown);
    }
}
