//! Carries out the dial plan of one connection with non-blocking sockets: the first to connect wins, the
//! others are closed.

use std::{io, net::SocketAddr, sync::Arc, time::Instant};

use rustix::event::epoll::EventFlags;

use super::{
    Here, Serving,
    hello::{Hello, judge},
    leg::{self, Leg},
    waiting::Waiter,
};
use crate::{
    config::Replay,
    connections::{Key, Source},
    decide::{
        Choice, Entered, Event,
        dial_plan::{DialPlan, Order, STAGGER, Step},
    },
    dial::is_local,
    metrics::{self, Attempt as Outcome},
    recent::Dialled,
    tried::Tried,
};

/// A dial under way; or one that has connected, and may have to go on: until the upstream has sent a byte.
///
/// It takes about a kilobyte, and what is kept of the client's, which an idle connection does not; for
/// `dial_timeout` at most.
pub(super) struct Dialling {
    plan: DialPlan<Candidate>,
    attempts: Vec<Attempt>,
    last_number: u8,
    /// Since nobody could be had in the first round.
    waiter: Option<Waiter>,
    /// What the client has sent to an upstream that has not answered yet.
    pub(super) kept: Vec<u8>,
}

/// Whom to dial, at which of its addresses.
#[derive(Clone, Debug)]
struct Candidate {
    choice: Arc<Choice>,
    socket: SocketAddr,
}

/// One attempt under way.
pub(super) struct Attempt {
    /// Names its socket among those of the connection.
    pub(super) number: u8,
    pub(super) leg: Leg,
    pub(super) entered: Entered,
    candidate: Candidate,
    since: Instant,
    /// No other attempt to this address was under way as it began.
    is_first: bool,
}

impl Attempt {
    pub(super) const fn choice(&self) -> &Arc<Choice> {
        &self.candidate.choice
    }
}

/// How far the dial got.
pub(super) enum Progress {
    /// Ask again when the kernel tells of an attempt, and at this moment at the latest.
    Until(Instant),
    /// The time is over.
    TimedOut,
}

/// The connection that dials.
pub(super) struct Dialler<'a> {
    pub(super) key: Key,
    pub(super) serving: &'a Serving,
    pub(super) tried: &'a mut Tried,
    pub(super) here: &'a mut Here,
}

impl Dialling {
    pub(super) fn begin(by: &mut Dialler<'_>) -> Self {
        let order = by.choose();
        let timeout = by.serving.listener.dial_timeout;
        Self {
            plan: DialPlan::in_rounds(order, by.here.now, timeout),
            attempts: Vec::new(),
            last_number: 0,
            waiter: None,
            kept: Vec::new(),
        }
    }

    /// Whether an attempt is still waiting for its answer.
    pub(super) const fn is_waiting(&self) -> bool {
        !self.attempts.is_empty()
    }

    /// When the whole ends.
    pub(super) const fn deadline(&self) -> Instant {
        self.plan.deadline()
    }

    /// Other things are believed now.
    pub(super) fn news(&mut self, by: &mut Dialler<'_>) {
        let delay = by.serving.waiting.delay(&mut by.here.rng);
        self.plan.news(by.here.now + delay);
    }

    /// Does what the plan wants now.
    pub(super) fn proceed(&mut self, by: &mut Dialler<'_>) -> Progress {
        loop {
            match self.plan.step(by.here.now) {
                Step::Start(candidate) => self.start(candidate, by),
                Step::WaitUntil(moment) => return Progress::Until(moment),
                Step::Choose => {
                    let waiting = &by.serving.waiting;
                    self.waiter.get_or_insert_with(|| waiting.enter());
                    let round = waiting.round(&mut by.here.rng);
                    self.plan.again(by.choose(), by.here.now, round);
                }
                Step::Exhausted | Step::TimedOut => {
                    self.end_attempts(by, Outcome::TimedOut);
                    return Progress::TimedOut;
                }
            }
        }
    }

    /// Takes what the kernel said of an attempt; the attempt, if it won. The others are over then.
    pub(super) fn ready(
        &mut self,
        number: u8,
        said: EventFlags,
        by: &mut Dialler<'_>,
    ) -> Option<Attempt> {
        let place = self.attempts.iter().position(|it| it.number == number)?;
        if said.intersects(EventFlags::ERR | EventFlags::HUP) {
            let attempt = self.attempts.swap_remove(place);
            let error = attempt.leg.error();
            by.lost(&attempt.candidate.choice, outcome(&error), attempt.since);
            self.plan.failed(by.here.now);
            return None;
        }
        if !said.contains(EventFlags::OUT) {
            return None;
        }
        let mut attempt = self.attempts.swap_remove(place);
        attempt.leg.note(said);
        let meter = by.serving.upstream(attempt.choice());
        meter.attempted(Outcome::Connected);
        let now = by.here.now;
        let dialled = Dialled {
            at: now,
            upstream: Arc::clone(attempt.choice()),
            outcome: Outcome::Connected,
            took: now.saturating_duration_since(attempt.since),
        };
        by.here.recent.dialled(by.serving.id, dialled);
        self.end_attempts(by, Outcome::Overtaken);
        self.waiter = None;
        by.here.is_called |= by.serving.waiting.got_through(now);
        Some(attempt)
    }

    /// Ends all attempts under way. Should the dial go on, they are the first to be tried again.
    fn end_attempts(&mut self, by: &mut Dialler<'_>, outcome: Outcome) {
        for attempt in self.attempts.drain(..).rev() {
            by.lost(&attempt.candidate.choice, outcome, attempt.since);
            self.plan.put_back(attempt.candidate);
        }
    }

    /// The upstream that won has gone away without a byte.
    pub(super) fn was_in_vain(&mut self, choice: &Arc<Choice>, by: &mut Dialler<'_>) {
        by.lost(choice, Outcome::ClosedEarly, by.here.now);
        self.plan.failed(by.here.now);
    }

    /// Keeps what the client sent, for the next upstream. `false`: those bytes may not be sent again.
    pub(super) fn keep(&mut self, bytes: &[u8], replay: Replay) -> bool {
        if self.kept.len() + bytes.len() > MAX_KEPT {
            return false;
        }
        self.kept.extend_from_slice(bytes);
        match replay {
            Replay::Off => false,
            Replay::Any => true,
            Replay::Tls => judge(&self.kept) != Hello::Other,
        }
    }

    /// Begins an attempt, or counts it as failed.
    fn start(&mut self, candidate: Candidate, by: &mut Dialler<'_>) {
        // The first attempt to an address has as long as it takes; a second one, for the case that a SYN
        // was lost or the server was not there then, is renewed in each round.
        let same = |it: &Attempt| {
            it.candidate.choice.id == candidate.choice.id && it.candidate.socket == candidate.socket
        };
        let is_first = !self.attempts.iter().any(same);
        if let Some(place) = self.attempts.iter().position(|it| same(it) && !it.is_first) {
            let stale = self.attempts.swap_remove(place);
            by.lost(&stale.candidate.choice, Outcome::Overtaken, stale.since);
            self.plan.replaced();
        }
        // 0 is the client's. After 255 attempts the oldest numbers are free again.
        self.last_number = self.last_number.checked_add(1).unwrap_or(1);
        while self.attempts.iter().any(|it| it.number == self.last_number) {
            self.last_number = self.last_number.checked_add(1).unwrap_or(1);
        }
        let source = Source::Socket(by.key, self.last_number);
        let keepalive = by.serving.listener.keepalive;
        let dialled = leg::dial(candidate.socket, keepalive)
            .and_then(|socket| Leg::register(socket, source, &by.here.epoll));
        match dialled {
            Ok(leg) if self.attempts.len() < MAX_ATTEMPTS => self.attempts.push(Attempt {
                number: self.last_number,
                leg,
                entered: candidate.choice.traffic.enter(),
                candidate,
                since: by.here.now,
                is_first,
            }),
            Ok(_) => self.plan.replaced(),
            Err(error) => {
                by.lost(&candidate.choice, outcome(&error), by.here.now);
                self.plan.failed(by.here.now);
            }
        }
    }
}

impl Dialler<'_> {
    /// All addresses of the first choice come after the first address of all others: a name with many does
    /// not keep a client from the other upstreams.
    fn choose(&mut self) -> Order<Candidate> {
        let here = &mut *self.here;
        let order = self.serving.choose(&here.snapshot, &mut here.rng);
        let addresses = |choices: Vec<Arc<Choice>>| {
            let most = choices.iter().map(|choice| choice.sockets.len()).max();
            let passes = 0..most.unwrap_or(0);
            let candidates = passes.flat_map(|pass| {
                choices.iter().filter_map(move |choice| {
                    let socket = *choice.sockets.get(pass)?;
                    let choice = Arc::clone(choice);
                    Some(Candidate { choice, socket })
                })
            });
            candidates.collect()
        };
        Order {
            first: addresses(order.first),
            last_resort: addresses(order.last_resort),
        }
    }

    /// An attempt did not serve the client: counts it, and tells the core what speaks against an upstream.
    fn lost(&mut self, choice: &Arc<Choice>, outcome: Outcome, since: Instant) {
        self.serving.upstream(choice).attempted(outcome);
        let is_news = self.tried.note(choice, outcome);
        let took = self.here.now.saturating_duration_since(since);
        if is_news {
            let dialled = Dialled {
                at: self.here.now,
                upstream: Arc::clone(choice),
                outcome,
                took,
            };
            self.here.recent.dialled(self.serving.id, dialled);
        }
        if is_news && speaks_against(outcome, took >= STAGGER) {
            let upstream = choice.id;
            let told = self.here.events.try_send(Event::DialFailed { upstream });
            if told.is_err() {
                metrics::event_dropped();
            }
        }
    }
}

fn outcome(error: &io::Error) -> Outcome {
    match error.kind() {
        _ if is_local(error) => Outcome::LocalError,
        io::ErrorKind::ConnectionRefused => Outcome::Refused,
        io::ErrorKind::TimedOut => Outcome::TimedOut,
        _ => Outcome::Failed,
    }
}

/// Whether an attempt is a reason to doubt the upstream. One that was overtaken has been slower than the
/// stagger unless it was itself the second.
const fn speaks_against(outcome: Outcome, was_slow: bool) -> bool {
    match outcome {
        Outcome::Connected | Outcome::LocalError => false,
        Outcome::Overtaken => was_slow,
        Outcome::Refused | Outcome::TimedOut | Outcome::ClosedEarly | Outcome::Failed => true,
    }
}

/// Bytes of a client that are kept for another upstream. A ClientHello with the largest key share in use
/// and a session ticket has a few thousand.
const MAX_KEPT: usize = 16 * 1024;
/// Attempts of one connection at a time, two for each of a hundred addresses.
const MAX_ATTEMPTS: usize = 200;
