//! Where the answers to misses go: into the stream that asked, or with those that are found at
//! about the same time out by one system call.

use std::net::UdpSocket;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::metrics::{Metrics, Unanswered};
use crate::sys;
use crate::sys::origin::Origin;

/// Who waits for an answer.
pub(super) enum Reply {
    Datagram { outbox: Arc<Outbox>, to: Origin },
    Stream(Owed),
}

impl Reply {
    /// Gives the answer. Where an outbox comes back, it is to be flushed soon, and nobody else
    /// does.
    #[must_use]
    pub(super) fn give(self, metrics: &Metrics, answer: Vec<u8>) -> Option<Arc<Outbox>> {
        match self {
            Self::Datagram { outbox, to } => outbox.put(answer, to).then_some(outbox),
            Self::Stream(owed) => {
                if owed.give(answer).is_err() {
                    metrics.unanswered(Unanswered::ClientGone);
                }
                None
            }
        }
    }
}

/// A socket, and answers that are about to leave by it. As many as questions that wait, hence
/// bounded by them.
pub(super) struct Outbox {
    pub(super) socket: UdpSocket,
    waiting: Mutex<Vec<(Vec<u8>, Origin)>>,
}

impl Outbox {
    pub(super) fn new(socket: UdpSocket) -> Self {
        Self {
            socket,
            waiting: Mutex::default(),
        }
    }

    /// Puts an answer in; whether it is the first.
    fn put(&self, answer: Vec<u8>, to: Origin) -> bool {
        let mut waiting = self.lock();
        waiting.push((answer, to));
        waiting.len() == 1
    }

    /// Sends what is in it, without waiting: when the socket is full the client asks again.
    pub(super) fn flush(&self, metrics: &Metrics) {
        let waiting = std::mem::take(&mut *self.lock());
        let failed = sys::batch::send_all(&self.socket, &waiting);
        metrics.all_unanswered(Unanswered::SendFailed, failed as u64);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Vec<u8>, Origin)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that a connection waits for. Where none is given the connection is told, or it
/// would wait for ever.
pub(super) struct Owed(Option<mpsc::Sender<Option<Vec<u8>>>>);

impl Owed {
    /// To this connection, which has room for it.
    pub(super) fn to(connection: &mpsc::Sender<Option<Vec<u8>>>) -> Self {
        Self(Some(connection.clone()))
    }

    /// Gives it.
    ///
    /// # Errors
    /// The connection is gone.
    fn give(mut self, answer: Vec<u8>) -> Result<(), Gone> {
        self.0.take().map_or(Ok(()), |connection| {
            connection.try_send(Some(answer)).map_err(|_| Gone)
        })
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            // There is room for each that waits; who has gone does not.
            let _ = connection.try_send(None);
        }
    }
}

struct Gone;
