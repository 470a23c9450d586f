//! The listening sockets and what they are for: makes the director and the workers carry what the
//! configuration says, at the start and whenever it has changed.
//!
//! A listener is known again by its name; then it keeps its [`ListenerId`], and with that all that is
//! believed of its upstreams. An address that stays keeps its socket, so that no client that waits in it
//! is lost. What can fail comes first, so that a change happens whole or not at all.

use std::{net::TcpListener, sync::Arc};

use anyhow::{Context as _, anyhow};
use arc_swap::ArcSwap;
use tracing::{error, info};

use crate::{
    config::{Listener, listen::ListenAddress},
    decide::ListenerId,
    director::{Change, Changes},
    handover::{
        Released,
        record::{Handed, HandedListener},
    },
    listen::{self, ListenError},
    worker::{Adopted, Workers},
};

/// All that is listened to.
pub(crate) struct Listeners {
    changes: Changes,
    workers: Workers,
    open: Vec<Open>,
    /// Sockets of an earlier process or of the service manager that no listener has claimed yet.
    spare: Vec<HandedListener>,
    next_id: u32,
    shown: Shown,
}

/// What is listened to, for those who look at it from other threads.
pub(crate) type Shown = Arc<ArcSwap<Vec<Listening>>>;

/// One listener that is open.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) id: ListenerId,
    pub(crate) listener: Arc<Listener>,
    /// With the port that the kernel chose for port 0.
    pub(crate) address: String,
}

/// Listeners that can be opened, since everything that might fail has been done.
pub(crate) struct Prepared {
    next: Vec<Open>,
    shares: Vec<Vec<TcpListener>>,
    next_id: u32,
}

/// One listener that there is, or is to be.
struct Open {
    id: ListenerId,
    listener: Arc<Listener>,
    socket: Arc<TcpListener>,
}

impl Open {
    fn show(&self) -> Listening {
        let listen = self.listener.listen;
        let bound = self.socket.local_addr().ok();
        Listening {
            id: self.id,
            listener: Arc::clone(&self.listener),
            address: match bound {
                Some(bound) if listen.port() == 0 => bound.to_string(),
                _ => listen.to_string(),
            },
        }
    }
}

impl Listeners {
    /// Nothing is listened to yet. Where a listener wants the address of one of these sockets it gets that
    /// socket, with the clients that wait in it. What is listened to is always in `shown`.
    pub(crate) const fn new(
        changes: Changes,
        workers: Workers,
        spare: Vec<HandedListener>,
        shown: Shown,
    ) -> Self {
        Self {
            changes,
            workers,
            open: Vec::new(),
            spare,
            next_id: 0,
            shown,
        }
    }

    /// Listens as `wanted` says from now on. Connections of listeners that go away stay.
    ///
    /// # Errors
    /// An address cannot be listened on; then everything is as it was.
    pub(crate) async fn apply(&mut self, wanted: &[Listener]) -> anyhow::Result<()> {
        let prepared = self.prepare(wanted)?;
        self.start(prepared).await;
        Ok(())
    }

    /// Binds what is to be bound for `wanted`, and changes nothing yet.
    ///
    /// # Errors
    /// An address cannot be listened on.
    pub(crate) fn prepare(&mut self, wanted: &[Listener]) -> anyhow::Result<Prepared> {
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
        Ok(Prepared {
            next,
            shares,
            next_id,
        })
    }

    /// Listens as was prepared.
    pub(crate) async fn start(&mut self, prepared: Prepared) {
        let Prepared {
            next,
            shares,
            next_id,
        } = prepared;
        self.next_id = next_id;
        // No listener of ours wants what is left, and nobody else can have it while it is open.
        self.spare.clear();
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
        let shown = self.open.iter().map(Open::show).collect();
        self.shown.store(Arc::new(shown));
    }

    /// Gives all that is listened to and all connections away; nobody is served from now on.
    pub(crate) async fn release(&self) -> Released {
        let connections = self.workers.release().await;
        let sockets = self.open.iter().filter_map(|open| {
            Some(HandedListener {
                address: open.listener.listen,
                // Without a descriptor left this address is lost, and the others are not.
                socket: open.socket.try_clone().ok()?,
            })
        });
        Released {
            listeners: sockets.collect(),
            connections,
        }
    }

    /// Serves again, after nobody else did.
    pub(crate) async fn restore(&self, released: Released) {
        for open in &self.open {
            match self.workers.share(&open.socket) {
                Ok(shares) => self.workers.listen(open.id, &open.listener, shares).await,
                Err(error) => {
                    let listener = &open.listener.name;
                    error!(listener, %error, "cannot listen again; restart this process");
                }
            }
        }
        self.adopt(released.connections).await;
    }

    /// Goes on with connections that another process began. One whose listener is not there any more lives
    /// on as one of the first listener.
    pub(crate) async fn adopt(&self, connections: Vec<Handed>) {
        let adopted = connections.into_iter().filter_map(|handed| {
            let known = self.known(&handed.listener).or_else(|| self.open.first())?;
            Some(Adopted {
                id: known.id,
                listener: Arc::clone(&known.listener),
                handed,
            })
        });
        self.workers.adopt(adopted.collect()).await;
    }

    /// The addresses that are listened on.
    pub(crate) fn addresses(&self) -> Vec<ListenAddress> {
        self.open.iter().map(|open| open.listener.listen).collect()
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
    fn socket(&mut self, wanted: &Listener) -> anyhow::Result<Arc<TcpListener>> {
        let is_same = |open: &&Open| {
            open.listener.listen == wanted.listen
                && (wanted.listen.port() != 0 || open.listener.name == wanted.name)
        };
        if let Some(open) = self.open.iter().find(is_same) {
            return Ok(Arc::clone(&open.socket));
        }
        // One that a service manager has opened for every address is not called `:PORT`.
        let bound = ListenAddress::At(wanted.listen.socket_addr());
        let handed = |it: &HandedListener| {
            (it.address == wanted.listen || it.address == bound) && it.address.port() != 0
        };
        if let Some(place) = self.spare.iter().position(handed) {
            return Ok(Arc::new(self.spare.swap_remove(place).socket));
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
