//! What is known of one server: how fast it is, and whether it answers at all.
//! Pure: times are arguments.
//!
//! ```text
//!            silent when it should have answered, or rejects thrice
//!    ┌────── ─────────────────────────────────────────────────────► ┐
//!   Good                                                         Doubtful ──► Dead
//!    ▲                              silent for DEAD_AFTER, twice at least ─────┘ │
//!    └──────────────────────────── an answer ◄──────────────────────────────────┘
//! ```
//!
//! One name that takes long says nothing of its server: silence counts only when
//! the server has said nothing to anybody since it was asked.

use std::time::{Duration, Instant};

/// How a server is to be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Health {
    /// It answers, or nothing is known of it.
    Good,
    /// Asked when no good one is left; beside the good ones only to see whether
    /// it is back.
    Doubtful,
    /// Asked once in [`PROBE_INTERVAL`], whoever asks.
    Dead,
}

/// The record of one server.
#[derive(Debug, Default)]
pub(super) struct Standing {
    round_trip: Option<RoundTrip>,
    last_heard: Option<Instant>,
    /// Since when it owes somebody a word.
    silent_since: Option<Instant>,
    unanswered: u32,
    /// Replies in a row that were no answers.
    rejections: u32,
    last_probe: Option<Instant>,
    last_answer: Option<Instant>,
}

/// The time that an answer takes, smoothed (RFC 6298 §2).
#[derive(Debug, Clone, Copy)]
struct RoundTrip {
    smoothed: Duration,
    variation: Duration,
}

impl Standing {
    /// It gave a usable answer after that time.
    pub(super) fn answered(&mut self, now: Instant, after: Duration) {
        self.heard(now);
        self.rejections = 0;
        self.last_answer = Some(now);
        self.round_trip = Some(match self.round_trip {
            None => RoundTrip {
                smoothed: after,
                variation: after / 2,
            },
            Some(old) => RoundTrip {
                smoothed: (7 * old.smoothed + after) / 8,
                variation: (3 * old.variation + old.smoothed.abs_diff(after)) / 4,
            },
        });
    }

    /// It said that it does not answer.
    pub(super) fn rejected(&mut self, now: Instant) {
        self.heard(now);
        self.rejections = self.rejections.saturating_add(1);
    }

    fn heard(&mut self, now: Instant) {
        self.last_heard = Some(now);
        self.silent_since = None;
        self.unanswered = 0;
    }

    /// What it was asked at `asked` should have been answered, or cannot be.
    pub(super) fn silent(&mut self, asked: Instant) {
        if self.last_heard.is_some_and(|heard| heard > asked) {
            return;
        }
        let since = self.silent_since.unwrap_or(asked);
        self.silent_since = Some(since.min(asked));
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// How it is to be treated.
    pub(super) fn health(&self, now: Instant) -> Health {
        match self.silent_since {
            Some(since) if self.unanswered > 1 && now >= since + DEAD_AFTER => Health::Dead,
            Some(_) => Health::Doubtful,
            None if self.rejections >= MAX_REJECTIONS => Health::Doubtful,
            None => Health::Good,
        }
    }

    /// The time that it takes; none when it never answered.
    pub(super) fn smoothed(&self) -> Option<Duration> {
        self.round_trip.map(|round_trip| round_trip.smoothed)
    }

    /// How long to wait for it before another attempt starts beside it.
    pub(super) fn patience(&self) -> Duration {
        self.round_trip.map_or(PATIENCE_UNKNOWN, |round_trip| {
            (round_trip.smoothed + 4 * round_trip.variation).clamp(PATIENCE_MIN, PATIENCE_MAX)
        })
    }

    /// Whether somebody else's question should go to it as well, to see how it is
    /// now; and from when on, if not yet. Of a good server that is asked anyway
    /// nothing has to be found out.
    pub(super) fn probe_due(&self, now: Instant) -> Instant {
        let soonest = self.last_probe.map_or(now, |last| last + PROBE_INTERVAL);
        match (self.health(now), self.last_answer) {
            (Health::Good, Some(last)) => soonest.max(last + REFRESH_INTERVAL),
            _ => soonest,
        }
    }

    /// It is being probed.
    pub(super) fn probed(&mut self, now: Instant) {
        self.last_probe = Some(now);
    }
}

/// A dead server is asked so often, and no more.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// What is known of a good server that others outrun is renewed so often.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10);
/// One lost packet is not death, nor is one name that takes long.
const DEAD_AFTER: Duration = Duration::from_millis(600);
/// A broken name has every server fail; three in a row without an answer between
/// them is the server.
const MAX_REJECTIONS: u32 = 3;
/// Of a server that never answered: a quarter of a second to the other side of
/// the world, and time for the other server to answer within half a second.
const PATIENCE_UNKNOWN: Duration = Duration::from_millis(300);
/// Below, the scheduler of a busy node is mistaken for a dead server.
const PATIENCE_MIN: Duration = Duration::from_millis(50);
const PATIENCE_MAX: Duration = Duration::from_millis(800);

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn answering(now: Instant) -> Standing {
        let mut standing = Standing::default();
        standing.answered(now, 10 * MS);
        standing
    }

    #[test]
    fn silence_makes_doubtful_then_dead_and_an_answer_good_again() {
        let start = Instant::now();
        let mut standing = answering(start);
        standing.silent(start + 10 * MS);
        assert_eq!(standing.health(start + 60 * MS), Health::Doubtful);
        assert_eq!(standing.health(start + 5_000 * MS), Health::Doubtful);
        standing.silent(start + 60 * MS);
        assert_eq!(standing.health(start + 160 * MS), Health::Doubtful);
        assert_eq!(standing.health(start + 700 * MS), Health::Dead);
        standing.answered(start + 800 * MS, MS);
        assert_eq!(standing.health(start + 801 * MS), Health::Good);
    }

    #[test]
    fn a_slow_name_says_nothing_of_a_server_that_speaks_meanwhile() {
        let start = Instant::now();
        let mut standing = answering(start + 20 * MS);
        for _ in 0..10 {
            standing.silent(start + 10 * MS);
        }
        assert_eq!(standing.health(start + 5_000 * MS), Health::Good);
    }

    #[test]
    fn a_server_that_only_rejects_is_doubtful() {
        let start = Instant::now();
        let mut standing = answering(start);
        standing.rejected(start);
        standing.rejected(start);
        assert_eq!(standing.health(start), Health::Good);
        standing.rejected(start);
        assert_eq!(standing.health(start), Health::Doubtful);
        standing.answered(start, MS);
        assert_eq!(standing.health(start), Health::Good);
    }

    #[test]
    fn patience_follows_the_time_that_is_usual() {
        let start = Instant::now();
        let mut standing = Standing::default();
        assert_eq!(standing.patience(), PATIENCE_UNKNOWN);
        for _ in 0..50 {
            standing.answered(start, MS);
        }
        assert_eq!(standing.patience(), PATIENCE_MIN);
        for _ in 0..50 {
            standing.answered(start, 100 * MS);
        }
        assert!((100 * MS..150 * MS).contains(&standing.patience()));
        // A forwarder that knows some names and has to ask for others.
        for after in [1, 200].repeat(20) {
            standing.answered(start, after * MS);
        }
        assert!(standing.patience() > 200 * MS, "{:?}", standing.patience());
    }

    #[test]
    fn a_dead_server_is_probed_once_a_second_a_good_one_that_is_not_asked_seldom() {
        let start = Instant::now();
        let mut standing = answering(start);
        assert_eq!(standing.probe_due(start), start + REFRESH_INTERVAL);
        standing.silent(start + MS);
        let now = start + 2 * MS;
        assert_eq!(standing.probe_due(now), now);
        standing.probed(now);
        assert_eq!(standing.probe_due(now), now + PROBE_INTERVAL);
    }
}
