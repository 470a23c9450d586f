//! The order in which a question is answered on the worker, without waiting.
//!
//! ```text
//! packet ─► rate? ─► malformed? ─► access? ─► EDNS version? ─► class, RD? ─► hosts, special names ─► cache, denied above?
//!             │          │            │             │               │              │      hit │ │ miss
//!             ▼          ▼            ▼             ▼               ▼              ▼          ▼ ▼
//!         TC, silence  FORMERR     REFUSED       BADVERS         REFUSED        answer    answer Miss ─► resolve
//!                      NOTIMP, silence
//! ```
//!
//! No await and, on a hit, no allocation. An answer whose time is over is used when there
//! is no newer one (RFC 8767): at once where that is known, otherwise once the client has
//! waited for it. A hit on one whose time is almost over has the next one asked for.

mod admit;
mod cookies;
mod hosts;
mod limit;
mod made;
mod special;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::answer::admit::AccessList;
use crate::answer::cookies::Cookies;
use crate::answer::hosts::Hosts;
use crate::answer::limit::Rates;
use crate::answer::special::Special;
use crate::cache::Cache;
use crate::cache::entry::Entry;
use crate::cache::key::Key;
use crate::client::{Arrival, Client};
use crate::config::{self, Config, Limits};
use crate::instance::Instance;
use crate::metrics::{Limit, Lookup, Metrics, Unanswered};
use crate::query_log::{Line, QueryLog};
use crate::resolve::route::Routes;
use crate::seen::Seen;
use crate::wire::edns::{ErrorCode, ExtendedError, Options};
use crate::wire::patch::{self, Kept, Transport, Ttls};
use crate::wire::question::{Query, Unreadable};
use crate::wire::rotate;
use crate::wire::{CLASS_IN, Rcode};

/// Answers what can be answered at once. Shared by all workers.
pub(crate) struct Answers {
    routes: Arc<Routes>,
    cache: Arc<Cache>,
    stale: Stale,
    instance: Instance,
    access: AccessList,
    exempt: AccessList,
    rates: Rates,
    limits: Limits,
    cookies: Cookies,
    special: Special,
    hosts: Hosts,
    rotates: bool,
    seen: Arc<Seen>,
    log: QueryLog,
    metrics: Metrics,
}

/// What becomes of answers whose time is over.
struct Stale {
    config: config::Stale,
    prefetch: bool,
    /// What is said with them.
    answer: ExtendedError,
    denial: ExtendedError,
}

/// What was made of a kept answer.
enum Use {
    /// The answer; and whoever reads this is to ask for a newer one, if `ask`.
    Answer { lookup: Lookup, ask: bool },
    /// Nothing, but it can be the answer if there is no newer one.
    Kept,
    /// Nothing: its time is over for good.
    Over,
}

/// What became of a packet.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The answer is made.
    Answer,
    /// The answer is made, and a newer one is to be asked for.
    Refresh(Box<Key>),
    /// It gets none.
    Silence,
    /// Somebody has to be asked.
    Miss(Box<Miss>),
}

/// A query that waits for [`resolve`](crate::resolve).
#[derive(Debug)]
pub(crate) struct Miss {
    /// What has to be found.
    pub(crate) key: Key,
    /// Who waits.
    pub(crate) arrival: Arrival,
    /// Whether there is an answer whose time is over.
    pub(crate) has_old: bool,
    /// Whether it waited so long for its turn that nobody is to be flooded with its answer.
    pub(crate) is_of_a_pile: bool,
    packet: Box<[u8]>,
    /// Whether the log tells of it whatever comes of it.
    is_sampled: bool,
}

impl Answers {
    pub(crate) fn new(
        config: &Config,
        routes: Arc<Routes>,
        cache: Arc<Cache>,
        instance: Instance,
        seen: Arc<Seen>,
        metrics: Metrics,
    ) -> Self {
        let text = "its time is over, and nobody gives a newer one";
        Self {
            routes,
            cache,
            stale: Stale {
                config: config.cache.stale,
                prefetch: config.cache.prefetch,
                answer: ExtendedError::new(ErrorCode::StaleAnswer, text),
                denial: ExtendedError::new(ErrorCode::StaleNxdomainAnswer, text),
            },
            instance,
            access: AccessList::new(&config.access),
            exempt: AccessList::new(&config.limits.exempt),
            rates: Rates::new(config.limits.queries_per_second, Instant::now()),
            limits: config.limits.clone(),
            cookies: Cookies::new(),
            special: Special::new(),
            hosts: Hosts::new(&config.hosts),
            rotates: config.rotate_addresses,
            seen,
            log: QueryLog::new(config.query_log, metrics.clone()),
            metrics,
        }
    }

    /// Makes `out` the answer to `packet`, if it can be made now. Over TCP, a client's
    /// rate is for whoever reads to keep ([`may_ask`](Self::may_ask)).
    pub(crate) fn answer(&self, out: &mut Vec<u8>, packet: &[u8], arrival: Arrival) -> Outcome {
        self.metrics.query(arrival.transport);
        let is_too_much = arrival.transport == Transport::Udp && !self.may_ask(&arrival);
        let query = match self.read(packet, &arrival) {
            Ok(query) => query,
            Err(Unreadable::Silence) => {
                self.metrics.unanswered(Unanswered::NotAQuery);
                return Outcome::Silence;
            }
            Err(Unreadable::Error { .. } | Unreadable::Cookie { .. }) if is_too_much => {
                return self.too_often();
            }
            Err(Unreadable::Error { id, flags, rcode }) => {
                patch::bare(out, id, flags, rcode);
                self.metrics.answer(rcode);
                return Outcome::Answer;
            }
            Err(Unreadable::Cookie { id, flags, cookie }) => {
                let options = Options {
                    cookies: Some(self.cookies.answer(&cookie, &arrival)),
                    keepalive: None,
                };
                patch::cookies(out, id, flags, &options);
                self.metrics.answer(Rcode::NOERROR);
                return Outcome::Answer;
            }
        };
        // Probes of this node's health must not fail because a neighbour floods.
        if Instance::is_asked(&query) {
            self.instance.answer(out, &query, arrival.transport);
            self.metrics.answer(Rcode::NOERROR);
            return Outcome::Answer;
        }
        if is_too_much {
            // Queries draw their IDs at random.
            if !query.id.is_multiple_of(TRUNCATED_ONE_IN) {
                return self.too_often();
            }
            patch::truncated(out, &query);
            self.metrics.answer(Rcode::NOERROR);
            self.metrics.truncated.increment(1);
            return Outcome::Answer;
        }
        if !self.access.has(arrival.from) {
            self.metrics.limited(Limit::Access);
            let reason = ExtendedError::new(
                ErrorCode::Prohibited,
                "this client is not in access.allow of this resolver",
            );
            return self.error(out, &query, Rcode::REFUSED, Some(&reason));
        }
        self.answer_admitted(out, packet, &query, arrival)
    }

    /// Makes `out` the answer to `query`, which is in `packet`, whoever asks.
    pub(crate) fn answer_admitted(
        &self,
        out: &mut Vec<u8>,
        packet: &[u8],
        query: &Query<'_>,
        arrival: Arrival,
    ) -> Outcome {
        if let Some((rcode, reason)) = refusal(query) {
            return self.error(out, query, rcode, reason.as_ref());
        }
        let key = Key::of(query);
        self.seen.query(key.name(), arrival.from, arrival.at);
        let made = self.hosts.answer(query, key.name());
        let made = made.or_else(|| self.special.answer(query, key.name(), &self.routes));
        if let Some(made) = made {
            made.put(out, query, arrival.transport);
            self.metrics.answer(made.rcode);
            return Outcome::Answer;
        }
        let used = self.cache.look_up(&key, |entry, hits| {
            let used = self.make_use_of(entry, hits, out, query, &arrival);
            (used, entry.rcode())
        });
        let has_old = matches!(used, Some((Use::Kept, _)));
        let answered = match used {
            Some((Use::Answer { lookup, ask }, rcode)) => Some((lookup, ask, rcode)),
            Some((Use::Kept | Use::Over, _)) | None => self
                .denied_above(out, query, &key, &arrival)
                .then_some((Lookup::Denied, false, Rcode::NXDOMAIN)),
        };
        let lookup = answered.map_or(Lookup::Miss, |(lookup, ..)| lookup);
        self.metrics.lookup(lookup);
        let is_sampled = self.log.is_sampled();
        if let Some((_, ask, rcode)) = answered {
            if self.log.wants(is_sampled, rcode) {
                let line = Line {
                    key: &key,
                    arrival: &arrival,
                    rcode,
                    is_hit: true,
                    reason: None,
                };
                self.log.answered(&line, is_sampled, Instant::now());
            }
            return if ask {
                Outcome::Refresh(Box::new(key))
            } else {
                Outcome::Answer
            };
        }
        if self.routes.zone_of(key.name()).is_none() {
            let reason = ExtendedError::new(
                ErrorCode::NotAuthoritative,
                "the name is in no zone of this resolver",
            );
            return self.error(out, query, Rcode::REFUSED, Some(&reason));
        }
        Outcome::Miss(Box::new(Miss {
            key,
            arrival,
            has_old,
            is_of_a_pile: false,
            packet: packet.into(),
            is_sampled,
        }))
    }

    /// Reads `packet`, and what the OPT of its answer will say.
    fn read<'a>(&self, packet: &'a [u8], arrival: &Arrival) -> Result<Query<'a>, Unreadable> {
        let mut query = Query::parse(packet)?;
        if let Some(edns) = &query.edns {
            let cookie = edns.cookie.as_ref();
            let is_kept_open = edns.keepalive && arrival.transport == Transport::Tcp;
            query.options = Options {
                cookies: cookie.map(|cookie| self.cookies.answer(cookie, arrival)),
                keepalive: is_kept_open.then_some(KEEPALIVE),
            };
        }
        Ok(query)
    }

    /// Whether whoever sent it may ask once more now; takes note that he does.
    pub(crate) fn may_ask(&self, arrival: &Arrival) -> bool {
        let may =
            self.exempt.has(arrival.from) || self.rates.take(Client::of(arrival.from), arrival.at);
        if !may {
            self.metrics.limited(Limit::Rate);
        }
        may
    }

    /// When a client that may not ask just now had better be looked at again.
    pub(crate) const RATE_PAUSE: Duration = Rates::PAUSE;

    /// Whether a client may connect over TCP; [`Limits::connections`] for those who may.
    pub(crate) fn connections(&self, client: IpAddr) -> Option<usize> {
        if !self.access.has(client) {
            self.metrics.limited(Limit::Access);
            None
        } else if self.exempt.has(client) {
            Some(usize::MAX)
        } else {
            Some(self.limits.connections)
        }
    }

    /// How many questions of a client may wait for their answers.
    pub(crate) fn share(&self, client: IpAddr) -> Share {
        if self.exempt.has(client) {
            return Share {
                asked: usize::MAX,
                waiting: usize::MAX,
            };
        }
        Share {
            asked: self.limits.questions,
            waiting: self.limits.waiting,
        }
    }

    fn too_often(&self) -> Outcome {
        self.metrics.unanswered(Unanswered::TooOften);
        Outcome::Silence
    }

    /// Makes `out` the answer to a query that missed, now that it is there: one whose
    /// time is over rather than a failure.
    pub(crate) fn finish(&self, out: &mut Vec<u8>, miss: &Miss, entry: &Entry, now: Instant) {
        if entry.rcode() == Rcode::SERVFAIL && self.finish_with_old(out, miss, now) {
            return;
        }
        // It was read before it became a miss.
        if let Ok(query) = self.read(&miss.packet, &miss.arrival) {
            self.put(out, entry, &query, miss.arrival.transport, now);
            self.spare(out, miss, &query);
        }
        self.note_miss(miss, now);
        let reason = entry.error().map(|error| error.text.as_str());
        if entry.rcode() == Rcode::SERVFAIL {
            let reason = reason.unwrap_or("its server says so");
            self.seen.failure(miss.key.name(), reason, now);
        }
        let line = Line {
            key: &miss.key,
            arrival: &miss.arrival,
            rcode: entry.rcode(),
            is_hit: false,
            reason,
        };
        self.log.answered(&line, miss.is_sampled, now);
    }

    fn note_miss(&self, miss: &Miss, now: Instant) {
        let took = now.saturating_duration_since(miss.arrival.at);
        self.metrics.miss_seconds.record(took.as_secs_f64());
    }

    /// How long the client of a miss waits for an answer where there is an old one.
    pub(crate) const fn patience(&self) -> Duration {
        self.stale.config.client_response
    }

    /// Makes `out` the answer to a query that missed from what was known before, if that
    /// may still be used; then nobody asks again for a while.
    pub(crate) fn finish_with_old(&self, out: &mut Vec<u8>, miss: &Miss, now: Instant) -> bool {
        if !miss.has_old {
            return false;
        }
        let (Some(entry), Ok(query)) = (
            self.cache.last_known(&miss.key, now),
            self.read(&miss.packet, &miss.arrival),
        ) else {
            return false;
        };
        let transport = miss.arrival.transport;
        if entry.is_fresh(now) {
            // Another question has brought it meanwhile.
            self.put(out, &entry, &query, transport, now);
        } else {
            entry.put_off(now, self.stale.config.failure_recheck);
            self.put_stale(out, &entry, &query, transport);
        }
        self.spare(out, miss, &query);
        self.note_miss(miss, now);
        true
    }

    /// Makes of a large answer to one of a pile of questions a word to ask again over TCP,
    /// where its answer is by then: a pile is not worth making for what comes back.
    fn spare(&self, out: &mut Vec<u8>, miss: &Miss, query: &Query<'_>) {
        if miss.is_of_a_pile && out.len() > AMPLE * miss.packet.len() {
            patch::truncated(out, query);
            self.metrics.truncated.increment(1);
            self.metrics.limited(Limit::Pile);
        }
    }

    /// Makes `out` the answer to a query that missed when nobody may be asked.
    pub(crate) fn too_busy(&self, out: &mut Vec<u8>, miss: &Miss, now: Instant) {
        if self.finish_with_old(out, miss, now) {
            return;
        }
        if let Ok(query) = self.read(&miss.packet, &miss.arrival) {
            let reason = ExtendedError::new(
                ErrorCode::NotReady,
                "too many questions are waiting for servers",
            );
            self.error(out, &query, Rcode::SERVFAIL, Some(&reason));
        }
    }

    /// Makes `out` the answer from what is kept, if it is to be used now.
    fn make_use_of(
        &self,
        entry: &Entry,
        hits: u8,
        out: &mut Vec<u8>,
        query: &Query<'_>,
        arrival: &Arrival,
    ) -> Use {
        let (now, transport) = (arrival.at, arrival.transport);
        let Stale {
            config, prefetch, ..
        } = &self.stale;
        if entry.is_fresh(now) {
            self.put(out, entry, query, transport, now);
            let ask = *prefetch
                && hits >= WANTED
                && entry.is_almost_over(now)
                && entry.take_turn(now, config.failure_recheck);
            self.metrics.prefetches.increment(ask.into());
            let lookup = Lookup::Hit;
            return Use::Answer { lookup, ask };
        }
        if !entry.is_of_use(now) {
            return Use::Over;
        }
        let Some(zone) = self.routes.zone_for(entry.name(), query.rtype) else {
            return Use::Over;
        };
        if !entry.has_failed_lately(now) && !zone.source.is_dead() {
            return Use::Kept;
        }
        self.put_stale(out, entry, query, transport);
        Use::Answer {
            lookup: Lookup::Stale,
            ask: zone.source.take_turn() && entry.take_turn(now, config.failure_recheck),
        }
    }

    /// Makes `out` a denial of the name, where something above it is known not to exist.
    fn denied_above(
        &self,
        out: &mut Vec<u8>,
        query: &Query<'_>,
        key: &Key,
        arrival: &Arrival,
    ) -> bool {
        let zone = self.routes.zone_of(key.name());
        let denial = zone.and_then(|zone| zone.denial(key, arrival.at));
        if let Some(denial) = &denial {
            self.put(out, denial, query, arrival.transport, arrival.at);
        }
        denial.is_some()
    }

    /// Makes `out` the answer from what is kept for want of anything newer (RFC 8767 §4).
    /// Nobody vouches for it: signatures may have expired.
    fn put_stale(&self, out: &mut Vec<u8>, entry: &Entry, query: &Query<'_>, transport: Transport) {
        let error = match entry.rcode() {
            Rcode::NXDOMAIN => &self.stale.denial,
            _ => &self.stale.answer,
        };
        let kept = Kept {
            error: Some(error),
            is_secure: false,
            ..entry.kept()
        };
        let ttl = u32::try_from(self.stale.config.ttl.as_secs()).unwrap_or(u32::MAX);
        if patch::answer(out, kept, query, Ttls::All(ttl), transport) {
            self.metrics.truncated.increment(1);
        }
        self.metrics.stale.increment(1);
        self.metrics.answer(entry.rcode());
    }

    fn put(
        &self,
        out: &mut Vec<u8>,
        entry: &Entry,
        query: &Query<'_>,
        transport: Transport,
        now: Instant,
    ) {
        let ttls = Ttls::Aged(entry.age(now));
        if patch::answer(out, entry.kept(), query, ttls, transport) {
            self.metrics.truncated.increment(1);
        }
        if self.rotates {
            // Clients draw their IDs at random: as good as a counter that nobody shares.
            rotate::addresses(out, usize::from(query.id));
        }
        self.metrics.answer(entry.rcode());
    }

    fn error(
        &self,
        out: &mut Vec<u8>,
        query: &Query<'_>,
        rcode: Rcode,
        reason: Option<&ExtendedError>,
    ) -> Outcome {
        patch::error(out, query, rcode, reason);
        self.metrics.answer(rcode);
        Outcome::Answer
    }
}

/// Who was asked for so often since it was last looked at will be again.
const WANTED: u8 = 2;

/// How many questions of one client may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    /// Looked for at once. At least 1.
    pub(crate) asked: usize,
    /// In all. At least as many.
    pub(crate) waiting: usize,
}

/// Why a readable query is not served at all, if it is not.
fn refusal(query: &Query<'_>) -> Option<(Rcode, Option<ExtendedError>)> {
    let because = |code, text: &str| Some(ExtendedError::new(code, text));
    if query.edns.is_some_and(|edns| edns.version > 0) {
        return Some((Rcode::BADVERS, None));
    }
    if query.class != CLASS_IN {
        return Some((
            Rcode::REFUSED,
            because(ErrorCode::NotSupported, "only class IN is served"),
        ));
    }
    if special::is_unsupported(query.rtype) {
        return Some((
            Rcode::NOTIMP,
            because(ErrorCode::NotSupported, "no such query is served here"),
        ));
    }
    if !query.recursion_desired() {
        // RFC 8914 §4.21. Answering from the cache would show who asked what.
        return Some((
            Rcode::REFUSED,
            because(
                ErrorCode::NotAuthoritative,
                "ask with RD set: this is a resolver",
            ),
        ));
    }
    None
}

/// For how long a client may be silent on a connection, in tenths of a second. It is
/// closed after [`IDLE`], a little more.
const KEEPALIVE: u16 = (IDLE.as_millis() / 100) as u16 - 10;
/// How long a connection is kept open on which nothing happens (RFC 7766 §6.2.3: "a few
/// seconds").
pub(crate) const IDLE: Duration = Duration::from_secs(10);
/// An answer of a pile has at most so many times the bytes of its question.
const AMPLE: usize = 2;
/// Of the questions that come too often over UDP, one in so many is answered with TC:
/// an honest client comes back over TCP, and one whose address is forged gets a fourth of
/// what was sent in his name (the "slip" of response rate limiting).
const TRUNCATED_ONE_IN: u16 = 4;
