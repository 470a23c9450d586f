//! What `nodedns.yml` may say. `control` writes it with these very types.
//!
//! A field of a feature that does not exist is refused like any unknown field:
//! nothing that a person wrote is silently without effect.

mod cache;
mod recursion;
mod text;
mod trust;
mod zone;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use daemon::config_file::{ConfigError, Document};
use serde::{Deserialize, Serialize};

use crate::config::{self, Config, Mode, Policy};

pub use self::cache::{Cache, Size, SizeError};
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
    /// The address for `/metrics`, `/healthz` and `/readyz`. Default:
    /// `0.0.0.0:9253`, so that Prometheus reaches it; it shows counters only.
    #[serde(default = "default_admin")]
    pub admin: SocketAddr,
    /// Threads that answer, 1 to 64. Default: 1, which answers more than a
    /// node's pods ask; each takes a share of the queries by the kernel's choice.
    #[serde(default = "default_workers")]
    pub workers: usize,
    /// The zones; the longest name wins. Names in none of them are refused: a zone
    /// `.` takes them all.
    pub zones: Vec<Zone>,
    /// PEM file of the authorities that vouch for `tls://` servers. Default: the
    /// system's. Servers with a pinned key need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// How zones without servers are resolved.
    #[serde(default, skip_serializing_if = "Recursion::is_default")]
    pub recursion: Recursion,
    /// The cache.
    #[serde(default)]
    pub cache: Cache,
    /// What becomes of an answer that must be signed and is not rightly so:
    /// `enforce` (default) refuses it with SERVFAIL, `log` passes it on, which
    /// shows what enforcing would break before it does.
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
        self.cache.check().map_err(error)?;
        if self.nsec3_max_iterations > MAX_ITERATIONS {
            let message = format!("must be from 0 to {MAX_ITERATIONS}");
            return Err(error(mistake("nsec3_max_iterations", message)));
        }
        let anchors = self.trust_anchors.anchors().map_err(error)?;
        let recursion = self.recursion.into_config().map_err(error)?;
        Ok(Config {
            listen: self.listen,
            admin: self.admin,
            workers,
            zones: self.zones.into_iter().map(Zone::into_config).collect(),
            ca_file: self.ca_file,
            recursion,
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
