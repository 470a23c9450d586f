//! An address to listen on: `127.0.0.1:16443`, `[::1]:16443`, or `:16443` for every address of this host.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use daemon::config_file;
use serde::{Deserialize, Deserializer};

/// Where a listener is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// This one. `[::]` takes IPv4, too.
    At(SocketAddr),
    /// Every address of this host, IPv4 and IPv6, or IPv4 alone where the kernel has no IPv6.
    Any {
        /// 0 lets the kernel choose.
        port: u16,
    },
}

impl ListenAddress {
    /// The port; 0 lets the kernel choose.
    #[must_use]
    pub const fn port(&self) -> u16 {
        match self {
            Self::At(address) => address.port(),
            Self::Any { port } => *port,
        }
    }

    /// Whether a dial to `target` would end up here.
    #[must_use]
    pub fn takes(&self, target: SocketAddr) -> bool {
        let ip = target.ip().to_canonical();
        self.port() == target.port()
            && match self {
                Self::At(address) if !address.ip().is_unspecified() => {
                    address.ip().to_canonical() == ip
                }
                Self::At(_) | Self::Any { .. } => ip.is_loopback() || ip.is_unspecified(),
            }
    }

    /// The socket address to bind first.
    #[must_use]
    pub const fn socket_addr(&self) -> SocketAddr {
        match self {
            Self::At(address) => *address,
            Self::Any { port } => SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), *port),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = match text.strip_prefix(':') {
            Some(port) => port.parse().ok().map(|port| Self::Any { port }),
            None => text.parse().ok().map(Self::At),
        };
        parsed.ok_or_else(|| {
            format!(
                "`{text}` must be IP:PORT (IPv6 in brackets), for example 127.0.0.1:16443, or :PORT for every address"
            )
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => address.fmt(f),
            Self::Any { port } => write!(f, ":{port}"),
        }
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        config_file::text(deserializer, str::parse)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_taken_prints_as_what_is_taken_as_the_same(text in "[\\[\\]0-9a-f:.%]{0,24}") {
            if let Ok(listen) = text.parse::<ListenAddress>() {
                prop_assert_eq!(listen.to_string().parse(), Ok(listen));
            }
        }
    }

    #[test]
    fn an_empty_host_means_every_address() {
        let any: ListenAddress = ":16443".parse().unwrap();
        assert_eq!(any, ListenAddress::Any { port: 16443 });
        assert_eq!(any.to_string(), ":16443");
        assert_eq!(any.socket_addr().to_string(), "[::]:16443");
    }

    #[test]
    fn a_listener_knows_what_would_lead_back_to_it() {
        let takes = |listen: &str, target: &str| {
            let listen: ListenAddress = listen.parse().unwrap();
            listen.takes(target.parse().unwrap())
        };
        assert!(takes("127.0.0.1:1", "127.0.0.1:1"));
        assert!(takes("127.0.0.1:1", "[::ffff:127.0.0.1]:1"));
        assert!(takes(":1", "127.0.0.1:1") && takes("0.0.0.0:1", "127.0.0.9:1"));
        assert!(!takes("127.0.0.1:1", "127.0.0.2:1") && !takes(":1", "10.0.0.1:1"));
        assert!(!takes("127.0.0.1:1", "127.0.0.1:2"));
    }

    #[test]
    fn names_and_nonsense_are_refused_with_the_form_that_works() {
        for text in ["localhost:1", "127.0.0.1", ":", ":65536", "fd00::1:1", ""] {
            let error = text.parse::<ListenAddress>().unwrap_err();
            assert!(error.contains("127.0.0.1:16443"), "{text}: {error}");
        }
    }
}
