//! An address to dial, as people write it: `10.9.0.2:6443`, `[fd00::2]:6443`, `api.example:6443`.
//!
//! Names are kept as names: they are looked up at run time, again and again.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use daemon::config_file;
use serde::{Deserialize, Deserializer};

/// Host and port of a TCP server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// Who.
    pub host: Host,
    /// 1–65535.
    pub port: u16,
}

/// The host of an [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// Dialled as it is.
    Ip(IpAddr),
    /// Looked up again and again; a DNS name or one from `/etc/hosts`.
    Name(String),
}

/// Why a text is no [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No `:port` at its end.
    #[error("`{0}` has no port; write it as HOST:PORT, for example `{0}:6443`")]
    NoPort(String),
    /// A port that is no number from 1 to 65535.
    #[error("`{0}`: the port must be a number from 1 to 65535")]
    BadPort(String),
    /// Nothing, or what no host can be called, before the port.
    #[error("`{0}`: the host must be an IP address (IPv6 in brackets) or a DNS name")]
    BadHost(String),
}

impl Address {
    /// Whether the host is this machine itself: `127.0.0.0/8`, `::1` or `localhost`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Ip(ip) => ip.to_canonical().is_loopback(),
            Host::Name(name) => name.eq_ignore_ascii_case("localhost"),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = split(text)?;
        let port = port
            .parse()
            .ok()
            .filter(|&port| port != 0)
            .ok_or_else(|| AddressError::BadPort(text.to_owned()))?;
        Ok(Self { host, port })
    }
}

/// Takes `HOST:PORT` apart; the port is still text.
fn split(text: &str) -> Result<(Host, &str), AddressError> {
    let bad_host = || AddressError::BadHost(text.to_owned());
    if let Some(rest) = text.strip_prefix('[') {
        let (ip, rest) = rest.split_once(']').ok_or_else(bad_host)?;
        let ip: Ipv6Addr = ip.parse().map_err(|_| bad_host())?;
        // ::ffff:10.9.0.2 is 10.9.0.2, and would be a second upstream for one server.
        let ip = IpAddr::from(ip).to_canonical();
        let port = rest
            .strip_prefix(':')
            .ok_or_else(|| AddressError::NoPort(text.to_owned()))?;
        return Ok((Host::Ip(ip), port));
    }
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| AddressError::NoPort(text.to_owned()))?;
    if host.contains(':') {
        // fd00::2:6443 could be read two ways.
        return Err(bad_host());
    }
    match host.parse::<IpAddr>() {
        Ok(ip) => Ok((Host::Ip(ip), port)),
        Err(_) if is_name(host) => Ok((Host::Name(host.to_owned()), port)),
        Err(_) => Err(bad_host()),
    }
}

/// The letters of RFC 1123 §2.1 and the underscore that some internal names carry. A name whose last
/// label is all digits is a mistyped IPv4 address.
fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    host.len() <= 253
        && host.split('.').all(label)
        && !host
            .rsplit('.')
            .next()
            .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: Host::Ip(address.ip()),
            port: address.port(),
        }
    }
}

impl<'de> Deserialize<'de> for Address {
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
        fn whatever_is_taken_prints_as_what_is_taken_as_the_same(
            text in prop_oneof![".{0,40}", "[\\[\\]0-9a-f:._-]{0,24}"],
        ) {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
    }

    #[test]
    fn one_server_has_one_address_however_it_is_written() {
        let mapped = "[::ffff:10.9.0.2]:6443".parse::<Address>().unwrap();
        assert_eq!(mapped.to_string(), "10.9.0.2:6443");
    }

    #[test]
    fn addresses_print_as_they_are_written() {
        for text in [
            "10.9.0.2:6443",
            "[fd00::2]:6443",
            "api.example:6443",
            "localhost:1",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        let refused = |text: &str| text.parse::<Address>().unwrap_err().to_string();
        assert_eq!(
            refused("10.9.0.2"),
            "`10.9.0.2` has no port; write it as HOST:PORT, for example `10.9.0.2:6443`"
        );
        for text in [
            "10.9.0.2:0",
            "10.9.0.2:65536",
            "10.9.0.2:",
            "a:-1",
            "[::1]:https",
        ] {
            assert!(refused(text).contains("port must be a number"), "{text}");
        }
        for text in [
            ":6443",
            "fd00::2:6443",
            "10.9.0:1",
            "a b:1",
            "[::1:6443",
            "http://a:1",
            "a..b:1",
        ] {
            assert!(
                refused(text).contains("host must be"),
                "{text}: {}",
                refused(text)
            );
        }
    }

    #[test]
    fn loopback_is_told_from_the_rest() {
        let loopback = |text: &str| text.parse::<Address>().unwrap().is_loopback();
        assert!(loopback("127.0.0.1:1") && loopback("[::1]:1") && loopback("LOCALHOST:1"));
        assert!(!loopback("10.0.0.1:1") && !loopback("localhost.example:1"));
    }
}
