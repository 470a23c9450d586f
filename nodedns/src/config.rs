//! What nodedns runs on. Every value here is good: [`mod@file`] says what a person
//! may write, and the conversion from it is the only validation there is.

pub mod file;
mod private;
mod trust_anchor;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use daemon::config_file::{ConfigError, Document};
use serde::{Deserialize, Serialize};

pub use crate::anchors::{Anchor, Trusted};
pub use crate::validate::Policy;
pub use crate::wire::name::{Name, NameError};

/// A whole, checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where clients ask, over UDP and TCP alike. At least one, each once.
    pub listen: Vec<SocketAddr>,
    /// Where metrics and probes are served.
    pub admin: SocketAddr,
    /// Threads that answer.
    pub workers: NonZeroUsize,
    /// At least one; names are unique.
    pub zones: Vec<Zone>,
    /// The cache.
    pub cache: Cache,
    /// What is trusted, and what is done with what is not.
    pub validation: Validation,
}

/// A name and everything below it, and who knows about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// The name.
    pub name: Name,
    /// The servers that are asked. At least one, each once.
    pub forward: Vec<Forward>,
    /// Whether what they say must be signed where a trust anchor says so.
    pub validate: bool,
}

/// A server that is asked, recursively, for the names of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Forward {
    /// How it is asked.
    pub protocol: Protocol,
    /// Where it listens.
    pub address: SocketAddr,
}

/// How a server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Over UDP, and over TCP what does not fit.
    Udp,
    /// Over TCP only, on connections that are kept open.
    Tcp,
}

/// How signatures are judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validation {
    /// What becomes of a bogus answer.
    pub mode: Mode,
    /// The keys that are trusted.
    pub anchors: Vec<Anchor>,
    /// Names at and below which nothing is validated.
    pub negative: Vec<Name>,
    /// What counts as signed.
    pub policy: Policy,
}

/// What becomes of an answer that must be signed and is not rightly so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is refused: SERVFAIL with the reason.
    #[default]
    Enforce,
    /// It is logged and counted, and passed on without AD.
    Log,
}

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cache {
    /// Bytes.
    pub size: usize,
    /// The longest that an answer with data is used.
    pub max_ttl: Duration,
    /// The longest that a denial is used.
    pub max_negative_ttl: Duration,
}

impl Config {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// It cannot be read, or something in it is wrong; the error names the line.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        file::File::check(&Document::read(path)?)
    }
}

impl Zone {
    /// Whether this is the zone of all names that no other zone has.
    pub(crate) fn is_root(&self) -> bool {
        self.name.is_root()
    }
}

impl Protocol {
    /// The scheme in a `forward` entry, and the label of metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// `tcp://10.96.0.10:53`: what [`FromStr`] reads back.
impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.protocol.name(), self.address)
    }
}

/// Reads `ADDRESS`, `ADDRESS:PORT`, and either after `udp://` or `tcp://`. Without
/// a scheme it is UDP, without a port 53.
impl FromStr for Forward {
    type Err = ForwardError;

    fn from_str(text: &str) -> Result<Self, ForwardError> {
        let (protocol, rest) = match text.split_once("://") {
            None => (Protocol::Udp, text),
            Some(("udp", rest)) => (Protocol::Udp, rest),
            Some(("tcp", rest)) => (Protocol::Tcp, rest),
            Some(("tls", _)) => return Err(ForwardError::TlsNotYet),
            Some((scheme, _)) => return Err(ForwardError::Scheme(scheme.to_owned())),
        };
        let bare = rest
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(rest);
        let address = match bare.parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, DNS_PORT),
            Err(_) => rest
                .parse()
                .map_err(|_| ForwardError::Address(rest.to_owned()))?,
        };
        let ip = address.ip();
        if address.port() == 0 || ip.is_unspecified() || ip.is_multicast() {
            return Err(ForwardError::NotAServer(address));
        }
        Ok(Self { protocol, address })
    }
}

/// What is wrong with a `forward` entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    /// DNS over TLS.
    #[error("tls:// is not supported yet; use tcp:// or udp://, which are not encrypted")]
    TlsNotYet,
    /// A scheme that nobody knows.
    #[error("`{0}://` is not a way to ask a server; use udp:// or tcp://")]
    Scheme(String),
    /// No address.
    #[error(
        "`{0}` is not an address; write an IP address with or without a port, as in `10.96.0.10`, `10.96.0.10:5353`, `[fd00::10]:53` (names are not resolved here)"
    )]
    Address(String),
    /// An address on which no server can be.
    #[error("no server can be asked at {0}; name its own address and port")]
    NotAServer(SocketAddr),
}

const DNS_PORT: u16 = 53;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_written_in_many_ways() {
        for (text, shown) in [
            ("10.0.0.1", "udp://10.0.0.1:53"),
            ("10.0.0.1:5353", "udp://10.0.0.1:5353"),
            ("udp://10.0.0.1", "udp://10.0.0.1:53"),
            ("tcp://10.96.0.10", "tcp://10.96.0.10:53"),
            ("fd00::10", "udp://[fd00::10]:53"),
            ("[fd00::10]", "udp://[fd00::10]:53"),
            ("tcp://[fd00::10]:5353", "tcp://[fd00::10]:5353"),
        ] {
            let forward: Forward = text.parse().unwrap();
            assert_eq!(forward.to_string(), shown);
            assert_eq!(shown.parse(), Ok(forward));
        }
    }

    #[test]
    fn what_is_no_server_is_refused_with_the_way_out() {
        for (text, part) in [
            ("tls://10.0.0.1#dns.example", "not supported yet"),
            ("https://10.0.0.1", "use udp:// or tcp://"),
            ("dns.example", "is not an address"),
            ("10.0.0.1:dns", "is not an address"),
            ("", "is not an address"),
            ("0.0.0.0", "no server can be asked"),
            ("10.0.0.1:0", "no server can be asked"),
            ("224.0.0.251", "no server can be asked"),
        ] {
            let error = text.parse::<Forward>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
