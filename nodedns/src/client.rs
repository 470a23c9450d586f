//! Who asks, and when. As far as limits tell one client from another it is an IPv4 address, or the /64
//! of an IPv6 address, of which a client has as many as it likes (RFC 4291 §2.5.1).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::wire::patch::Transport;

/// Until when is done what is done about a question. Whoever asked gives up after 5 s
/// (resolv.conf(5)), and is to be told before that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due(Instant);

impl Due {
    /// Of a question that came then, or was made.
    pub(crate) const fn since(start: Instant) -> Self {
        Self(start)
    }

    /// Its turn comes by then, and up to a second later, or not at all.
    pub(crate) fn turn_by(self) -> Instant {
        self.0 + TURN
    }

    /// Servers are asked until then, counted from when its turn came: what is found late is
    /// still for the cache.
    pub(crate) fn asked_by(self) -> Instant {
        self.0 + ASKING
    }

    /// By then whoever asks has an answer.
    pub(crate) fn answered_by(self) -> Instant {
        self.0 + ANSWER
    }
}

/// How and when a packet came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// Who sent it.
    pub(crate) from: IpAddr,
    pub(crate) transport: Transport,
    pub(crate) at: Instant,
}

impl Arrival {
    /// Until when it has to be dealt with.
    pub(crate) const fn due(&self) -> Due {
        Due::since(self.at)
    }

    /// How long ago it came.
    pub(crate) fn waited(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.at)
    }

    /// Whether whoever asked has given up. Many answers held back until then and sent at
    /// once are a weapon against him whose address was forged (DNSBomb).
    pub(crate) fn is_too_old(&self, now: Instant) -> bool {
        self.waited(now) > PATIENCE
    }

    /// Whether it may be one of many that were piled up in the name of another, now that its
    /// turn comes. Who has a connection is who he says.
    pub(crate) fn is_of_a_pile(&self, now: Instant) -> bool {
        self.transport == Transport::Udp && self.waited(now) >= PILE
    }
}

/// One client. Comparing and hashing take a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Client(u64);

impl Client {
    /// The client that has `address`. An IPv4 address in the form of IPv6 (RFC 4291 §2.5.5.2)
    /// is the IPv4 address.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            // Nobody has an address that begins so in IPv6: it would be multicast.
            IpAddr::V4(address) => Self(V4 | u64::from(u32::from(address))),
            IpAddr::V6(address) => Self((u128::from(address) >> 64) as u64),
        }
    }
}

/// `10.0.0.1`, `2001:db8::/64`.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 & V4 == V4 {
            write!(f, "{}", Ipv4Addr::from(self.0 as u32))
        } else {
            write!(f, "{}/64", Ipv6Addr::from(u128::from(self.0) << 64))
        }
    }
}

/// With the second in which it is looked who has waited for too long, as much as for asking.
const TURN: Duration = Duration::from_millis(3_500);
const ASKING: Duration = Duration::from_millis(4_500);
/// A little more than finding one may take.
const ANSWER: Duration = Duration::from_millis(4_700);
/// Clients ask again after 5 s, and take the answer to what they asked first until 10
/// (resolv.conf(5)).
const PATIENCE: Duration = Duration::from_secs(10);
/// A second's questions do not make a pile: so many may come at once anyway.
const PILE: Duration = Duration::from_secs(1);
const V4: u64 = (u32::MAX as u64) << 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Client {
        Client::of(address.parse().unwrap())
    }

    #[test]
    fn clients_are_shown_as_what_they_are() {
        assert_eq!(of("10.0.0.1").to_string(), "10.0.0.1");
        assert_eq!(of("2001:db8::1").to_string(), "2001:db8::/64");
    }

    #[test]
    fn ipv4_clients_are_addresses_and_ipv6_clients_are_subnets() {
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert_eq!(of("10.0.0.1"), of("::ffff:10.0.0.1"));
        assert_eq!(of("fd00:0:0:1::1"), of("fd00:0:0:1:ffff::2"));
        assert_ne!(of("fd00:0:0:1::1"), of("fd00:0:0:2::1"));
        assert_ne!(of("::"), of("0.0.0.0"));
    }
}
