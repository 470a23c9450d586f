//! One side of a connection: its socket, and what the kernel last said of it.
//!
//! Sockets are registered once, edge-triggered: the kernel tells of a change once, so what it said is kept
//! here until a system call says otherwise.

use std::{io, net::SocketAddr, os::fd::OwnedFd, time::Duration};

use rustix::{
    event::epoll::{self, EventData, EventFlags},
    io::{Errno, ioctl_fionread},
    net::{
        AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, connect, recv,
        send, shutdown, socket_with, sockopt,
    },
    pipe::{SpliceFlags, splice},
};

use super::pipes::Pipe;
use crate::connections::Source;

/// A socket, non-blocking.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) socket: OwnedFd,
    /// A read may give something.
    pub(super) readable: bool,
    /// A write may take something.
    pub(super) writable: bool,
    /// No more bytes will come than those that are there: the end has to be read, too.
    pub(super) ended: bool,
    /// It has failed; the error has not necessarily been read.
    pub(super) failed: bool,
}

impl Leg {
    /// Has the kernel tell of everything that happens to a socket, under this name.
    ///
    /// # Errors
    /// The kernel has no memory for it.
    pub(super) fn register(socket: OwnedFd, source: Source, epoll: &OwnedFd) -> io::Result<Self> {
        let everything = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let token = EventData::new_u64(source.token());
        epoll::add(epoll, &socket, token, everything)?;
        Ok(Self {
            socket,
            readable: false,
            writable: false,
            ended: false,
            failed: false,
        })
    }

    /// Gives the socket away. To close it would not be enough: it lives on in another process, and the
    /// kernel would go on telling of it.
    pub(super) fn unregister(self, epoll: &OwnedFd) -> OwnedFd {
        // It can only fail for a socket that is not there, of which nothing is told either.
        let _ = epoll::delete(epoll, &self.socket);
        self.socket
    }

    /// Takes what the kernel said.
    pub(super) fn note(&mut self, said: EventFlags) {
        let over = said.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        self.readable |= over || said.contains(EventFlags::IN);
        self.writable |= said.contains(EventFlags::OUT);
        self.ended |= over;
        self.failed |= said.contains(EventFlags::ERR);
    }

    /// Reads what is there; `None`: nothing is.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let capacity = buffer.len();
        match retry(|| recv(&self.socket, &mut *buffer, RecvFlags::empty())) {
            Ok((_, bytes)) => {
                // A read that does not fill the buffer has emptied the socket (epoll(7) says so of
                // streams), and whatever comes next is told of: that saves the read that would only say
                // EAGAIN. An end that has been told of already is not told of again.
                self.readable = bytes == capacity || self.ended;
                Ok(Some(bytes))
            }
            Err(Errno::AGAIN) => {
                self.readable = false;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes as much as it takes, which may be nothing.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match retry(|| send(&self.socket, bytes, SendFlags::NOSIGNAL)) {
            Ok(written) => {
                self.writable = written == bytes.len();
                Ok(written)
            }
            Err(Errno::AGAIN) => {
                self.writable = false;
                Ok(0)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Moves what is there into an empty pipe; `None`: nothing is.
    pub(super) fn fill(&mut self, pipe: &mut Pipe, most: usize) -> io::Result<Option<usize>> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match retry(|| splice(&self.socket, None, &pipe.writer, None, most, flags)) {
            Ok(bytes) => {
                pipe.filled = bytes;
                Ok(Some(bytes))
            }
            Err(Errno::AGAIN) => {
                self.readable = false;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes as much of what is in the pipe as it takes, which may be nothing.
    pub(super) fn drain(&mut self, pipe: &mut Pipe) -> io::Result<()> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match retry(|| splice(&pipe.reader, None, &self.socket, None, pipe.filled, flags)) {
            Ok(bytes) => {
                pipe.filled -= bytes;
                Ok(())
            }
            Err(Errno::AGAIN) => {
                self.writable = false;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether bytes have come that nobody has read. Where the kernel does not say, there may be.
    pub(super) fn has_unread(&self) -> bool {
        !matches!(ioctl_fionread(&self.socket), Ok(0))
    }

    /// Sends a FIN after what has been written.
    pub(super) fn finish(&self) -> io::Result<()> {
        Ok(shutdown(&self.socket, Shutdown::Write)?)
    }

    /// The error with which it failed. The kernel tells it once.
    pub(super) fn error(&self) -> io::Error {
        match sockopt::socket_error(&self.socket) {
            Ok(Err(error)) => error.into(),
            _ => io::ErrorKind::ConnectionReset.into(),
        }
    }

    /// Makes its end a reset, whatever has not been delivered yet.
    pub(super) fn reset(&self) {
        // If it fails, the peer gets a FIN.
        let _ = sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
    }
}

/// A socket on its way to this address.
///
/// # Errors
/// It failed at once, which says something of this host or of its routes.
pub(super) fn dial(address: SocketAddr, keepalive: Duration) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    tune(&socket, keepalive)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// The options that both legs carry. `keepalive` is the silence after which the peer is asked for a sign
/// of life, and the time between questions; three unanswered ones end the connection. Sockets that are
/// accepted have them from the listening one.
///
/// # Errors
/// The kernel refuses one.
pub(crate) fn tune(socket: &OwnedFd, keepalive: Duration) -> io::Result<()> {
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, keepalive)?;
    sockopt::set_tcp_keepintvl(socket, keepalive)?;
    sockopt::set_tcp_keepcnt(socket, KEEPALIVE_PROBES)?;
    Ok(())
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            outcome => return outcome,
        }
    }
}

const KEEPALIVE_PROBES: u32 = 3;
