//! The order in which a question is answered on the worker, without waiting.
//!
//! ```text
//! packet ─► malformed? ─► EDNS version? ─► class, RD? ─► special names ─► cache
//!              │              │               │               │       hit │ │ miss
//!              ▼              ▼               ▼               ▼           ▼ ▼
//!           FORMERR        BADVERS         REFUSED         answer     answer Miss ─► resolve
//!           NOTIMP, silence
//! ```
//!
//! No await and, on a hit, no allocation.

mod special;

use std::sync::Arc;
use std::time::Instant;

use crate::cache::Cache;
use crate::cache::entry::Entry;
use crate::cache::key::Key;
use crate::instance::Instance;
use crate::metrics::{Metrics, Unanswered};
use crate::resolve::route::Routes;
use crate::wire::edns::{ErrorCode, ExtendedError};
use crate::wire::patch::{self, Transport};
use crate::wire::question::{Query, Unreadable};
use crate::wire::{CLASS_IN, Rcode};

/// Answers what can be answered at once. Shared by all workers.
pub(crate) struct Answers {
    routes: Arc<Routes>,
    cache: Arc<Cache>,
    instance: Instance,
    metrics: Metrics,
}

/// What became of a packet.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The answer is made.
    Answer,
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
    packet: Box<[u8]>,
    transport: Transport,
}

impl Answers {
    pub(crate) fn new(
        routes: Arc<Routes>,
        cache: Arc<Cache>,
        instance: Instance,
        metrics: Metrics,
    ) -> Self {
        Self {
            routes,
            cache,
            instance,
            metrics,
        }
    }

    /// Makes `out` the answer to `packet`, if it can be made now.
    pub(crate) fn answer(
        &self,
        out: &mut Vec<u8>,
        packet: &[u8],
        transport: Transport,
        now: Instant,
    ) -> Outcome {
        self.metrics.query(transport);
        let query = match Query::parse(packet) {
            Ok(query) => query,
            Err(Unreadable::Silence) => {
                self.metrics.unanswered(Unanswered::NotAQuery);
                return Outcome::Silence;
            }
            Err(Unreadable::Error { id, flags, rcode }) => {
                patch::bare(out, id, flags, rcode);
                self.metrics.answer(rcode);
                return Outcome::Answer;
            }
        };
        if Instance::is_asked(&query) {
            self.instance.answer(out, &query, transport);
            self.metrics.answer(Rcode::NOERROR);
            return Outcome::Answer;
        }
        if let Some((rcode, reason)) = refusal(&query) {
            return self.error(out, &query, rcode, reason.as_ref());
        }
        if let Some(rcode) = special::answer(out, &query, transport, &self.routes) {
            self.metrics.answer(rcode);
            return Outcome::Answer;
        }
        let key = Key::of(&query);
        let kept = self.cache.look_up(&key, now, |entry| {
            self.put(out, entry, &query, transport, now);
        });
        self.metrics.lookup(kept.is_some());
        if kept.is_some() {
            return Outcome::Answer;
        }
        if self.routes.zone_of(key.name()).is_none() {
            let reason = ExtendedError::new(
                ErrorCode::NotAuthoritative,
                "the name is in no zone of this resolver",
            );
            return self.error(out, &query, Rcode::REFUSED, Some(&reason));
        }
        Outcome::Miss(Box::new(Miss {
            key,
            packet: packet.into(),
            transport,
        }))
    }

    /// Makes `out` the answer to a query that missed, now that it is there.
    pub(crate) fn finish(&self, out: &mut Vec<u8>, miss: &Miss, entry: &Entry, now: Instant) {
        // It was read before it became a miss.
        if let Ok(query) = Query::parse(&miss.packet) {
            self.put(out, entry, &query, miss.transport, now);
        }
    }

    /// Makes `out` the answer to a query that missed when nobody may be asked.
    pub(crate) fn too_busy(&self, out: &mut Vec<u8>, miss: &Miss) {
        if let Ok(query) = Query::parse(&miss.packet) {
            let reason = ExtendedError::new(
                ErrorCode::NotReady,
                "too many questions are waiting for servers",
            );
            self.error(out, &query, Rcode::SERVFAIL, Some(&reason));
        }
    }

    fn put(
        &self,
        out: &mut Vec<u8>,
        entry: &Entry,
        query: &Query<'_>,
        transport: Transport,
        now: Instant,
    ) {
        if patch::answer(out, entry.kept(), query, entry.age(now), transport) {
            self.metrics.truncated.increment(1);
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
