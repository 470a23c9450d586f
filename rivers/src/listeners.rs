//! The listening sockets and what they are for: makes the director and the workers carry what the
//! configuration says, at the start and whenever it has changed.
//!
//! A listener is known again by its name; then it keeps its [`ListenerId`], and with that all that is
//! believed of its upstreams. An address that stays keeps its socket, so that no client that waits in it
//! is lost. What can fail comes first, so that a change happens whole or not at all.

use std::{net::TcpListener, sync::Arc};

use anyhow::{Context as _, anyhow};
use tracing::info;

use crate::{
    config::{Listener, listen::ListenAddress},
    decide::ListenerId,
    director::{Change, Changes},
    listen::{self, ListenError},
    worker::Workers,
};

/// All that is listened to.
pub(crate) struct Listeners {
    changes: Changes,
    workers: Workers,
    open: Vec<Open>,
    next_id: u32,
}

/// One listener that there is, or is to be.
struct Open {
    id: ListenerId,
    listener: Arc<Listener>,
    socket: Arc<TcpListener>,
}

impl Listeners {
    /// Nothing is listened to yet.
    pub(crate) const fn new(changes: Changes, workers: Workers) -> Self {
        Self {
            changes,
            workers,
            open: Vec::new(),
            next_id: 0,
        }
    }

    /// Listens as `wanted` says from now on. Connections of listeners that go away stay.
    ///
    /// # Errors
    /// An address cannot be listened on; then everything is as it was.
    pub(crate) async fn apply(&mut self, wanted: &[Listener]) -> anyhow::Result<()> {
        let mut next = Vec::with_capacity(wanted.len());
        let mut shares = Vec::with_capacity(wanted.len());
        let mut next_id = self.next_id;
        for listener in wanted {
            let socket = self.socket(listener)?;
            let share = self.workers.share(&socket);
            shares.push(share.context("cannot share a listening socket among the workers")?);
            let id = self.known(&listener.name).map_or_else(
                || {
                    next_id += 1;
                    ListenerId(next_id - 1)
                },
                |known| known.id,
            );
            next.push(Open {
                id,
                listener: Arc::new(listener.clone()),
                socket,
            });
        }

        self.next_id = next_id;
        for (open, share) in next.iter().zip(shares) {
            let known = self.known(&open.listener.name);
            if known.is_some_and(|known| known.listener == open.listener) {
                continue;
            }
            let change = Change::Listen(open.id, Arc::clone(&open.listener));
            self.changes.tell(change).await;
            self.workers.listen(open.id, &open.listener, share).await;
            // With port 0 the kernel has chosen one.
            if let Ok(address) = open.socket.local_addr() {
                let Listener {
                    name, upstreams, ..
                } = &*open.listener;
                info!(listener = name, %address, upstreams = upstreams.len(), "listening");
            }
        }
        for gone in std::mem::replace(&mut self.open, next) {
            if self.open.iter().all(|open| open.id != gone.id) {
                self.workers.stop(gone.id).await;
                self.changes.tell(Change::Stop(gone.id)).await;
                let Listener { name, listen, .. } = &*gone.listener;
                info!(listener = name, address = %listen, "no longer listening");
            }
        }
        Ok(())
    }

    /// All that is listened to.
    pub(crate) fn open(&self) -> impl Iterator<Item = (ListenerId, Arc<Listener>)> {
        let open = self.open.iter();
        open.map(|open| (open.id, Arc::clone(&open.listener)))
    }

    fn known(&self, name: &str) -> Option<&Open> {
        self.open.iter().find(|open| open.listener.name == name)
    }

    /// The socket that listens on this listener's address already, or a new one.
    fn socket(&self, wanted: &Listener) -> anyhow::Result<Arc<TcpListener>> {
        let is_same = |open: &&Open| {
            open.listener.listen == wanted.listen
                && (wanted.listen.port() != 0 || open.listener.name == wanted.name)
        };
        if let Some(open) = self.open.iter().find(is_same) {
            return Ok(Arc::clone(&open.socket));
        }
        match listen::bind(wanted.listen) {
            Ok(socket) => Ok(Arc::new(socket)),
            Err(ListenError::InUse { address }) => Err(self.in_use(address)),
            Err(error) => Err(error.into()),
        }
    }

    /// The port may be taken by one of ours: 127.0.0.1:16443 is in the way of :16443.
    fn in_use(&self, address: ListenAddress) -> anyhow::Error {
        let mut ours = self.open.iter().map(|open| open.listener.listen);
        match ours.find(|ours| ours.port() == address.port()) {
            Some(ours) => anyhow!(
                "cannot listen on {address} while this process listens on {ours}; restart it to change over"
            ),
            None => ListenError::InUse { address }.into(),
        }
    }
}
