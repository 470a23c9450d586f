//! Binds the listening sockets, or takes those that were [`passed`](passed()).

mod passed;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

pub(crate) use self::passed::passed;
use crate::config::listen::ListenAddress;

/// An address on which nobody can be listened to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error(
        "cannot listen on {address}: address in use (another process holds it: `ss -ltnp sport = :{}` names it)",
        .address.port()
    )]
    InUse { address: ListenAddress },
    #[error("cannot listen on {address}: this host does not have that address")]
    NotOurs { address: ListenAddress },
    #[error(
        "cannot listen on {address}: not permitted (ports below 1024 need CAP_NET_BIND_SERVICE)"
    )]
    NotPermitted { address: ListenAddress },
    #[error("cannot listen on {address}")]
    Other {
        address: ListenAddress,
        source: io::Error,
    },
}

/// A listening, non-blocking socket. One socket serves all workers: with a socket each (`SO_REUSEPORT`) a
/// second rivers on the same address would silently take half of the clients instead of failing here.
///
/// # Errors
/// See [`ListenError`].
pub(crate) fn bind(address: ListenAddress) -> Result<TcpListener, ListenError> {
    let outcome = match bind_to(address.socket_addr()) {
        Err(error) if no_ipv6(&error) && matches!(address, ListenAddress::Any { .. }) => {
            bind_to((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        outcome => outcome,
    };
    outcome.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { address },
        io::ErrorKind::AddrNotAvailable => ListenError::NotOurs { address },
        io::ErrorKind::PermissionDenied => ListenError::NotPermitted { address },
        _ => ListenError::Other { address, source },
    })
}

fn bind_to(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restart must not wait for connections of the old process that are in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The kernel was built or started without IPv6.
fn no_ipv6(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(Errno::AFNOSUPPORT.raw_os_error())
        || code == Some(Errno::ADDRNOTAVAIL.raw_os_error())
}

/// Clients that may wait to be accepted; the kernel takes `net.core.somaxconn` if that is less.
const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn an_empty_host_takes_clients_of_the_loopback_interface() {
        let listener = bind(":0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect(("127.0.0.1", port)).unwrap();
    }

    #[test]
    fn a_port_in_use_is_named_with_the_command_that_finds_its_holder() {
        let holder = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = holder.local_addr().unwrap();
        let error = bind(ListenAddress::At(address)).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "cannot listen on {address}: address in use (another process holds it: `ss -ltnp sport = :{}` names it)",
                address.port()
            )
        );
    }

    #[test]
    fn an_address_of_another_host_is_refused() {
        // 192.0.2.0/24 is for documentation (RFC 5737).
        let error = bind("192.0.2.1:0".parse().unwrap()).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("this host does not have that address")
        );
    }
}
