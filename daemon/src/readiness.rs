//! What `/readyz` still waits for, and the heartbeats behind `/healthz`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The state of one process as its probes see it. Clones share it.
#[derive(Debug, Clone)]
pub struct Readiness {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    started: Instant,
    pending: Mutex<Vec<String>>,
    draining: AtomicBool,
    /// By subject.
    remarks: Mutex<BTreeMap<&'static str, String>>,
    heartbeats: Mutex<Vec<Arc<Beat>>>,
}

#[derive(Debug)]
struct Beat {
    name: String,
    /// Milliseconds since the process started.
    last: AtomicU64,
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// Nothing to wait for, nothing that must beat.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                started: Instant::now(),
                pending: Mutex::default(),
                draining: AtomicBool::new(false),
                remarks: Mutex::default(),
                heartbeats: Mutex::default(),
            }),
        }
    }

    /// Names something that must happen before the program is ready. It has
    /// happened when the returned value is dropped.
    #[must_use]
    pub fn task(&self, name: impl Into<String>) -> Pending {
        let name = name.into();
        lock(&self.shared.pending).push(name.clone());
        Pending {
            name,
            shared: Arc::clone(&self.shared),
        }
    }

    /// The names of all that has not happened yet; `draining` once
    /// [`drain`](Self::drain) was called.
    #[must_use]
    pub fn pending(&self) -> Vec<String> {
        let mut pending = lock(&self.shared.pending).clone();
        if self.shared.draining.load(Ordering::Relaxed) {
            pending.push("draining".to_owned());
        }
        pending
    }

    /// Something that a person should know although the program is ready; `None` takes it back. There is
    /// one remark a subject.
    pub fn remark(&self, subject: &'static str, remark: Option<String>) {
        let mut remarks = lock(&self.shared.remarks);
        match remark {
            Some(remark) => drop(remarks.insert(subject, remark)),
            None => drop(remarks.remove(subject)),
        }
    }

    /// All remarks, each as `subject: remark`.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let remarks = lock(&self.shared.remarks);
        let lines = remarks.iter();
        lines
            .map(|(subject, remark)| format!("{subject}: {remark}"))
            .collect()
    }

    /// From now on the program is not ready: it is about to stop.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// Names an event loop that calls [`Heartbeat::beat`] at least each second.
    #[must_use]
    pub fn heartbeat(&self, name: impl Into<String>) -> Heartbeat {
        let beat = Arc::new(Beat {
            name: name.into(),
            last: AtomicU64::new(self.now()),
        });
        lock(&self.shared.heartbeats).push(Arc::clone(&beat));
        Heartbeat {
            beat,
            readiness: self.clone(),
        }
    }

    /// The event loops that have not beaten for [`STUCK_AFTER`].
    #[must_use]
    pub fn stuck(&self) -> Vec<String> {
        let now = self.now();
        let limit = u64::try_from(STUCK_AFTER.as_millis()).unwrap_or(u64::MAX);
        lock(&self.shared.heartbeats)
            .iter()
            .filter(|beat| now.saturating_sub(beat.last.load(Ordering::Relaxed)) > limit)
            .map(|beat| beat.name.clone())
            .collect()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.shared.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Something that has yet to happen; dropping it says that it has.
#[derive(Debug)]
pub struct Pending {
    name: String,
    shared: Arc<Shared>,
}

impl Pending {
    /// It has happened.
    pub fn done(self) {}
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut pending = lock(&self.shared.pending);
        if let Some(at) = pending.iter().position(|name| *name == self.name) {
            pending.remove(at);
        }
    }
}

/// The sign of life of one event loop; a loop that has ended takes it along.
#[derive(Debug)]
pub struct Heartbeat {
    beat: Arc<Beat>,
    readiness: Readiness,
}

impl Heartbeat {
    /// The loop turns. One relaxed store.
    pub fn beat(&self) {
        self.beat
            .last
            .store(self.readiness.now(), Ordering::Relaxed);
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        lock(&self.readiness.shared.heartbeats).retain(|beat| !Arc::ptr_eq(beat, &self.beat));
    }
}

/// An event loop that is silent for longer is stuck. Five times the period in
/// which a healthy one beats.
pub const STUCK_AFTER: Duration = Duration::from_secs(5);

/// A panic elsewhere must not take the probes along.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_task_is_done() {
        let readiness = Readiness::new();
        let listen = readiness.task("listen");
        let cache = readiness.task("cache");
        assert_eq!(readiness.pending(), ["listen", "cache"]);
        listen.done();
        assert_eq!(readiness.pending(), ["cache"]);
        drop(cache);
        assert!(readiness.pending().is_empty());
    }

    #[test]
    fn a_remark_is_there_until_it_is_taken_back_and_does_not_make_unready() {
        let readiness = Readiness::new();
        for remark in ["one", "other"] {
            readiness.remark("configuration", Some(remark.to_owned()));
            assert_eq!(readiness.remarks(), [format!("configuration: {remark}")]);
        }
        assert!(readiness.pending().is_empty());
        readiness.remark("configuration", None);
        assert!(readiness.remarks().is_empty());
    }

    #[test]
    fn draining_is_not_ready() {
        let readiness = Readiness::new();
        readiness.drain();
        assert_eq!(readiness.pending(), ["draining"]);
    }

    #[test]
    fn a_silent_loop_is_stuck_until_it_beats_or_ends() {
        let readiness = Readiness::new();
        let heartbeat = readiness.heartbeat("worker 0");
        assert!(readiness.stuck().is_empty());
        let limit = u64::try_from(STUCK_AFTER.as_millis()).unwrap();
        let aged = Readiness {
            shared: Arc::new(Shared {
                started: readiness.shared.started - STUCK_AFTER - Duration::from_secs(1),
                pending: Mutex::default(),
                draining: AtomicBool::new(false),
                remarks: Mutex::default(),
                heartbeats: Mutex::new(lock(&readiness.shared.heartbeats).clone()),
            }),
        };
        assert!(aged.now() > limit);
        assert_eq!(aged.stuck(), ["worker 0"]);
        drop(heartbeat);
        assert!(readiness.stuck().is_empty());
    }
}
