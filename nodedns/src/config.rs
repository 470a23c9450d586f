//! What nodedns runs on. Every value here is good: [`mod@file`] says what a person
//! may write, and the conversion from it is the only validation there is.

pub mod file;
mod own_subnets;
mod private;
#[cfg(test)]
mod reference;
mod root_hints;
mod subnet;
mod trust_anchor;
pub mod unbound;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use daemon::config_file::{ConfigError, Document};
use rustls::pki_types::DnsName;
use serde::{Deserialize, Serialize};

pub use self::subnet::{Subnet, SubnetError};
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
    /// PEM file of the authorities that vouch for `tls://` servers; the system's
    /// when there is none.
    pub ca_file: Option<PathBuf>,
    /// Those whose questions are answered.
    pub access: Vec<Subnet>,
    /// How much one client may ask for.
    pub limits: Limits,
    /// Names whose addresses are known here. Names are unique.
    pub hosts: Vec<Host>,
    /// Whether the addresses of a name come in another order each time.
    pub rotate_addresses: bool,
    /// Where names of the public may not lead.
    pub rebinding: Rebinding,
    /// Questions of which the log has a line each.
    pub query_log: QueryLog,
    /// The cache.
    pub cache: Cache,
    /// What is trusted, and what is done with what is not.
    pub validation: Validation,
    /// How zones without servers are resolved.
    pub recursion: Recursion,
}

/// A name and everything below it, and who knows about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// The name.
    pub name: Name,
    /// Who is asked.
    pub source: Source,
    /// Whether what they say must be signed where a trust anchor says so.
    pub validate: bool,
}

/// Where the answers of a zone come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// From servers that are named.
    Servers(Servers),
    /// From those that the zones themselves name, from the root's down.
    Recursion,
}

/// The servers of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Servers {
    /// Those that are asked. At least one, each once.
    pub asked: Vec<Forward>,
    /// Whether they are asked to recurse (RD); authoritative servers are not.
    pub recursion: bool,
    /// Servers that were named and are never asked: what is encrypted to others
    /// of the zone must not be sent to them in plain.
    pub unasked: Vec<Forward>,
}

/// How the way is found from the root down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recursion {
    /// Where servers of the root are. At least one.
    pub root_hints: Vec<IpAddr>,
    /// Where no name server may be that a zone names. Hints may be anywhere.
    pub deny: Vec<Subnet>,
}

/// A server that is asked for the names of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Forward {
    /// How it is asked.
    pub protocol: Protocol,
    /// Where it listens.
    pub address: SocketAddr,
}

/// How a server is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Over UDP, and over TCP what does not fit.
    Udp,
    /// Over TCP only, on connections that are kept open.
    Tcp,
    /// Over TLS only (RFC 7858), on connections that are kept open, once the
    /// server has proved who it is.
    Tls(Identity),
}

/// What a `tls://` server has to prove (RFC 8310 §8).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// An authority vouches for its address.
    Address,
    /// An authority vouches for this name, which is in lower case.
    Name(Box<str>),
    /// It has the key whose SubjectPublicKeyInfo has this SHA-256 digest; nobody
    /// need vouch for it.
    Key([u8; 32]),
}

/// How signatures are judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validation {
    /// What becomes of a bogus answer.
    pub mode: Mode,
    /// The keys that are trusted.
    pub anchors: Vec<Anchor>,
    /// Whether the keys that take their place are found out (RFC 5011).
    pub follow_rollovers: bool,
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

/// Where names of the public, those of the zone `.`, may not lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebinding {
    /// Subnets whose addresses are in no answer for them. None: anywhere.
    pub deny: Vec<Subnet>,
    /// Names at and below which that does not count.
    pub exempt: Vec<Name>,
}

/// Questions of which the log has a line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryLog {
    /// One of so many; 0 for none.
    pub one_in: u32,
    /// Those whose answer took at least so long.
    pub slow: Option<Duration>,
    /// Those that failed.
    pub failed: bool,
}

/// A name and all its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The name.
    pub name: Name,
    /// At least one.
    pub addresses: Vec<IpAddr>,
}

/// How much one client may ask for: an IPv4 address, or the /64 of an IPv6 address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Questions a second.
    pub queries_per_second: u32,
    /// Questions that are looked for at the same time.
    pub questions: usize,
    /// Questions that are looked for or wait; not fewer.
    pub waiting: usize,
    /// TCP connections to one address.
    pub connections: usize,
    /// Those without limits.
    pub exempt: Vec<Subnet>,
}

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cache {
    /// Bytes.
    pub size: usize,
    /// Of these, the hundredths that answers of all zones but the root's have for
    /// themselves.
    pub inner_share: u8,
    /// The shortest that an answer with data is used which nobody signed.
    pub min_ttl: Duration,
    /// The longest that an answer with data is used.
    pub max_ttl: Duration,
    /// The longest that a denial is used.
    pub max_negative_ttl: Duration,
    /// What becomes of answers whose time is over.
    pub stale: Stale,
    /// Whether answers that are asked for are renewed before their time is over.
    pub prefetch: bool,
}

/// Answers after their time, when there are no newer ones (RFC 8767).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale {
    /// For how long after its time one may be used; zero: never.
    pub max: Duration,
    /// The same in every zone but the root's.
    pub inner_max: Duration,
    /// How long a client waits for a newer one.
    pub client_response: Duration,
    /// How long a name is not asked about again once that has failed.
    pub failure_recheck: Duration,
    /// What its TTLs are.
    pub ttl: Duration,
}

impl Config {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// It cannot be read, or something in it is wrong; the error names the line.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with_digest(path).map(|(config, _)| config)
    }

    /// Reads the file at `path`, and gives the first 48 bits of its SHA-256 digest as
    /// well, by which people compare what nodes run on.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with_digest(path: &Path) -> Result<(Self, u64), ConfigError> {
        let document = Document::read(path)?;
        let config = file::File::check(&document)?;
        let digest = digest(&SHA256, document.text().as_bytes());
        let first = digest.as_ref().iter().take(6);
        let digest = first.fold(0, |number, byte| number << 8 | u64::from(*byte));
        Ok((config, digest))
    }
}

impl Zone {
    /// The servers that are asked, as far as they are named.
    #[must_use]
    pub fn asked(&self) -> &[Forward] {
        match &self.source {
            Source::Servers(servers) => &servers.asked,
            Source::Recursion => &[],
        }
    }

    /// The servers that were named and are never asked.
    pub(crate) fn unasked(&self) -> &[Forward] {
        match &self.source {
            Source::Servers(servers) => &servers.unasked,
            Source::Recursion => &[],
        }
    }

    /// Whether this is the zone of all names that no other zone has.
    pub(crate) fn is_root(&self) -> bool {
        self.name.is_root()
    }
}

impl Protocol {
    /// The scheme in a `forward` entry.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls(_) => "tls",
        }
    }

    /// Whether nobody on the way reads what is asked.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    const fn port(&self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 53,
            Self::Tls(_) => 853,
        }
    }
}

/// `tcp://10.96.0.10:53`, `tls://192.0.2.53:853#dns.example`: what [`FromStr`]
/// reads back.
impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.protocol.name(), self.address)?;
        match &self.protocol {
            Protocol::Udp | Protocol::Tcp | Protocol::Tls(Identity::Address) => Ok(()),
            Protocol::Tls(Identity::Name(name)) => write!(f, "#{name}"),
            Protocol::Tls(Identity::Key(digest)) => {
                write!(f, "#{PIN}{}", BASE64_STANDARD.encode(digest))
            }
        }
    }
}

/// Reads `ADDRESS`, `ADDRESS:PORT`, and either after `udp://`, `tcp://` or
/// `tls://`; the last may be followed by `#NAME` or `#sha256:BASE64`. Without a
/// scheme it is UDP, without a port 53, or 853 for TLS.
impl FromStr for Forward {
    type Err = ForwardError;

    fn from_str(text: &str) -> Result<Self, ForwardError> {
        let (protocol, rest) = match text.split_once("://") {
            None => (Protocol::Udp, text),
            Some(("udp", rest)) => (Protocol::Udp, rest),
            Some(("tcp", rest)) => (Protocol::Tcp, rest),
            Some(("tls", rest)) => {
                let (rest, identity) = match rest.split_once('#') {
                    None => (rest, Identity::Address),
                    Some((rest, identity)) => (rest, identity.parse()?),
                };
                (Protocol::Tls(identity), rest)
            }
            Some((scheme, _)) => return Err(ForwardError::Scheme(scheme.to_owned())),
        };
        let bare = rest
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(rest);
        let address = match bare.parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, protocol.port()),
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

impl FromStr for Identity {
    type Err = ForwardError;

    fn from_str(text: &str) -> Result<Self, ForwardError> {
        let wrong = || ForwardError::Identity(text.to_owned());
        if let Some(pin) = text.strip_prefix(PIN) {
            let digest = BASE64_STANDARD.decode(pin).map_err(|_| wrong())?;
            return Ok(Self::Key(digest.try_into().map_err(|_| wrong())?));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        DnsName::try_from(name.as_str()).map_err(|_| wrong())?;
        Ok(Self::Name(name.into()))
    }
}

/// What is wrong with a `forward` entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    /// A scheme that nobody knows.
    #[error("`{0}://` is not a way to ask a server; use udp://, tcp:// or tls://")]
    Scheme(String),
    /// No address.
    #[error(
        "`{0}` is not an address; write an IP address with or without a port, as in `10.96.0.10`, `10.96.0.10:5353`, `[fd00::10]:53` (names are not resolved here)"
    )]
    Address(String),
    /// An address on which no server can be.
    #[error("no server can be asked at {0}; name its own address and port")]
    NotAServer(SocketAddr),
    /// Nothing that a server can prove.
    #[error(
        "`#{0}` is nothing that a server can prove; write the name in its certificate, as in `#dns.example`, or the SHA-256 digest of its public key, as in `#sha256:` and 44 letters of base64"
    )]
    Identity(String),
}

/// What a pinned key begins with, after the `#`.
const PIN: &str = "sha256:";

#[cfg(test)]
mod tests {
    use super::*;

    const PINNED: &str = "tls://10.0.0.1:853#sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

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
            ("tls://10.0.0.1", "tls://10.0.0.1:853"),
            (
                "tls://10.0.0.1#DNS.Example.",
                "tls://10.0.0.1:853#dns.example",
            ),
            ("tls://[fd00::10]:8853#a.b", "tls://[fd00::10]:8853#a.b"),
            (PINNED, PINNED),
        ] {
            let forward: Forward = text.parse().unwrap();
            assert_eq!(forward.to_string(), shown);
            assert_eq!(shown.parse(), Ok(forward));
        }
    }

    #[test]
    fn what_is_no_server_is_refused_with_the_way_out() {
        for (text, part) in [
            ("https://10.0.0.1", "use udp://, tcp:// or tls://"),
            ("udp://10.0.0.1#dns.example", "is not an address"),
            ("tls://10.0.0.1#", "is nothing that a server can prove"),
            ("tls://10.0.0.1#a..b", "is nothing that a server can prove"),
            ("tls://10.0.0.1#sha256:", "44 letters of base64"),
            ("tls://10.0.0.1#sha256:AAAA", "44 letters of base64"),
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
