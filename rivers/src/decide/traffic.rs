//! What the workers tell of an upstream without asking anybody: how many connections it has, and when it
//! last delivered a byte; and how many clients it has been promised. Atomics that all workers share; a moment's delay in them does no harm. Pure:
//! the time is an argument.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// The record of one upstream, the same in every snapshot. Clones share it.
#[derive(Clone, Debug)]
pub struct Traffic(Arc<Record>);

#[derive(Debug)]
struct Record {
    connections: AtomicUsize,
    /// What `heard` counts from.
    origin: Instant,
    /// Milliseconds since `origin`, plus one; 0: never.
    heard: AtomicU64,
    promised: AtomicUsize,
}

impl Traffic {
    /// No connection, nothing heard.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self(Arc::new(Record {
            connections: AtomicUsize::new(0),
            origin: now,
            heard: AtomicU64::new(0),
            promised: AtomicUsize::new(0),
        }))
    }

    /// Adds one connection for as long as the result lives.
    #[must_use]
    pub fn enter(&self) -> Entered {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        Entered(self.clone())
    }

    /// The connections at this moment, those still being dialled included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::Relaxed)
    }

    /// A connection has read a byte from the upstream. One relaxed store; once a turn of a worker's loop
    /// is enough.
    pub fn hear(&self, now: Instant) {
        let since = now.saturating_duration_since(self.0.origin).as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX - 1) + 1;
        self.0.heard.store(since, Ordering::Relaxed);
    }

    /// A connection elsewhere has been closed so that it gets one: the client that comes next.
    pub fn promise(&self) {
        let more = |promised| (promised < PROMISES).then_some(promised + 1);
        // One that is not kept is no loss: the client goes where any other goes.
        let _ = (self.0.promised).fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Keeps a promise with this client, if one is open.
    #[must_use]
    pub fn keep_promise(&self) -> bool {
        let fewer = |promised: usize| promised.checked_sub(1);
        self.0.promised.load(Ordering::Relaxed) > 0
            && (self.0.promised)
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer)
                .is_ok()
    }

    /// No client is promised any more.
    pub fn break_promises(&self) {
        self.0.promised.store(0, Ordering::Relaxed);
    }

    /// When a byte was last read from the upstream, to a millisecond; `None`: never.
    #[must_use]
    pub fn heard(&self) -> Option<Instant> {
        let since = self.0.heard.load(Ordering::Relaxed).checked_sub(1)?;
        self.0.origin.checked_add(Duration::from_millis(since))
    }
}

/// One connection of an upstream, dialled or still being dialled.
#[derive(Debug)]
pub struct Entered(Traffic);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Clients that are promised at a time. Who was sent away comes again soon, or never.
const PROMISES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_kept_once_and_there_are_never_many() {
        let traffic = Traffic::new(Instant::now());
        assert!(!traffic.keep_promise());
        traffic.promise();
        assert!(traffic.keep_promise());
        assert!(!traffic.keep_promise());
        (0..100).for_each(|_| traffic.promise());
        assert_eq!(
            (0..100).filter(|_| traffic.keep_promise()).count(),
            PROMISES
        );
        traffic.promise();
        traffic.break_promises();
        assert!(!traffic.keep_promise());
    }

    #[test]
    fn connections_count_while_they_live() {
        let traffic = Traffic::new(Instant::now());
        let one = traffic.enter();
        let other = traffic.enter();
        assert_eq!(traffic.connections(), 2);
        drop((one, other));
        assert_eq!(traffic.connections(), 0);
    }

    #[test]
    fn the_last_byte_is_remembered_to_a_millisecond() {
        let origin = Instant::now();
        let traffic = Traffic::new(origin);
        assert_eq!(traffic.heard(), None);
        traffic.hear(origin);
        assert_eq!(traffic.heard(), Some(origin));
        traffic.hear(origin + Duration::from_micros(7_900));
        assert_eq!(traffic.heard(), Some(origin + Duration::from_millis(7)));
    }
}
