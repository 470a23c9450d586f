//! What the benchmarks (`bench/benches/answer_path.rs`) measure: the steps of the way to
//! an answer, one by one. Only built for them; no program calls it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cache::entry::{Entry, Limits};
use crate::cache::key::Key;
use crate::cache::{Cache, Capacity, Share};
use crate::fuzzing::Recorded;
use crate::validate::budget::Budget;
use crate::validate::{Judged, Validator};
use crate::wire::patch::{self, Transport, Ttls};
use crate::wire::question::Query;
use crate::wire::response::Response;

/// Reads a query, and makes the key of its answer.
#[must_use]
pub fn parse(packet: &[u8]) -> bool {
    Query::parse(packet).is_ok_and(|query| !Key::of(&query).name().is_empty())
}

/// A cache with answers in it.
#[derive(Debug)]
pub struct Answers {
    cache: Cache,
    now: Instant,
}

impl Answers {
    /// A cache of so many bytes, with nothing in it yet.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self {
            cache: Cache::new(Capacity {
                bytes,
                inner_share: 25,
            }),
            now: Instant::now(),
        }
    }

    /// Reads a server's answer to `packet` and keeps it, unless one of both is malformed.
    pub fn insert(&self, packet: &[u8], answer: &[u8]) -> Option<()> {
        let query = Query::parse(packet).ok()?;
        let response = Response::parse(answer.to_vec())?;
        let judged = Judged::unchecked(response);
        let entry = Entry::of(&Key::of(&query), judged, LIMITS, self.now);
        self.cache.insert(Arc::new(entry), Share::Outer, self.now);
        Some(())
    }

    /// Finds the answer to `packet`.
    #[must_use]
    pub fn look_up(&self, packet: &[u8]) -> bool {
        let query = Query::parse(packet);
        query.is_ok_and(|query| {
            let found = self.cache.look_up(&Key::of(&query), |_, _| ());
            found.is_some()
        })
    }

    /// Makes `out` the answer to `packet`, if there is one: all that a hit costs but
    /// for the system calls.
    pub fn answer(&self, out: &mut Vec<u8>, packet: &[u8]) -> Option<()> {
        let query = Query::parse(packet).ok()?;
        self.cache.look_up(&Key::of(&query), |entry, _| {
            let age = entry.age(self.now);
            patch::answer(out, entry.kept(), &query, Ttls::Aged(age), Transport::Udp);
        })
    }
}

/// An answer with the chain of trust that leads to it, as the fuzz target `validation`
/// records it.
#[derive(Debug)]
pub struct Chain<'a> {
    recorded: Recorded<'a>,
    known: Validator,
}

impl<'a> Chain<'a> {
    /// Nothing when `recorded` is no record, or its answer not secure.
    #[must_use]
    pub fn read(recorded: &'a [u8]) -> Option<Self> {
        let recorded = Recorded::read(recorded)?;
        let chain = Self {
            known: recorded.validator(),
            recorded,
        };
        chain.judge(&chain.known).then_some(chain)
    }

    /// Judges the answer, knowing nothing but the root's key: whether it is secure.
    #[must_use]
    pub fn judge_from_the_root(&self) -> bool {
        self.judge(&self.recorded.validator())
    }

    /// Judges the answer, the keys of its zone known.
    #[must_use]
    pub fn judge_with_known_keys(&self) -> bool {
        self.judge(&self.known)
    }

    fn judge(&self, validator: &Validator) -> bool {
        let mut budget = Budget::new();
        loop {
            if let Some((_, judged)) = self.recorded.step(validator, &mut budget) {
                return judged.is_secure();
            }
        }
    }
}

const LIMITS: Limits = Limits {
    positive: Duration::from_secs(86_400),
    least: Duration::ZERO,
    negative: Duration::from_secs(3_600),
    stale: Duration::ZERO,
};
