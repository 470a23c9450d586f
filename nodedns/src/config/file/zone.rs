//! The zones of the file: who is asked for which names.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::text::{as_text, as_texts, forwards, name_from_text};
use super::{Mistake, mistake};
use crate::config::{self, Forward, Name, Protocol, Source, private};

/// A name, all names below it, and the servers that know about them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// The zone's name, as in `cluster.local.`; the final dot may be left out. Required.
    #[serde(deserialize_with = "name_from_text", serialize_with = "as_text")]
    pub name: Name,
    /// Servers that resolve for us, as in `tcp://10.96.0.10`: `udp://` (default),
    /// `tcp://` or `tls://`, an IP address, and a port (default 53, `tls://` 853).
    /// After `tls://` follows what the server proves: `#dns.example`, the name in
    /// its certificate (default: its address), or `#sha256:BASE64`, the digest of
    /// its public key. The fastest that answers is preferred, the others are there
    /// when it does not. Without `forward` and `authoritative` the zone is resolved
    /// from the root down (see `recursion`). Default: none.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "forwards",
        serialize_with = "as_texts"
    )]
    pub forward: Vec<Forward>,
    /// Instead of `forward`: servers that have the zone themselves, and are asked
    /// without recursion. Names that the zone delegates to others fail. Default: none.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "forwards",
        serialize_with = "as_texts"
    )]
    pub authoritative: Vec<Forward>,
    /// Ask `udp://` servers over TCP too: for paths that lose large datagrams. Default:
    /// `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force_tcp: bool,
    /// Ask the plaintext servers of a zone that has `tls://` servers. Otherwise
    /// they are never asked, be all others dead. Default: `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mixed: bool,
    /// Whether signatures must be right where a trust anchor says that there are
    /// some. Default: `true`, but `false` for reverse zones of private addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<bool>,
}

impl Zone {
    /// A zone for which these servers resolve, or, when there are none, one that is
    /// resolved from the root down; all else is the default.
    #[must_use]
    pub const fn forwarded(name: Name, forward: Vec<Forward>) -> Self {
        Self {
            name,
            forward,
            authoritative: Vec::new(),
            force_tcp: false,
            mixed: false,
            validate: None,
        }
    }

    /// Whether it can be asked by a process that itself listens there.
    pub(super) fn check(&self, listen: &[SocketAddr]) -> Result<(), Mistake> {
        let servers = match (self.forward.as_slice(), self.authoritative.as_slice()) {
            ([], []) => return self.check_recursion(),
            (forward, []) => Servers("forward", forward),
            ([], authoritative) => Servers("authoritative", authoritative),
            _ => {
                let message = "a zone has servers that resolve for us (`forward`) or its own (`authoritative`), not both";
                return Err(mistake("authoritative", message));
            }
        };
        servers.check(listen)
    }

    /// Without servers nothing may be said of them.
    fn check_recursion(&self) -> Result<(), Mistake> {
        for (field, is_set) in [("force_tcp", self.force_tcp), ("mixed", self.mixed)] {
            if is_set {
                let message = "speaks of servers, and the zone names none: it is resolved from the root down; name servers under `forward` or `authoritative`, or take this out";
                return Err(mistake(field, message));
            }
        }
        Ok(())
    }

    /// What nodedns runs on.
    pub(super) fn into_config(mut self) -> config::Zone {
        config::Zone {
            validate: self
                .validate
                .unwrap_or_else(|| !private::is_reverse_of_private(&self.name)),
            source: self.take_source(),
            name: self.name,
        }
    }

    fn take_source(&mut self) -> Source {
        let recursion = self.authoritative.is_empty();
        let mut servers = std::mem::take(if recursion {
            &mut self.forward
        } else {
            &mut self.authoritative
        });
        if servers.is_empty() {
            return Source::Recursion;
        }
        if self.force_tcp {
            let over_udp = |server: &&mut Forward| server.protocol == Protocol::Udp;
            for server in servers.iter_mut().filter(over_udp) {
                server.protocol = Protocol::Tcp;
            }
        }
        let encrypts = servers.iter().any(|server| server.protocol.is_encrypted());
        let (asked, unasked) = servers
            .into_iter()
            .partition(|server| self.mixed || !encrypts || server.protocol.is_encrypted());
        Source::Servers(config::Servers {
            asked,
            recursion,
            unasked,
        })
    }
}

/// The servers of a zone, and the field that names them.
struct Servers<'a>(&'static str, &'a [Forward]);

impl Servers<'_> {
    fn check(&self, listen: &[SocketAddr]) -> Result<(), Mistake> {
        let Self(name, servers) = self;
        for (at, server) in servers.iter().enumerate() {
            let field = format!("{name}[{at}]");
            if servers[..at].contains(server) {
                return Err(mistake(field, format!("{server} is there twice")));
            }
            if listen.iter().any(|own| reaches(*own, server.address)) {
                let message =
                    format!("{server} is nodedns itself, which would ask itself for ever");
                return Err(mistake(field, message));
            }
        }
        Ok(())
    }
}

/// Whether a packet to `server` surely arrives at our own socket `own`.
fn reaches(own: SocketAddr, server: SocketAddr) -> bool {
    let same = own.ip() == server.ip();
    let wildcard =
        own.ip().is_unspecified() && own.is_ipv4() == server.is_ipv4() && server.ip().is_loopback();
    own.port() == server.port() && (same || wildcard)
}
