//! What a live connection tells of itself, for people who ask why it is where it is.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use super::{Connection, Stage};
use crate::{
    config::Listener,
    decide::{Choice, ListenerId},
    tried::Tried,
};

/// One connection as it is now.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) id: ListenerId,
    /// As it was when the client was accepted.
    pub(crate) listener: Arc<Listener>,
    pub(crate) client: SocketAddr,
    /// By this process or an earlier one.
    pub(crate) accepted: Instant,
    /// The attempts that did not win.
    pub(crate) tried: Tried,
    /// `None` while upstreams are being dialled.
    pub(crate) carried: Option<Carried>,
    pub(crate) to_upstream: u64,
    pub(crate) to_client: u64,
}

/// Where it is carried to.
#[derive(Debug)]
pub(crate) struct Carried {
    /// With the state in which it was chosen.
    pub(crate) upstream: Arc<Choice>,
    /// `None`: an earlier process had connected it.
    pub(crate) since: Option<Instant>,
    /// Whether the upstream has sent a byte.
    pub(crate) has_answered: bool,
}

impl Connection {
    /// Whether its client is at this address, which is canonical: `::ffff:10.0.0.1` is `10.0.0.1`.
    pub(crate) fn is_from(&self, client: SocketAddr) -> bool {
        canonical(self.address) == client
    }

    pub(crate) fn tell(&self) -> Live {
        let served = match &self.stage {
            Stage::Served(served) => Some(served),
            Stage::Dialling(_) | Stage::Between => None,
        };
        Live {
            id: self.serving.id,
            listener: Arc::clone(&self.serving.listener),
            client: self.address,
            accepted: self.accepted,
            tried: self.tried.clone(),
            carried: served.map(|served| Carried {
                upstream: Arc::clone(&served.choice),
                since: served.since,
                has_answered: served.down.bytes > 0,
            }),
            to_upstream: served.map_or(0, |served| served.up.bytes),
            to_client: served.map_or(0, |served| served.down.bytes),
        }
    }
}

/// An IPv4 client of a listener on `[::]` has its own address again.
pub(crate) const fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
