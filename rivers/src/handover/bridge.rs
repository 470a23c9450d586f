//! Between the thread that talks to a new process and the composition root, which owns listeners and
//! workers: each request waits until it has been carried out.

use rustix::process::Pid;
use tokio::sync::{mpsc, oneshot};

use super::{Owner, Released};

/// What the composition root is asked to do.
#[derive(Debug)]
pub(crate) enum Request {
    /// See [`Owner::release`].
    Release(oneshot::Sender<Released>),
    /// See [`Owner::restore`].
    Restore(Released, oneshot::Sender<()>),
    /// See [`Owner::gone`].
    Gone(Option<Pid>, oneshot::Sender<()>),
}

/// The composition root, seen from the other thread.
#[derive(Debug)]
pub(crate) struct Bridge(mpsc::Sender<Request>);

impl Bridge {
    /// A bridge, and where its requests arrive.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (sender, requests) = mpsc::channel(1);
        (Self(sender), requests)
    }

    fn ask<T: Default>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> T {
        let (give, given) = oneshot::channel();
        // Where nobody answers the process is about to end.
        let _ = self.0.blocking_send(request(give));
        given.blocking_recv().unwrap_or_default()
    }
}

impl Owner for Bridge {
    fn release(&mut self) -> Released {
        self.ask(Request::Release)
    }

    fn restore(&mut self, released: Released) {
        self.ask(|done| Request::Restore(released, done));
    }

    fn gone(&mut self, successor: Option<Pid>) {
        self.ask(|done| Request::Gone(successor, done));
    }
}
