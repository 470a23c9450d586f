//! One question to one zone's servers, within one deadline.
//!
//! ```text
//! ask ─► pool: in which order ─► attempt 1 ──────────────── answer ─► done
//!         │                         │ late, or an error
//!         │                         └► attempt 2, while 1 goes on …
//!         └► standing: who is doubtful or dead ─► a probe beside, once a second
//! attempt: query (what is sent) ─► udp | sessions ─► accept (what is believed)
//! ```
//!
//! An attempt that is late is not given up: the next server is asked beside it,
//! and the first answer wins. A server that answers SERVFAIL or REFUSED, or
//! refers elsewhere, gives its turn to the next at once. One that said nothing
//! keeps nobody waiting a second time: it stands behind, and somebody else's
//! question goes to it as well, until it answers. Where all are dead a question
//! waits until one is back, or for its deadline.

mod accept;
mod attempt;
pub(crate) mod authority;
mod cookies;
pub(crate) mod failure;
mod offer;
pub(crate) mod pool;
mod ports;
mod query;
mod quirks;
mod session;
mod sessions;
mod sockets;
mod standing;
pub(crate) mod tls;
mod udp;

#[cfg(test)]
mod tests;

use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::cache::key::Key;
use crate::config;
use crate::errand::Errand;
use crate::explain::{Event, Outcome, Over};
use crate::upstream::attempt::{Ask, attempt};
use crate::upstream::failure::{Failure, Trouble};
use crate::upstream::pool::{Network, Server};
use crate::upstream::sessions::Tried;
use crate::upstream::standing::Health;
use crate::wire::name::Name;
use crate::wire::response::Response;

/// The servers of one zone.
#[derive(Debug)]
pub(crate) struct Upstream {
    zone: Name,
    servers: Vec<Arc<Server>>,
    role: Role,
    network: Arc<Network>,
    slots: Semaphore,
    /// When it may be tried for everybody, while no server answers.
    next_try: Mutex<Instant>,
}

/// What servers are to their zone, and hence what counts as their answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// They resolve for us.
    Resolver,
    /// They have the zone, and all below it that they are asked for.
    Authority,
    /// This zone was delegated to them: what it delegates in turn they refer to.
    Delegate(Name),
}

impl Role {
    /// That of servers which a person named.
    pub(crate) const fn of(servers: &config::Servers) -> Self {
        if servers.recursion {
            Self::Resolver
        } else {
            Self::Authority
        }
    }
}

impl Upstream {
    /// The servers of `zone`, of which there must be one.
    pub(crate) fn new(
        zone: Name,
        servers: Vec<Arc<Server>>,
        role: Role,
        network: Arc<Network>,
    ) -> Self {
        Self {
            zone,
            servers,
            role,
            network,
            slots: Semaphore::new(MAX_QUESTIONS),
            next_try: Mutex::new(Instant::now()),
        }
    }

    /// Asks until there is a usable answer: NOERROR, NXDOMAIN or YXDOMAIN, to
    /// this very question; of delegates also a referral. The server that is
    /// `disbelieved`, for its answer cannot be true, is not asked. Cancel safe:
    /// what was started ends with it, but for probes, which end soon.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) async fn ask(
        &self,
        key: &Key,
        deadline: Instant,
        disbelieved: Option<&Arc<Server>>,
        errand: &Errand<'_>,
    ) -> Result<Answer, Failure> {
        let Ok(Ok(_slot)) = timeout_at(deadline, self.slots.acquire()).await else {
            return Err(self.no_slot());
        };
        let mut race = Race::new(self, key, deadline, disbelieved, errand);
        if race.is_lost() {
            return Err(race.failure());
        }
        loop {
            // From before the look at who may be asked, so that no bell is missed.
            let revived = self.network.revived().notified();
            race.go_on(Instant::now());
            let wake = race.next_start.min(race.end);
            tokio::select! {
                // What has come counts before what has not.
                biased;
                Some(ended) = race.attempts.next() => {
                    if let Some(answer) = race.take(ended) {
                        return Ok(answer);
                    }
                    if race.is_lost() {
                        return Err(race.failure());
                    }
                }
                () = revived => race.hurry(),
                () = sleep_until(wake) => {
                    if Instant::now() >= race.end {
                        return Err(race.failure());
                    }
                    race.allow_for_lag(wake);
                    // A reply may have come with this tick.
                    yield_now().await;
                }
            }
        }
    }

    /// Whether there is more than one server.
    pub(crate) const fn has_others(&self) -> bool {
        self.servers.len() > 1
    }

    /// Whether no server answers, as far as is known.
    pub(crate) fn is_dead(&self) -> bool {
        let now = Instant::now();
        let mut servers = self.servers.iter();
        servers.all(|server| server.health(now) == Health::Dead)
    }

    /// Whether a question for which nobody waits is to be asked: where no server answers
    /// one is for all, once a second.
    pub(crate) fn take_turn(&self) -> bool {
        if !self.is_dead() {
            return true;
        }
        let now = Instant::now();
        let mut next_try = self.next_try.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = *next_try <= now;
        if is_due {
            *next_try = now + MOMENT_FOR_THE_DEAD;
        }
        is_due
    }

    fn no_slot(&self) -> Failure {
        let zone = self.zone.clone();
        if self.is_dead() {
            Failure::NoAnswer { zone }
        } else {
            Failure::TooBusy { zone }
        }
    }
}

/// A usable answer, and whose it is.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) response: Response,
    pub(crate) server: Arc<Server>,
}

/// The attempts to have one question answered.
struct Race<'a> {
    upstream: &'a Upstream,
    key: &'a Key,
    errand: &'a Errand<'a>,
    /// Who may be asked, the best first.
    candidates: Vec<Candidate>,
    /// Polled by the race itself, which spares each a task and a channel.
    attempts: FuturesUnordered<Pin<Box<dyn Future<Output = Ended> + Send>>>,
    /// When the next attempt starts, if nothing happens before.
    next_start: Instant,
    /// When it is over, won or not.
    end: Instant,
    trouble: Option<(Arc<Server>, Trouble)>,
}

struct Candidate {
    server: Arc<Server>,
    /// It said that it does not answer, and would say so again.
    is_out: bool,
    asked: u32,
    running: u32,
    /// The last attempt, as long as it is not late.
    in_time: Option<InTime>,
    tried: Tried,
}

#[derive(Clone, Copy)]
struct InTime {
    asked: Instant,
    /// From then on it is late.
    until: Instant,
}

/// An attempt has ended.
struct Ended {
    candidate: usize,
    asked: Instant,
    outcome: Result<(Response, Over), Trouble>,
}

impl<'a> Race<'a> {
    fn new(
        upstream: &'a Upstream,
        key: &'a Key,
        deadline: Instant,
        disbelieved: Option<&Arc<Server>>,
        errand: &'a Errand<'a>,
    ) -> Self {
        let now = Instant::now();
        let candidates = pool::order(&upstream.servers, now);
        Self {
            upstream,
            key,
            errand,
            candidates: candidates
                .into_iter()
                .filter(|server| disbelieved.is_none_or(|other| !Arc::ptr_eq(server, other)))
                .map(|server| Candidate {
                    server,
                    is_out: false,
                    asked: 0,
                    running: 0,
                    in_time: None,
                    tried: Tried::default(),
                })
                .collect(),
            attempts: FuturesUnordered::new(),
            next_start: now,
            end: deadline,
            trouble: None,
        }
    }

    /// Starts the attempt that is due, if one is and somebody may be asked.
    fn go_on(&mut self, now: Instant) {
        if now < self.next_start {
            return;
        }
        let is_first = self.candidates.iter().all(|candidate| candidate.asked == 0);
        self.note_who_is_late(now);
        self.next_start = match self.turn(now) {
            Some(at) => self.start(at, now),
            None => self.next_chance(now),
        };
        if is_first {
            self.probe_beside(now);
        }
    }

    /// Whose turn it is: who was asked least, in order. The dead have theirs last,
    /// and only when a probe is due, which it uses up.
    fn turn(&self, now: Instant) -> Option<usize> {
        if self.running() >= MAX_ATTEMPTS {
            return None;
        }
        let mut turns: Vec<_> = (0..self.candidates.len())
            .filter(|at| !self.candidates[*at].is_out)
            .map(|at| {
                let candidate = &self.candidates[at];
                let is_dead = candidate.server.health(now) == Health::Dead;
                (is_dead, candidate.asked, at)
            })
            .collect();
        turns.sort_unstable();
        turns
            .into_iter()
            .find(|(is_dead, _, at)| !is_dead || self.candidates[*at].server.take_probe(now))
            .map(|(_, _, at)| at)
    }

    /// When somebody may be asked again, since nobody may now.
    fn next_chance(&self, now: Instant) -> Instant {
        let probes = self
            .candidates
            .iter()
            .filter(|candidate| !candidate.is_out)
            .map(|candidate| candidate.server.probe_due(now));
        match probes.min() {
            Some(due) if due > now => due,
            _ => now + PAUSE,
        }
    }

    /// Starts an attempt, and gives the time after which it is late.
    fn start(&mut self, at: usize, now: Instant) -> Instant {
        let candidate = &mut self.candidates[at];
        let until = now + candidate.server.patience(candidate.asked);
        candidate.asked += 1;
        candidate.in_time = Some(InTime { asked: now, until });
        if candidate.server.health(now) == Health::Dead {
            self.probe(at, now);
        } else {
            let attempt = self.attempt(at, now);
            self.attempts.push(Box::pin(attempt));
        }
        until
    }

    /// Sends the question to one more server to see how it is: one that is not
    /// expected to answer first, so nobody waits for it.
    fn probe_beside(&mut self, now: Instant) {
        // There are too many of a stranger's servers to know them all, and he is
        // not to be asked twice for each question.
        if matches!(self.upstream.role, Role::Delegate(_)) && !rand::random_ratio(1, STRANGERS) {
            return;
        }
        let unasked = (0..self.candidates.len()).filter(|at| self.candidates[*at].asked == 0);
        let probed = unasked
            .into_iter()
            .find(|at| self.candidates[*at].server.take_probe(now));
        if let Some(at) = probed {
            self.candidates[at].asked += 1;
            self.probe(at, now);
        }
    }

    /// An attempt that goes on without us: that a server is back is to be known
    /// even when another has answered before.
    fn probe(&mut self, at: usize, now: Instant) {
        let end = self.end.max(now + PROBE_TIMEOUT);
        // Large, and moved by every layer of the runtime that spawns it.
        let attempt = Box::pin(self.attempt(at, now));
        let server = Arc::clone(&self.candidates[at].server);
        let (report, ended) = oneshot::channel();
        self.candidates[at].server.probe(async move {
            let ended = timeout_at(end, attempt).await.unwrap_or_else(|_| {
                server.failed(now, &Trouble::Late);
                Ended {
                    candidate: at,
                    asked: now,
                    outcome: Err(Trouble::Late),
                }
            });
            // The race may be over.
            let _ = report.send(ended);
        });
        self.attempts.push(Box::pin(async {
            match ended.await {
                Ok(ended) => ended,
                // Its server is no longer wanted.
                Err(_) => pending().await,
            }
        }));
    }

    /// Asks a candidate, without end: the race has one.
    fn attempt(&mut self, at: usize, now: Instant) -> impl Future<Output = Ended> + Send + use<> {
        let candidate = &mut self.candidates[at];
        candidate.running += 1;
        let ask = Ask {
            key: self.key.clone(),
            role: self.upstream.role.clone(),
            again: candidate.asked > 1,
            tried: candidate.tried.clone(),
        };
        let server = Arc::clone(&candidate.server);
        async move {
            let outcome = attempt(&server, &ask).await;
            match &outcome {
                Ok(_) => server.answered(now.elapsed()),
                Err(trouble) => server.failed(now, trouble),
            }
            Ended {
                candidate: at,
                asked: now,
                outcome,
            }
        }
    }

    /// Takes note of how an attempt ended; gives the answer if that is what it
    /// brought. What failed lets the next attempt start at once, when there is
    /// somebody who has not been asked.
    fn take(&mut self, ended: Ended) -> Option<Answer> {
        self.errand.note(|| self.story(&ended));
        let Ended {
            candidate, outcome, ..
        } = ended;
        let trouble = match outcome {
            Ok((response, _)) => {
                let server = Arc::clone(&self.candidates[candidate].server);
                return Some(Answer { response, server });
            }
            Err(trouble) => trouble,
        };
        let candidate = &mut self.candidates[candidate];
        candidate.running -= 1;
        candidate.in_time = None;
        candidate.is_out |= matches!(trouble, Trouble::Rejected(_) | Trouble::Useless(_));
        if !matches!(trouble, Trouble::Late) {
            self.trouble = Some((Arc::clone(&candidate.server), trouble));
        }
        let is_fresh = |candidate: &Candidate| candidate.asked == 0 && !candidate.is_out;
        if self.candidates.iter().any(is_fresh) {
            self.hurry();
        }
        self.give_the_dead_a_moment();
        None
    }

    /// Lets the next attempt start at once, unless one is running that is not late.
    fn hurry(&mut self) {
        let is_in_time = |candidate: &Candidate| candidate.in_time.is_some();
        if !self.candidates.iter().any(is_in_time) {
            self.next_start = Instant::now();
        }
    }

    /// When all that live have said that they do not answer, the dead are waited
    /// for only until each may have been probed.
    fn give_the_dead_a_moment(&mut self) {
        let now = Instant::now();
        let is_hopeless = |candidate: &Candidate| {
            candidate.is_out || candidate.server.health(now) == Health::Dead
        };
        if self.candidates.iter().any(|candidate| candidate.is_out)
            && self.candidates.iter().all(is_hopeless)
        {
            self.end = self.end.min(now + MOMENT_FOR_THE_DEAD);
        }
    }

    /// When we are too busy to wake in time, replies are not read in time either:
    /// as much is added to the wait, so that load does not make more load.
    fn allow_for_lag(&mut self, wake: Instant) {
        let now = Instant::now();
        let lag = now.saturating_duration_since(wake);
        if lag < LAG {
            return;
        }
        let waiting = self
            .candidates
            .iter_mut()
            .filter_map(|candidate| candidate.in_time.as_mut());
        for in_time in waiting {
            in_time.until = in_time.until.max(now + lag);
            self.next_start = in_time.until;
        }
    }

    fn note_who_is_late(&mut self, now: Instant) {
        for candidate in &mut self.candidates {
            if let Some(InTime { asked, .. }) = candidate.in_time.take_if(|it| it.until <= now) {
                candidate.server.late(asked);
                candidate.tried.late(asked);
                self.errand.note(|| Event::Asked {
                    zone: self.upstream.zone.clone(),
                    server: candidate.server.to_string(),
                    key: self.key.clone(),
                    over: candidate.server.usual(),
                    outcome: Outcome::Late,
                    after: now - asked,
                });
            }
        }
    }

    /// An attempt's end, for whoever watches.
    fn story(&self, ended: &Ended) -> Event {
        let server = &self.candidates[ended.candidate].server;
        let (over, outcome) = match &ended.outcome {
            Ok((response, over)) => (*over, Outcome::of(response)),
            Err(trouble) => (server.usual(), Outcome::Failed(trouble.to_string())),
        };
        Event::Asked {
            zone: self.upstream.zone.clone(),
            server: server.to_string(),
            key: self.key.clone(),
            over,
            outcome,
            after: ended.asked.elapsed(),
        }
    }

    fn running(&self) -> u32 {
        self.candidates
            .iter()
            .map(|candidate| candidate.running)
            .sum()
    }

    /// Nobody is being asked, and nobody is left to ask.
    fn is_lost(&self) -> bool {
        self.running() == 0 && self.candidates.iter().all(|candidate| candidate.is_out)
    }

    fn failure(self) -> Failure {
        let zone = self.upstream.zone.clone();
        match self.trouble {
            Some((server, trouble)) => Failure::Server {
                zone,
                server: server.to_string(),
                trouble,
            },
            None => Failure::NoAnswer { zone },
        }
    }
}

/// Questions of one zone on their way at once: each holds a socket or a place on
/// a connection. A server that answers in 10 ms is then asked 100,000 times a
/// second; one that is dead costs 1,024 sockets. Beyond, questions wait.
const MAX_QUESTIONS: usize = 1_024;
/// Attempts of one question at once.
const MAX_ATTEMPTS: u32 = 8;
/// A probe is given so long, or as long as the question that it carries.
const PROBE_TIMEOUT: Duration = Duration::from_millis(1_900);
/// The dead are probed once a second.
const MOMENT_FOR_THE_DEAD: Duration = Duration::from_secs(1);
/// One question in so many is also sent to a delegate that is not known yet.
const STRANGERS: u32 = 16;
/// Between two looks for somebody who may be asked.
const PAUSE: Duration = Duration::from_millis(100);
/// The timer wakes to the millisecond when there is nothing else to do.
const LAG: Duration = Duration::from_millis(10);
