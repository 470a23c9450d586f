//! What the director publishes, the snapshot and the moves that it wants, and the bells that tell workers to look at it.
//!
//! Workers sleep in the kernel, so each has an eventfd among the things that it waits for. It is rung for a
//! new snapshot (clients may wait for one), for moves and for commands; what to look at is the worker's business.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use rustix::{
    event::{EventfdFlags, eventfd},
    io::{read, write},
};

use crate::decide::{Id, ListenerId, Snapshot};

/// The last snapshot. Who has subscribed is woken for the next one.
#[derive(Debug)]
pub(crate) struct Published {
    snapshot: ArcSwap<Snapshot>,
    /// The last moves that were wanted.
    wanted: ArcSwap<Vec<Wanted>>,
    /// Only locked by who publishes and by workers that start.
    subscribers: Mutex<Vec<Bell>>,
}

impl Published {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            wanted: ArcSwap::default(),
            subscribers: Mutex::default(),
        }
    }

    /// From now on `bell` is rung for each snapshot.
    pub(crate) fn subscribe(&self, bell: Bell) {
        let mut subscribers = self.subscribers.lock();
        subscribers
            .as_mut()
            .unwrap_or_else(|poisoned| poisoned.get_mut())
            .push(bell);
    }

    /// Replaces the snapshot.
    pub(crate) fn store(&self, snapshot: Arc<Snapshot>) {
        self.snapshot.store(snapshot);
        self.ring();
    }

    fn ring(&self) {
        let subscribers = self.subscribers.lock();
        let subscribers = subscribers.unwrap_or_else(PoisonError::into_inner);
        subscribers.iter().for_each(Bell::ring);
    }

    /// The last one.
    pub(crate) fn load(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Wants these moves. Those that were wanted before and that no worker could make are forgotten.
    pub(crate) fn want(&self, moves: Vec<Wanted>) {
        self.wanted.store(Arc::new(moves));
        self.ring();
    }

    /// The moves that were wanted last. Each worker looks at them once.
    pub(crate) fn wanted(&self) -> Arc<Vec<Wanted>> {
        self.wanted.load_full()
    }
}

/// A connection that is to be closed so that its client goes elsewhere. One worker does it.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) listener: ListenerId,
    /// The upstream that it has.
    pub(crate) from: Id,
    /// The upstream that gets the client that comes next.
    pub(crate) to: Id,
    is_taken: AtomicBool,
}

impl Wanted {
    pub(crate) const fn new(listener: ListenerId, from: Id, to: Id) -> Self {
        Self {
            listener,
            from,
            to,
            is_taken: AtomicBool::new(false),
        }
    }

    /// Whether it is still to be done.
    pub(crate) fn is_open(&self) -> bool {
        !self.is_taken.load(Ordering::Relaxed)
    }

    /// Whether it is the caller's to do. It is so once.
    #[must_use]
    pub(crate) fn take(&self) -> bool {
        !self.is_taken.swap(true, Ordering::Relaxed)
    }
}

/// Wakes one worker. Clones ring the same.
#[derive(Clone, Debug)]
pub(crate) struct Bell(Arc<OwnedFd>);

impl Bell {
    /// # Errors
    /// Descriptors ran out.
    pub(crate) fn new() -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self(Arc::new(bell)))
    }

    pub(crate) fn ring(&self) {
        // It fails when 2⁶⁴ rings have not been heard.
        let _ = write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Makes it silent until it is rung again.
    pub(crate) fn hush(&self) {
        // It fails when it was silent.
        let _ = read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn rings(bell: &Bell) -> bool {
        let mut polled = [PollFd::new(bell, PollFlags::IN)];
        poll(&mut polled, Some(&Timespec::default())).unwrap() == 1
    }

    #[test]
    fn a_snapshot_rings_every_bell_until_it_is_heard() {
        let published = Published::new(Snapshot::default());
        let bells = [Bell::new().unwrap(), Bell::new().unwrap()];
        for bell in &bells {
            published.subscribe(bell.clone());
            assert!(!rings(bell));
        }
        published.store(Arc::default());
        published.store(Arc::default());
        for bell in &bells {
            assert!(rings(bell));
            bell.hush();
            assert!(!rings(bell));
        }
    }
}
