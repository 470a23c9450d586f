//! The state of one upstream, and when it is probed next. Pure.
//!
//! ```text
//!            answer                        no answer, or a bad one
//! unknown ──────────► up ◄────────┐  ┌─► suspect ─┐
//!    │                │    answer │  │      │     │ `fall` of them in a row
//!    │ no answer      │           └──┼──────┘     ▼
//!    └────────────────┴──────────────┘           down ──► up after `rise` answers in a row
//! ```
//!
//! An upstream that lives (up or suspect) and says at `/readyz` that it wants no new clients is shown as
//! `draining` until it says otherwise.
//!
//! A client's failed dial and the loss of the connection that probes keep open make `up` or `unknown`
//! suspect as a failed probe does, but they never count towards `down`: they only ask for a probe soon, and
//! probes judge.

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

/// What a probe is to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Whether it lives.
    Alive,
    /// Whether it lives, and wants new clients.
    Ready,
}

/// What has been found out about an upstream, by a probe or on the connection that probes keep open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It answers.
    Alive,
    /// It answers, and takes new clients or does not say whether.
    Ready,
    /// It answers that it wants no new clients.
    Draining,
    /// It answers, but keeps from us whether it takes new clients: it may not know us, or know nobody yet,
    /// for it is just starting.
    Unsaid,
    /// It did not answer in time.
    Silent,
    /// It cannot be reached, or its answer is a bad one.
    Failed,
    /// The connection that probes keep open is gone: no answer yet, but a reason to ask again.
    Lost,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The state machine of one upstream.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    life: Life,
    /// The last word of its `/readyz`.
    is_draining: bool,
    /// Its `/readyz` has had a word for us.
    has_said: bool,
    /// Since when it has none, if it has none now.
    unsaid: Option<Instant>,
    /// The last probe had no answer at all.
    is_silent: bool,
    /// When it last answered a probe, if it has.
    answered: Option<Instant>,
    probe: Probe,
    /// When `/readyz` is to be asked again.
    readyz_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Unknown,
    Up,
    /// Bad probes in a row.
    Suspect(u32),
    /// Good probes in a row.
    Down(u32),
}

#[derive(Clone, Copy, Debug)]
enum Probe {
    Due(Instant),
    /// Given out; if no finding has come by then, that is silence.
    Running {
        since: Instant,
        overdue: Instant,
    },
}

impl Upstream {
    /// Unknown, to be probed at once.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            life: Life::Unknown,
            is_draining: false,
            has_said: false,
            unsaid: None,
            is_silent: false,
            answered: None,
            probe: Probe::Due(now),
            readyz_at: now,
        }
    }

    pub(super) const fn state(&self) -> State {
        match self.life {
            Life::Down(_) => State::Down,
            Life::Up | Life::Suspect(_) if self.is_draining => State::Draining,
            Life::Unknown => State::Unknown,
            Life::Up => State::Up,
            Life::Suspect(_) => State::Suspect,
        }
    }

    /// Whether it is down because nothing answers: it hangs, or the network swallows packets. One that
    /// refuses has no established connections, or serves them to their end.
    pub(super) const fn is_hung(&self) -> bool {
        matches!(self.life, Life::Down(_)) && self.is_silent
    }

    /// Whether its `/readyz` has ever told us whether it takes clients.
    pub(super) const fn has_said(&self) -> bool {
        self.has_said
    }

    /// When it last answered a probe, if it has.
    pub(super) const fn answered(&self) -> Option<Instant> {
        self.answered
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(super) const fn wake(&self) -> Instant {
        match self.probe {
            Probe::Due(at) => at,
            Probe::Running { overdue, .. } => overdue,
        }
    }

    /// The probe that is to be started now, if one is. A probe without a finding counts as silence first.
    pub(super) fn tick(
        &mut self,
        now: Instant,
        health: &Health,
        rng: &mut impl Rng,
    ) -> Option<Ask> {
        if let Probe::Running { overdue, .. } = self.probe
            && now >= overdue
        {
            self.found(Finding::Silent, now, health, rng);
        }
        match self.probe {
            Probe::Due(at) if now >= at => {
                self.probe = Probe::Running {
                    since: now,
                    overdue: now + health.timeout + FINDING_GRACE,
                };
                // Nearer to this probe than to the next one.
                if self.readyz_at > now + health.interval / 2 {
                    return Some(Ask::Alive);
                }
                self.readyz_at = now + jittered(health.readyz_interval, rng);
                Some(Ask::Ready)
            }
            _ => None,
        }
    }

    /// Takes what has been found out. It ends the probe that is under way, if one is.
    pub(super) fn found(
        &mut self,
        finding: Finding,
        now: Instant,
        health: &Health,
        rng: &mut impl Rng,
    ) {
        match finding {
            Finding::Alive => self.good(now, health),
            Finding::Ready | Finding::Draining => {
                self.is_draining = finding == Finding::Draining;
                self.has_said = true;
                self.unsaid = None;
                self.good(now, health);
            }
            Finding::Unsaid => {
                let since = *self.unsaid.get_or_insert(now);
                self.is_draining = now < since + UNSAID;
                // It has a word within seconds if it ever has one.
                if self.is_draining {
                    self.readyz_at = now;
                }
                self.good(now, health);
            }
            Finding::Silent | Finding::Failed => {
                self.is_silent = finding == Finding::Silent;
                self.bad(health);
            }
            Finding::Lost => {
                self.doubt();
                if let Probe::Running { since, .. } = self.probe {
                    self.probe = Probe::Due((since + QUICK).max(now));
                }
                self.probe_soon(now, health, rng);
                return;
            }
        }
        if let Probe::Running { since, .. } = self.probe {
            let pause = if self.is_settled() {
                jittered(health.interval, rng)
            } else {
                QUICK.min(health.interval)
            };
            // From start to start, so that a slow answer does not stretch the interval.
            self.probe = Probe::Due((since + pause).max(now));
        }
    }

    /// That its `/readyz` has no word for us speaks not against it. For how long it has had none is
    /// still known: one that has not just started does not start when another one has a word.
    pub(super) const fn excuse(&mut self) {
        if self.unsaid.is_some() {
            self.is_draining = false;
        }
    }

    /// It is judged by another `health` from now on: the next probe comes no later than that says.
    pub(super) fn retime(&mut self, now: Instant, health: &Health) {
        if let Probe::Due(at) = &mut self.probe {
            *at = (*at).min(now + health.interval);
        }
        self.readyz_at = self.readyz_at.min(now + health.readyz_interval);
    }

    /// A client's dial to it failed.
    pub(super) fn dial_failed(&mut self, now: Instant, health: &Health) {
        if matches!(self.life, Life::Up | Life::Unknown) {
            self.doubt();
            if let Probe::Due(at) = &mut self.probe {
                // Clients may fail by the thousand; probes stay paced, since only a good one ends this.
                *at = (*at).min(now + QUICK.min(health.interval));
            }
        }
    }

    /// Something has changed that a probe will find out. Not at once, and not at the same moment as a
    /// thousand other nodes that saw it, too.
    pub(super) fn probe_soon(&mut self, now: Instant, health: &Health, rng: &mut impl Rng) {
        if let Probe::Due(at) = &mut self.probe {
            let pause = QUICK
                .min(health.interval)
                .mul_f64(rng.random_range(0.1..1.0));
            *at = (*at).min(now + pause);
        }
    }

    /// Whether nothing hangs on the next probe.
    const fn is_settled(&self) -> bool {
        match self.life {
            Life::Up => true,
            Life::Unknown | Life::Suspect(_) => false,
            Life::Down(successes) => successes == 0,
        }
    }

    const fn doubt(&mut self) {
        if matches!(self.life, Life::Up | Life::Unknown) {
            self.life = Life::Suspect(0);
        }
    }

    const fn good(&mut self, now: Instant, health: &Health) {
        self.answered = Some(now);
        self.is_silent = false;
        self.life = match self.life {
            Life::Down(successes) if successes + 1 < health.rise => Life::Down(successes + 1),
            _ => Life::Up,
        };
    }

    const fn bad(&mut self, health: &Health) {
        let failures = match self.life {
            Life::Down(_) => {
                self.life = Life::Down(0);
                return;
            }
            Life::Suspect(failures) => failures + 1,
            Life::Unknown | Life::Up => 1,
        };
        self.life = if failures >= health.fall {
            Life::Down(0)
        } else {
            Life::Suspect(failures)
        };
    }
}

/// Up to a fifth less, so that the probes of a thousand nodes do not march in step.
fn jittered(interval: Duration, rng: &mut impl Rng) -> Duration {
    interval.mul_f64(rng.random_range(0.8..1.0))
}

/// The pause before a probe that settles a doubt.
const QUICK: Duration = Duration::from_millis(250);
/// An API server that starts refuses everybody (403) until it has read who may do what, `/readyz` included,
/// which takes it a second or two. One that does so for longer has been told to.
pub const UNSAID: Duration = Duration::from_secs(30);
/// How much later than its time-out the finding of a probe may come.
const FINDING_GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::SmallRng};

    use super::*;
    use Finding::{Alive, Draining, Failed, Lost, Ready, Silent, Unsaid};

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

        /// Waits for the next probe, and says what it asks.
        fn asked(&mut self) -> Ask {
            self.now = self.now.max(self.upstream.wake());
            let ask = self.upstream.tick(self.now, &self.health, &mut self.rng);
            ask.expect("it was due")
        }

        fn found(&mut self, finding: Finding) -> State {
            let (health, rng) = (&self.health, &mut self.rng);
            self.upstream.found(finding, self.now, health, rng);
            self.upstream.state()
        }

        /// Waits for the next probe, gives it this finding, and says what is believed then.
        fn probe(&mut self, finding: Finding) -> State {
            self.asked();
            self.found(finding)
        }
    }

    #[test]
    fn the_first_probe_is_due_at_once_and_one_answer_is_enough() {
        let mut case = Case::new(3, 3);
        assert_eq!(case.upstream.wake(), case.now);
        assert_eq!(case.probe(Alive), State::Up);
    }

    #[test]
    fn fall_failures_in_a_row_make_it_down_and_rise_answers_up_again() {
        let mut case = Case::new(2, 3);
        assert_eq!(case.probe(Alive), State::Up);
        assert_eq!(case.probe(Failed), State::Suspect);
        assert_eq!(case.probe(Silent), State::Suspect);
        assert_eq!(case.probe(Failed), State::Down);
        assert_eq!(case.probe(Alive), State::Down);
        assert_eq!(case.probe(Silent), State::Down);
        assert_eq!(case.probe(Alive), State::Down);
        assert_eq!(case.probe(Ready), State::Up);
    }

    #[test]
    fn an_answer_clears_a_suspicion() {
        let mut case = Case::new(2, 2);
        for _ in 0..10 {
            assert_eq!(case.probe(Silent), State::Suspect);
            assert_eq!(case.probe(Alive), State::Up);
        }
    }

    #[test]
    fn a_hung_server_is_down_within_three_seconds_by_default() {
        let mut case = Case::new(2, 2);
        case.probe(Alive);
        let hung = case.now;
        while case.upstream.state() != State::Down {
            case.asked();
            case.now += case.health.timeout;
            case.found(Silent);
        }
        assert!(case.now - hung < Duration::from_secs(3));
        assert!(case.upstream.is_hung());
    }

    #[test]
    fn one_that_refuses_is_down_but_not_hung() {
        let mut case = Case::new(2, 2);
        case.probe(Alive);
        case.probe(Silent);
        assert_eq!(case.probe(Failed), State::Down);
        assert!(!case.upstream.is_hung());
        case.probe(Silent);
        assert!(case.upstream.is_hung());
    }

    #[test]
    fn readyz_is_asked_at_first_and_then_at_its_own_interval() {
        let mut case = Case::new(2, 2);
        let asked: Vec<Ask> = (0..100)
            .map(|_| {
                let ask = case.asked();
                case.found(Alive);
                ask
            })
            .collect();
        assert_eq!(asked[0], Ask::Ready);
        let ready = asked.iter().filter(|&&ask| ask == Ask::Ready).count();
        assert!((9..=13).contains(&ready), "{ready} of 100");
    }

    #[test]
    fn readyz_is_asked_each_time_when_the_intervals_are_equal() {
        let mut case = Case::new(2, 2);
        case.health.readyz_interval = case.health.interval;
        for _ in 0..100 {
            assert_eq!(case.asked(), Ask::Ready);
            case.found(Alive);
        }
    }

    #[test]
    fn a_draining_server_drains_until_it_says_otherwise_or_is_down() {
        let mut case = Case::new(1, 2);
        assert_eq!(case.probe(Draining), State::Draining);
        assert_eq!(case.probe(Alive), State::Draining);
        assert_eq!(case.probe(Silent), State::Draining);
        assert_eq!(case.probe(Silent), State::Down);
        assert_eq!(case.probe(Draining), State::Draining);
        assert_eq!(case.probe(Ready), State::Up);
    }

    #[test]
    fn one_that_starts_and_knows_nobody_yet_drains_and_is_asked_again_at_once() {
        let mut case = Case::new(1, 1);
        case.probe(Ready);
        assert_eq!(case.probe(Failed), State::Down);
        assert_eq!(case.probe(Unsaid), State::Draining);
        assert_eq!(case.asked(), Ask::Ready);
        assert_eq!(case.found(Draining), State::Draining);
        assert_eq!(case.probe(Ready), State::Up);
    }

    #[test]
    fn one_that_never_tells_whether_it_takes_clients_gets_them_in_the_end() {
        let mut case = Case::new(1, 1);
        let begun = case.now;
        while case.probe(Unsaid) == State::Draining {
            assert!(case.now - begun < UNSAID + case.health.interval);
        }
        assert!(case.now - begun >= UNSAID);
        assert_eq!(case.found(Unsaid), State::Up);
    }

    #[test]
    fn a_failed_dial_raises_suspicion_and_a_quick_probe_but_never_down() {
        let mut case = Case::new(2, 2);
        case.probe(Alive);
        for _ in 0..100 {
            case.upstream.dial_failed(case.now, &case.health);
        }
        assert_eq!(case.upstream.state(), State::Suspect);
        assert_eq!(case.upstream.wake(), case.now + QUICK);
        assert_eq!(case.probe(Alive), State::Up);
        assert!(case.upstream.wake() >= case.now + case.health.interval.mul_f64(0.8));
    }

    #[test]
    fn a_lost_connection_raises_suspicion_and_a_quick_probe_but_never_down() {
        let mut case = Case::new(2, 1);
        case.probe(Alive);
        for _ in 0..100 {
            assert_eq!(case.found(Lost), State::Suspect);
        }
        assert!(case.upstream.wake() > case.now && case.upstream.wake() <= case.now + QUICK);
        assert_eq!(case.probe(Alive), State::Up);
    }

    #[test]
    fn a_probe_without_a_finding_counts_as_silence() {
        let mut case = Case::new(2, 1);
        case.asked();
        let overdue = case.upstream.wake();
        assert_eq!(overdue, case.now + case.health.timeout + FINDING_GRACE);
        case.asked();
        assert!(case.upstream.is_hung());
    }

    #[test]
    fn a_late_answer_is_an_answer() {
        let mut case = Case::new(1, 2);
        case.probe(Silent);
        assert_eq!(case.probe(Silent), State::Down);
        assert_eq!(case.found(Alive), State::Up);
    }

    #[test]
    fn a_shorter_interval_counts_at_once() {
        let mut case = Case::new(2, 1);
        case.health.interval = Duration::from_secs(300);
        case.probe(Alive);
        case.health.interval = Duration::from_secs(1);
        case.upstream.retime(case.now, &case.health);
        assert_eq!(case.upstream.wake(), case.now + case.health.interval);
    }
}
