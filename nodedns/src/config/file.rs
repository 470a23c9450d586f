//! What `nodedns.yml` may say. `control` writes it with these very types.
//!
//! A field of a feature that does not exist is refused like any unknown field:
//! nothing that a person wrote is silently without effect.

mod access;
mod cache;
mod limits;
mod query_log;
mod rebinding;
mod recursion;
mod text;
mod trust;
mod zone;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use daemon::config_file::{ConfigError, Document};
use serde::{Deserialize, Serialize};

use crate::config::{self, Config, Mode, Policy};

pub use self::access::{Access, Networks};
pub use self::cache::{Cache, Size, SizeError, Stale};
pub use self::limits::Limits;
pub use self::query_log::QueryLog;
pub use self::rebinding::Rebinding;
pub use self::recursion::Recursion;
pub use self::trust::TrustAnchors;
pub use self::zone::Zone;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Addresses on which clients ask, over UDP and TCP. Default: port 53 on
    /// every address of the machine, IPv4 and IPv6. On a node where something
    /// else holds port 53 of one address, name the others.
    #[serde(default = "default_listen")]
    pub listen: Vec<SocketAddr>,
    /// The address for `/metrics`, `/healthz`, `/readyz` and the status. Default:
    /// `0.0.0.0:9253`, so that Prometheus reaches it; clients and what they ask are shown
    /// there only when it is a loopback address.
    #[serde(default = "default_admin")]
    pub admin: SocketAddr,
    /// Threads that answer, 1 to 64. Default: 1, which answers more than a
    /// node's pods ask; each takes a share of the queries by the kernel's choice.
    #[serde(default = "default_workers")]
    pub workers: usize,
    /// The zones; the longest name wins. Names in none of them are refused: a zone
    /// `.` takes them all. Required, one at least.
    pub zones: Vec<Zone>,
    /// PEM file of the authorities that vouch for `tls://` servers. Default: the
    /// system's. Servers with a pinned key need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// How zones without servers are resolved.
    #[serde(default, skip_serializing_if = "Recursion::is_default")]
    pub recursion: Recursion,
    /// Who may ask.
    #[serde(default, skip_serializing_if = "Access::is_default")]
    pub access: Access,
    /// How much one client may ask for.
    #[serde(default, skip_serializing_if = "Limits::is_default")]
    pub limits: Limits,
    /// Names whose addresses are known here, as in `{registry.example: [10.0.0.1, "fd00::1"]}`:
    /// no zone is asked for them. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
    /// Whether the addresses of a name come in another order each time, for clients that take
    /// the first. Default: `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rotate_addresses: bool,
    /// Names of the public that lead into networks of one's own.
    #[serde(default, skip_serializing_if = "Rebinding::is_default")]
    pub rebinding: Rebinding,
    /// Questions of which the log has a line each.
    #[serde(default, skip_serializing_if = "QueryLog::is_default")]
    pub query_log: QueryLog,
    /// The cache.
    #[serde(default)]
    pub cache: Cache,
    /// What becomes of an answer that must be signed and is not rightly so:
    /// `enforce` refuses it with SERVFAIL, `log` passes it on, counts it and logs it (a
    /// line a second at most), which shows what enforcing would break before it does.
    /// Default: `enforce`.
    #[serde(default)]
    pub validation: Mode,
    /// The keys from which everything else is proved.
    #[serde(default)]
    pub trust_anchors: TrustAnchors,
    /// The most iterations of NSEC3, 0 to 500, that are worth the work; zones
    /// with more are taken as unsigned. Default: 50 (RFC 9276).
    #[serde(default = "default_iterations")]
    pub nsec3_max_iterations: u16,
    /// Whether signatures of algorithms 5 and 7 count, whose SHA-1 is broken.
    /// Default: `false`; zones that have no others are taken as unsigned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sha1_signatures: bool,
}

impl File {
    /// A file with these zones; all else is the default.
    #[must_use]
    pub fn with_zones(zones: Vec<Zone>) -> Self {
        Self {
            listen: default_listen(),
            admin: default_admin(),
            workers: default_workers(),
            zones,
            ca_file: None,
            recursion: Recursion::default(),
            access: Access::default(),
            limits: Limits::default(),
            hosts: BTreeMap::new(),
            rotate_addresses: false,
            rebinding: Rebinding::default(),
            query_log: QueryLog::default(),
            cache: Cache::default(),
            validation: Mode::default(),
            trust_anchors: TrustAnchors::default(),
            nsec3_max_iterations: default_iterations(),
            sha1_signatures: false,
        }
    }

    /// The configuration that `document` describes.
    ///
    /// # Errors
    /// Something in it is wrong; the error names the line.
    pub fn check(document: &Document) -> Result<Config, ConfigError> {
        document
            .parse::<Self>()?
            .into_config(|field, message| document.error_at(field, message))
    }

    /// The one conversion; `error` makes an error about a field.
    fn into_config<E>(self, error: impl Fn(&str, String) -> E) -> Result<Config, E> {
        let error = |(field, message): Mistake| error(&field, message);
        let workers = self.check_workers().map_err(error)?;
        self.check_listen().map_err(error)?;
        self.check_zones().map_err(error)?;
        self.limits.check().map_err(error)?;
        self.query_log.check().map_err(error)?;
        self.cache.check().map_err(error)?;
        if self.nsec3_max_iterations > MAX_ITERATIONS {
            let message = format!("must be from 0 to {MAX_ITERATIONS}");
            return Err(error(mistake("nsec3_max_iterations", message)));
        }
        let anchors = self.trust_anchors.anchors().map_err(error)?;
        let recursion = self.recursion.into_config().map_err(error)?;
        let hosts = hosts(self.hosts).map_err(error)?;
        Ok(Config {
            listen: self.listen,
            admin: self.admin,
            workers,
            zones: self.zones.into_iter().map(Zone::into_config).collect(),
            ca_file: self.ca_file,
            recursion,
            access: self.access.into_config(),
            limits: self.limits.into_config(),
            hosts,
            rotate_addresses: self.rotate_addresses,
            rebinding: self.rebinding.into_config(),
            query_log: self.query_log.into_config(),
            cache: self.cache.into_config(),
            validation: config::Validation {
                mode: self.validation,
                anchors,
                follow_rollovers: self.trust_anchors.follow_rollovers,
                negative: self.trust_anchors.negative,
                policy: Policy {
                    sha1: self.sha1_signatures,
                    nsec3_max_iterations: self.nsec3_max_iterations,
                },
            },
        })
    }

    fn check_workers(&self) -> Result<NonZeroUsize, Mistake> {
        NonZeroUsize::new(self.workers)
            .filter(|workers| workers.get() <= 64)
            .ok_or_else(|| mistake("workers", "must be from 1 to 64"))
    }

    fn check_listen(&self) -> Result<(), Mistake> {
        if self.listen.is_empty() {
            return Err(mistake("listen", "name at least one address"));
        }
        for (at, address) in self.listen.iter().enumerate() {
            if self.listen[..at].contains(address) {
                let message = format!("{address} is there twice");
                return Err(mistake(format!("listen[{at}]"), message));
            }
        }
        Ok(())
    }

    fn check_zones(&self) -> Result<(), Mistake> {
        if self.zones.is_empty() {
            let message = "name at least one zone; `.` takes all names";
            return Err(mistake("zones", message));
        }
        for (at, zone) in self.zones.iter().enumerate() {
            if self.zones[..at].iter().any(|other| other.name == zone.name) {
                let message = format!("zone {} is there twice", zone.name);
                return Err(mistake(format!("zones[{at}].name"), message));
            }
            zone.check(&self.listen)
                .map_err(|(field, message)| (format!("zones[{at}].{field}"), message))?;
        }
        Ok(())
    }
}

/// The names of `hosts`, each once whatever its case.
fn hosts(hosts: BTreeMap<String, Vec<IpAddr>>) -> Result<Vec<config::Host>, Mistake> {
    let mut read: Vec<config::Host> = Vec::new();
    for (text, addresses) in hosts {
        let wrong = |message| Err(mistake("hosts", message));
        let name = match config::Name::from_text(&text) {
            Ok(name) => name,
            Err(error) => return wrong(error.to_string()),
        };
        if read.iter().any(|host| host.name == name) {
            return wrong(format!("{name} is there twice"));
        }
        if addresses.is_empty() {
            return wrong(format!("{name} has no address; name one, or take it out"));
        }
        read.push(config::Host { name, addresses });
    }
    Ok(read)
}

/// A field, and what is wrong with it.
type Mistake = (String, String);

fn mistake(field: impl Into<String>, message: impl Into<String>) -> Mistake {
    (field.into(), message.into())
}

fn default_listen() -> Vec<SocketAddr> {
    vec![
        SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 53),
        SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 53),
    ]
}

fn default_admin() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 9253)
}

const fn default_workers() -> usize {
    1
}

const fn default_iterations() -> u16 {
    50
}

/// What was usual before RFC 9276, and takes half a millisecond a denial.
const MAX_ITERATIONS: u16 = 500;
