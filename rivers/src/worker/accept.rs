//! Takes clients from a listening socket, as long as there is room for them.
//!
//! When there is none (as many connections as there may be, or no descriptors), the socket is taken out of
//! what the worker waits for, and the clients behind it wait in the kernel; a little later it is looked at
//! again. A log line tells when that begins and when it is over, not each time.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    rc::Rc,
    time::{Duration, Instant},
};

use rustix::{
    event::epoll::{self, EventData, EventFlags},
    io::Errno,
    net::{SocketFlags, acceptfrom_with},
};
use tracing::{info, warn};

use super::slots::Slots;
use crate::{
    connection::{Client, Serving, tune},
    connections::Source,
};

/// A listening socket of one worker, and what it is for. All workers wait on the same socket, and the kernel
/// wakes one that sleeps: an idle worker wins over a busy one.
pub(super) struct Acceptor {
    pub(super) serving: Rc<Serving>,
    socket: OwnedFd,
    token: EventData,
    /// When it is looked at again; `None`: the kernel tells.
    resume_at: Option<Instant>,
    /// Whether the log says that clients wait.
    is_full: bool,
}

/// What accepting gave.
pub(super) enum Accepted {
    Client(Client),
    /// Nobody is there, or there is no room.
    Nobody,
}

impl Acceptor {
    /// # Errors
    /// The kernel refuses the socket.
    pub(super) fn new(
        number: u32,
        socket: TcpListener,
        serving: Rc<Serving>,
        epoll: &OwnedFd,
    ) -> io::Result<Self> {
        let socket = OwnedFd::from(socket);
        // Accepted sockets inherit them, which spares five system calls for each.
        tune(&socket, serving.listener.keepalive)?;
        let acceptor = Self {
            serving,
            socket,
            token: EventData::new_u64(Source::Listener(number).token()),
            resume_at: None,
            is_full: false,
        };
        acceptor.watch(epoll)?;
        Ok(acceptor)
    }

    /// The next client.
    pub(super) fn accept(&mut self, slots: &Slots, now: Instant, epoll: &OwnedFd) -> Accepted {
        if self.resume_at.is_some() {
            return Accepted::Nobody;
        }
        let Some(slot) = slots.take() else {
            self.pause(now, epoll, |listener| {
                warn!(
                    listener,
                    "as many connections as there may be; clients wait"
                );
            });
            return Accepted::Nobody;
        };
        loop {
            match accept(&self.socket) {
                Ok((socket, address)) => {
                    if self.is_full && slots.are_free() {
                        self.is_full = false;
                        let listener = &self.serving.listener.name;
                        info!(listener, "accepts clients again");
                    }
                    return Accepted::Client(Client {
                        socket,
                        address,
                        slot,
                    });
                }
                // The client is gone before it was accepted; the next one may be there.
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(Errno::AGAIN) => return Accepted::Nobody,
                Err(error) => {
                    self.failed(error.into(), now, epoll);
                    return Accepted::Nobody;
                }
            }
        }
    }

    /// A client could not be accepted, for want of descriptors or memory.
    pub(super) fn failed(&mut self, error: io::Error, now: Instant, epoll: &OwnedFd) {
        self.serving.meter.accept_failed();
        self.pause(now, epoll, |listener| {
            warn!(listener, %error, "cannot accept clients; raise the limit of open files");
        });
    }

    /// When it wants to be looked at although the kernel says nothing.
    pub(super) const fn resume_at(&self) -> Option<Instant> {
        self.resume_at
    }

    /// Waits for the kernel to tell of clients again, if it is time to.
    pub(super) fn resume(&mut self, now: Instant, epoll: &OwnedFd) {
        if self.resume_at.is_some_and(|at| at <= now) {
            // For want of memory, say.
            let failed = self.watch(epoll).is_err();
            self.resume_at = failed.then_some(now + PAUSE);
        }
    }

    /// Leaves the clients to others.
    pub(super) fn close(self, epoll: &OwnedFd) {
        // Other workers have the same socket, so that closing it here would not take it out of our epoll.
        let _ = epoll::delete(epoll, &self.socket);
    }

    fn watch(&self, epoll: &OwnedFd) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::EXCLUSIVE;
        Ok(epoll::add(epoll, &self.socket, self.token, flags)?)
    }

    fn pause(&mut self, now: Instant, epoll: &OwnedFd, say: impl FnOnce(&str)) {
        let _ = epoll::delete(epoll, &self.socket);
        self.resume_at = Some(now + PAUSE);
        if !self.is_full {
            self.is_full = true;
            say(&self.serving.listener.name);
        }
    }
}

fn accept(socket: &OwnedFd) -> Result<(OwnedFd, SocketAddr), Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (socket, address) = acceptfrom_with(socket, flags)?;
    // Only sockets of TCP get here, whose clients have an address.
    let address = address.and_then(|address| SocketAddr::try_from(address).ok());
    Ok((socket, address.ok_or(Errno::CONNABORTED)?))
}

/// How long to wait before room is looked for again.
const PAUSE: Duration = Duration::from_millis(100);
