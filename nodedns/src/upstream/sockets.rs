//! The sockets from which questions leave. A socket is kept for the next question,
//! but its port is not: what is dear is a socket, what a forger has to guess is the
//! port.
//!
//! ```text
//! connected: a kept socket, or a new one ─► a port is drawn ─► connect ─► Lent
//! Lent, dropped: the port is given back ─► what came late is thrown away ─► kept
//! ```

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::net::{RecvFlags, connect, connect_unspec, recvfrom};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::runtime::{self, Handle};

use crate::sys::want_port;
use crate::upstream::ports::Ports;

/// Sockets of all threads.
#[derive(Debug)]
pub(super) struct Sockets {
    ports: Ports,
    kept: Mutex<HashMap<Kind, Vec<UdpSocket>>>,
}

/// A socket is woken by the runtime in which it was made, and speaks one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Kind {
    runtime: runtime::Id,
    ipv6: bool,
}

impl Sockets {
    /// Those of this machine, of which none is there yet.
    pub(super) fn of_this_machine() -> Self {
        Self::with(Ports::of_this_machine())
    }

    fn with(ports: Ports) -> Self {
        Self {
            ports,
            kept: Mutex::default(),
        }
    }

    /// A socket connected to `server`, from a port that was drawn for it and that
    /// nobody else has.
    ///
    /// # Errors
    /// Those of socket(2), bind(2) and connect(2). `AddrInUse` when so many draws
    /// met ports in use that hardly any can be free.
    pub(super) fn connected(&self, server: SocketAddr) -> io::Result<Lent<'_>> {
        let kind = Kind {
            runtime: Handle::current().id(),
            ipv6: server.is_ipv6(),
        };
        let kept = self.lock().get_mut(&kind).and_then(Vec::pop);
        let socket = match kept {
            Some(socket) => socket,
            None => without_port(kind.ipv6)?,
        };
        for _ in 0..DRAWS {
            match want_port(&socket, self.ports.draw()) {
                Ok(()) => {}
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NOPROTOOPT) => {
                    return self.bound(server);
                }
                Err(error) => return Err(error),
            }
            match connect(&socket, &server) {
                Ok(()) => {
                    return Ok(Lent {
                        socket: Some(socket),
                        keeper: Some((self, kind)),
                    });
                }
                // Somebody has that port.
                Err(Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    /// The same where the kernel cannot be told which port a socket is to take when
    /// it connects: one that is bound cannot give its port back, and is not kept.
    fn bound(&self, server: SocketAddr) -> io::Result<Lent<'_>> {
        let any: IpAddr = if server.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let mut outcome = Err(io::ErrorKind::AddrInUse.into());
        for _ in 0..DRAWS {
            outcome = std::net::UdpSocket::bind((any, self.ports.draw()));
            match &outcome {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                _ => break,
            }
        }
        let socket = outcome?;
        socket.set_nonblocking(true)?;
        socket.connect(server)?;
        Ok(Lent {
            socket: Some(UdpSocket::from_std(socket)?),
            keeper: None,
        })
    }

    /// Keeps a socket that is connected to nobody, has no port, and nothing in its
    /// queue.
    fn keep(&self, kind: Kind, socket: UdpSocket) {
        if connect_unspec(&socket).is_err() || !empty(&socket) {
            return;
        }
        let mut kept = self.lock();
        let kept = kept.entry(kind).or_default();
        if kept.len() < KEPT {
            kept.push(socket);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Kind, Vec<UdpSocket>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket for one question, given back when dropped.
#[derive(Debug)]
pub(super) struct Lent<'a> {
    /// There until it is dropped.
    socket: Option<UdpSocket>,
    /// Who keeps it afterwards.
    keeper: Option<(&'a Sockets, Kind)>,
}

impl Lent<'_> {
    /// What `read` makes of the next datagram and who sent it, or that the server has no such
    /// port, waited for without end. Cancel safe.
    ///
    /// # Errors
    /// Those of recvfrom(2).
    pub(super) async fn receive<T>(&self, read: impl Fn(&[u8], SocketAddr) -> T) -> io::Result<T> {
        // A socket that was used before says that something is wrong with it by that
        // alone, and is not readable.
        let arrival = Interest::READABLE.add(Interest::ERROR);
        // Not by its own method, which looks only at what is readable. The buffer is not for the
        // time of the wait: a question would be four times as large.
        let receive = || {
            let mut buffer = [MaybeUninit::uninit(); BUFFER];
            let ((filled, _), _, from) = recvfrom(&**self, &mut buffer, RecvFlags::empty())?;
            let from = from.ok_or(io::ErrorKind::InvalidData)?;
            Ok(read(filled, from.try_into()?))
        };
        self.async_io(arrival, receive).await
    }
}

impl Deref for Lent<'_> {
    type Target = UdpSocket;

    fn deref(&self) -> &UdpSocket {
        self.socket.as_ref().expect("it is there until dropped")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let (Some(socket), Some((sockets, kind))) = (self.socket.take(), self.keeper) {
            sockets.keep(kind, socket);
        }
    }
}

/// A socket of no port.
fn without_port(ipv6: bool) -> io::Result<UdpSocket> {
    let domain = if ipv6 {
        socket2::Domain::IPV6
    } else {
        socket2::Domain::IPV4
    };
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM.nonblocking(), None)?;
    UdpSocket::from_std(socket.into())
}

/// Throws away what is in the queue, and what error is told; whether that came to an
/// end.
fn empty(socket: &UdpSocket) -> bool {
    let receive = || SockRef::from(socket).recv(&mut [MaybeUninit::uninit()]);
    (0..LATE).any(|_| {
        let mut is_asked = false;
        let mut arrived = socket.try_io(Interest::READABLE, || {
            is_asked = true;
            receive()
        });
        // The runtime has not looked at the socket since: the kernel knows.
        if !is_asked {
            arrived = receive();
        }
        matches!(arrived, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    })
}

/// With half of all ports in use, one question in 2^32 finds none.
const DRAWS: usize = 32;
/// Sockets of a thread that wait for a question.
const KEPT: usize = 256;
/// More than we say that we take: a server may know better.
const BUFFER: usize = 4_096;
/// Datagrams that may come late for one question.
const LATE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd as _;

    /// Sockets that may draw these ports.
    fn sockets(ports: &[u16]) -> Sockets {
        Sockets::with(Ports::of(ports))
    }

    /// A port that nobody has now.
    async fn free() -> u16 {
        let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        socket.local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn a_socket_is_kept_and_its_port_is_not() {
        for server in ["127.0.0.1:53", "[::1]:53"] {
            let sockets = Sockets::of_this_machine();
            let server = server.parse().unwrap();
            let first = sockets.connected(server).unwrap();
            let (descriptor, port) = (first.as_raw_fd(), first.local_addr().unwrap().port());
            drop(first);
            UdpSocket::bind(("0.0.0.0", port)).await.unwrap();

            let mut ports = vec![port];
            for _ in 0..20 {
                let next = sockets.connected(server).unwrap();
                assert_eq!(next.as_raw_fd(), descriptor);
                assert_eq!(next.peer_addr().unwrap(), server);
                ports.push(next.local_addr().unwrap().port());
            }
            ports.sort_unstable();
            ports.dedup();
            assert!(ports.len() > 15, "{ports:?}");
        }
    }

    #[tokio::test]
    async fn two_questions_at_once_have_a_socket_each() {
        let sockets = Sockets::of_this_machine();
        let server = "127.0.0.1:53".parse().unwrap();
        let (one, other) = (
            sockets.connected(server).unwrap(),
            sockets.connected(server).unwrap(),
        );
        assert_ne!(one.local_addr().unwrap(), other.local_addr().unwrap());
    }

    #[tokio::test]
    async fn what_comes_late_for_one_question_does_not_meet_the_next() {
        let sockets = Sockets::of_this_machine();
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let first = sockets.connected(address).unwrap();
        let descriptor = first.as_raw_fd();
        for _ in 0..3 {
            let to = first.local_addr().unwrap();
            server.send_to(b"late", to).await.unwrap();
        }
        drop(first);
        let second = sockets.connected(address).unwrap();
        assert_eq!(second.as_raw_fd(), descriptor);
        let to = second.local_addr().unwrap();
        server.send_to(b"in time", to).await.unwrap();
        let received = second.receive(|datagram, from| (datagram.to_vec(), from));
        assert_eq!(received.await.unwrap(), (b"in time".to_vec(), address));
    }

    #[tokio::test]
    async fn a_port_in_use_is_drawn_again() {
        let holder = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        let taken = holder.local_addr().unwrap().port();
        let server = "127.0.0.1:53".parse().unwrap();
        let full = sockets(&[taken]);
        for outcome in [full.connected(server), full.bound(server)] {
            assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        }
        let free = free().await;
        let half = sockets(&[taken, free]);
        for _ in 0..2 {
            let socket = half.connected(server).unwrap();
            assert_eq!(socket.local_addr().unwrap().port(), free);
        }
    }

    #[tokio::test]
    async fn an_older_kernel_gets_a_new_socket_for_each_question() {
        let free = free().await;
        let sockets = sockets(&[free]);
        let server = "127.0.0.1:53".parse().unwrap();
        for _ in 0..2 {
            let socket = sockets.bound(server).unwrap();
            assert_eq!(socket.local_addr().unwrap().port(), free);
            assert_eq!(socket.peer_addr().unwrap(), server);
        }
        assert!(sockets.lock().is_empty());
    }
}
