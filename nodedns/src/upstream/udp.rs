//! A question in a datagram, from a port of its own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::net::UdpSocket;

use crate::upstream::accept::{Belief, believe};
use crate::upstream::pool::Server;
use crate::upstream::query::Sent;
use crate::wire::response::Response;

/// What a datagram brought.
#[derive(Debug)]
pub(super) enum Reply {
    /// A whole response.
    Whole(Response),
    /// The response was cut, or may be forged: TCP tells.
    AskOverTcp,
}

/// Sends the question from a fresh socket, whose port the kernel draws from all
/// that it has (RFC 5452 §9.2), and waits for the reply, without end: the caller
/// has the deadline. Connecting the socket leaves packets from elsewhere out, and
/// lets "port unreachable" through. Cancel safe.
///
/// # Errors
/// Those of the socket.
pub(super) async fn ask(server: &Server, sent: &Sent) -> io::Result<Reply> {
    let address = server.forward().address;
    let any: IpAddr = if address.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(address).await?;
    socket.send(sent.wire()).await?;
    let mut buffer = [0; BUFFER];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match believe(sent, &buffer[..length]) {
            Belief::Ours(response) if response.is_truncated() => return Ok(Reply::AskOverTcp),
            Belief::Ours(response) => return Ok(Reply::Whole(response)),
            Belief::OtherCase(_) | Belief::Bare(_) => {
                server.metrics().ignored.increment(1);
                return Ok(Reply::AskOverTcp);
            }
            Belief::NotOurs => server.metrics().ignored.increment(1),
        }
    }
}

/// More than we say that we take: a server may know better.
const BUFFER: usize = 4_096;
