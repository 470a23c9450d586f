//! The sockets on which clients ask: one for datagrams per worker and address, and one for
//! connections per address, from which all workers accept.
//!
//! SO_REUSEPORT has the kernel deal the datagrams out among the workers, and both kinds among
//! this process and the next during an upgrade. That a process has one listener and no more is
//! what lets it step aside without losing a connection.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tracing::warn;

use crate::sys;

/// The sockets of one address for one worker.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// With the port that the kernel chose for port 0.
    pub(crate) address: SocketAddr,
    pub(crate) udp: UdpSocket,
    /// The same one for all workers.
    pub(crate) tcp: TcpListener,
}

/// Opens the sockets of all addresses, a set for each worker.
///
/// # Errors
/// The first address that cannot be had. A machine without IPv6 has no `[::]`:
/// that is a warning when another address is there.
pub(crate) fn open(
    addresses: &[SocketAddr],
    workers: usize,
) -> Result<Vec<Vec<Sockets>>, ListenError> {
    let mut all: Vec<Vec<Sockets>> = (0..workers).map(|_| Vec::new()).collect();
    for address in addresses {
        let mut first: Option<&Sockets> = None;
        for worker in &mut all {
            let opened = first.map_or_else(|| Sockets::open(*address), Sockets::another);
            match opened {
                Ok(sockets) => {
                    worker.push(sockets);
                    first = first.or_else(|| worker.last());
                }
                Err(error) if error.is_lack_of_ipv6() && addresses.len() > 1 => {
                    warn!(%address, "this machine has no IPv6: not listening there");
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(all)
}

impl Sockets {
    /// Port 0 lets the kernel choose. It chooses for UDP, and the same port may be taken over TCP.
    fn open(address: SocketAddr) -> Result<Self, ListenError> {
        for _ in 1..CHOICES {
            match Self::open_once(address) {
                Err(error) if address.port() == 0 && error.is_in_use() => {}
                outcome => return outcome,
            }
        }
        Self::open_once(address)
    }

    fn open_once(address: SocketAddr) -> Result<Self, ListenError> {
        let udp = open_udp(address).map_err(|source| ListenError::new(address, "udp", source))?;
        let address = udp
            .local_addr()
            .map_err(|source| ListenError::new(address, "udp", source))?;
        let tcp = open_tcp(address).map_err(|source| ListenError::new(address, "tcp", source))?;
        Ok(Self { address, udp, tcp })
    }

    /// Those of one more worker.
    fn another(&self) -> Result<Self, ListenError> {
        let address = self.address;
        let udp = open_udp(address).map_err(|source| ListenError::new(address, "udp", source))?;
        let tcp = self.tcp.try_clone();
        let tcp = tcp.map_err(|source| ListenError::new(address, "tcp", source))?;
        Ok(Self { address, udp, tcp })
    }
}

fn open_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
    // A burst of all pods at once waits here. Without the right to more, the
    // kernel gives what the machine allows.
    if sys::force_receive_buffer(&socket, UDP_BUFFER).is_err() {
        socket.set_recv_buffer_size(UDP_BUFFER)?;
        let got = socket.recv_buffer_size()?;
        if got < UDP_BUFFER {
            warn!(
                %address,
                bytes = got,
                queries = got / PACKET,
                "a burst of more queries than that is cut off: raise net.core.rmem_max to 16777216, or give CAP_NET_ADMIN"
            );
        }
    }
    sys::ask_for_arrival(&socket, address.is_ipv6())?;
    // Last: from here on it gets its share of the queries.
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn open_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM, Protocol::TCP)?;
    // Connections of the process before this one still linger.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    // Whoever stepped aside here before may have left his word. Mostly nobody has, and that is an error.
    let _ = sys::choose_by_hash(&socket);
    Ok(socket.into())
}

/// A socket that shares its port.
fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // `[::]` and `0.0.0.0` are two addresses.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(true)?;
    Ok(socket)
}

/// An address cannot be listened on.
#[derive(Debug, Error)]
#[error("cannot listen on {address}/{protocol}: {}", way_out(*.address, .source))]
pub(crate) struct ListenError {
    address: SocketAddr,
    protocol: &'static str,
    source: io::Error,
}

impl ListenError {
    fn new(address: SocketAddr, protocol: &'static str, source: io::Error) -> Self {
        Self {
            address,
            protocol,
            source,
        }
    }

    fn is_in_use(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }

    fn is_lack_of_ipv6(&self) -> bool {
        self.address.is_ipv6()
            && self.address.ip().is_unspecified()
            && matches!(
                self.source.raw_os_error(),
                Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
            )
    }
}

fn way_out(address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "permission denied; ports below 1024 need CAP_NET_BIND_SERVICE: run as root, or give the capability to the container or the unit".to_owned()
        }
        io::ErrorKind::AddrInUse => format!(
            "the address is in use; `ss -lntup 'sport = :{port}'` names the holder. On port 53 that is often systemd-resolved (set `DNSStubListener=no` in resolved.conf) or another node-local DNS; or `listen` on one address that is free"
        ),
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have that address; `ip address` lists those it has".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Some 40,000 queries, for the kernel doubles it. Of 20,000 that came at once,
/// 8,988 were lost with 4 MiB on a busy machine.
const UDP_BUFFER: usize = 16 << 20;
/// What a waiting query takes there, however short.
const PACKET: usize = 768;
const BACKLOG: i32 = 1_024;
/// Ports that the kernel may choose before that is given up.
const CHOICES: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_an_address() {
        let all = open(&["127.0.0.1:0".parse().unwrap()], 2).unwrap();
        let addresses: Vec<_> = all
            .iter()
            .map(|worker| {
                let sockets = &worker[0];
                assert_eq!(sockets.udp.local_addr().unwrap(), sockets.address);
                assert_eq!(sockets.tcp.local_addr().unwrap(), sockets.address);
                sockets.address
            })
            .collect();
        assert_eq!(addresses[0], addresses[1]);
    }

    #[test]
    fn an_address_in_use_is_said_with_the_way_to_its_holder() {
        let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = holder.local_addr().unwrap();
        let error = open(&[address], 1).unwrap_err().to_string();
        let expected = format!("cannot listen on {address}/udp: the address is in use; `ss ");
        assert!(error.starts_with(&expected), "{error}");
    }

    #[test]
    fn an_address_of_another_machine_is_said() {
        let error = open(&["192.0.2.1:5300".parse().unwrap()], 1).unwrap_err();
        assert!(error.to_string().contains("does not have that address"));
    }
}
