//! What is handed over. Whoever has such a value owns the descriptors in it: the old process takes them
//! out of its workers, and puts the very same values back if the hand-over fails.

use std::{
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    time::Duration,
};

use crate::config::{address::Address, listen::ListenAddress};

/// A listening socket.
#[derive(Debug)]
pub(crate) struct HandedListener {
    /// As the old process's configuration writes it.
    pub(crate) address: ListenAddress,
    pub(crate) socket: TcpListener,
}

/// One client, with all that its next owner has to know.
#[derive(Debug)]
pub(crate) struct Handed {
    /// Name of the listener that accepted it.
    pub(crate) listener: String,
    pub(crate) client: OwnedFd,
    pub(crate) address: SocketAddr,
    /// Since it was accepted.
    pub(crate) age: Duration,
    pub(crate) stage: Stage,
}

/// How far a client has come.
#[derive(Debug)]
pub(crate) enum Stage {
    /// It has no upstream yet, and has said this, which the kernel does not have any more: the new process
    /// dials for it anew.
    Dialling(Vec<u8>),
    /// It has one.
    Relaying(Box<Relaying>),
}

/// A client with its upstream.
#[derive(Debug)]
pub(crate) struct Relaying {
    pub(crate) upstream: OwnedFd,
    pub(crate) address: Address,
    /// What the client has said, while the upstream has not said anything and it may be said again to
    /// another one.
    pub(crate) replay: Option<Vec<u8>>,
    pub(crate) to_upstream: Direction,
    pub(crate) to_client: Direction,
}

/// One direction of a relayed connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Direction {
    /// Taken from the source so far.
    pub(crate) bytes: u64,
    /// The last of them, which the sink has not taken yet.
    pub(crate) unsent: Vec<u8>,
    /// Whether the source's FIN has been passed on. One that has not is still to be read: the kernel says it
    /// as often as it is asked.
    pub(crate) is_over: bool,
}
