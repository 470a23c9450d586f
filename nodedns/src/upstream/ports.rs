//! The ports from which questions leave: each drawn anew from all that the
//! machine sets aside for it (RFC 5452 §9.2), less those reserved for others, by
//! every thread alike. A forger has to guess among some 28,000.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rand::seq::IndexedRandom as _;
use tokio::net::UdpSocket;

/// The ports that may be drawn.
#[derive(Debug)]
pub(super) struct Ports(Vec<u16>);

impl Ports {
    /// The range and the reservations of this machine, as they are now.
    pub(super) fn of_this_machine() -> Self {
        let read = |name: &str| {
            fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default()
        };
        Self::parse(
            &read("ip_local_port_range"),
            &read("ip_local_reserved_ports"),
        )
    }

    /// `range` is two numbers, `reserved` a list as in `8080,9000-9010`. What
    /// cannot be read is left out; a range that cannot is the kernel's default.
    fn parse(range: &str, reserved: &str) -> Self {
        let mut bounds = range
            .split_whitespace()
            .filter_map(|text| text.parse().ok());
        let (from, to) = match (bounds.next(), bounds.next()) {
            (Some(from), Some(to)) => (from, to),
            _ => DEFAULT_RANGE,
        };
        let reserved: Vec<_> = reserved
            .trim()
            .split(',')
            .filter_map(|part| {
                let (from, to) = part.split_once('-').unwrap_or((part, part));
                Some(from.parse::<u16>().ok()?..=to.parse::<u16>().ok()?)
            })
            .collect();
        let is_free = |port: &u16| *port > 0 && !reserved.iter().any(|range| range.contains(port));
        Self((from..=to).filter(is_free).collect())
    }

    /// A socket of a port that nobody else has.
    ///
    /// # Errors
    /// Those of bind(2). `AddrInUse` when so many draws met ports in use that
    /// hardly any can be free.
    pub(super) fn socket_for(&self, server: SocketAddr) -> io::Result<UdpSocket> {
        let any: IpAddr = if server.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let mut outcome = Err(io::ErrorKind::AddrInUse.into());
        for _ in 0..DRAWS {
            // Where all are reserved, the kernel may know better.
            let port = self.0.choose(&mut rand::rng()).copied().unwrap_or(0);
            outcome = std::net::UdpSocket::bind((any, port));
            match &outcome {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                _ => break,
            }
        }
        let socket = outcome?;
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    }
}

const DEFAULT_RANGE: (u16, u16) = (32_768, 60_999);
/// With half of all ports in use, one question in 2^32 finds none.
const DRAWS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_ports_are_left_out_of_the_range() {
        let ports = Ports::parse("1000\t1010\n", "1,1000,1003-1005,1010-1100\n");
        assert_eq!(ports.0, [1001, 1002, 1006, 1007, 1008, 1009]);
    }

    #[test]
    fn what_cannot_be_read_is_the_default() {
        for range in ["", "x y", "70000 80000"] {
            let ports = Ports::parse(range, "");
            assert_eq!(ports.0.len(), 28_232, "{range}");
        }
        assert_eq!(Ports::parse("1 2", "x,2-y").0, [1, 2]);
    }

    #[tokio::test]
    async fn a_port_in_use_is_drawn_again() {
        let holder = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        let taken = holder.local_addr().unwrap();
        let server = "127.0.0.1:53".parse().unwrap();
        let full = Ports(vec![taken.port()]);
        let error = full.socket_for(server).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        // Free again as soon as it is dropped.
        let other = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        let free = other.local_addr().unwrap().port();
        drop(other);
        let half = Ports(vec![taken.port(), free]);
        let socket = half.socket_for(server).unwrap();
        assert_eq!(socket.local_addr().unwrap().port(), free);
    }
}
