//! How the upstreams of a listener are judged, and whom of them it trusts.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde::Deserialize;

use super::{Invalid, between, file};

/// How upstreams are judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What a probe asks.
    pub mode: Mode,
    /// A bundle of CA certificates. With one, only upstreams whose certificate verified are dialled.
    pub ca_file: Option<PathBuf>,
    /// The name that certificates must carry; `None`: the host that is dialled.
    pub server_name: Option<ServerName<'static>>,
    /// Time from one sign of life to the next; 100 ms to 5 min.
    pub interval: Duration,
    /// Time from one question at `/readyz` to the next; 100 ms to 5 min.
    pub readyz_interval: Duration,
    /// How long a probe may take; 50 ms to 1 min.
    pub timeout: Duration,
    /// Good probes in a row that bring back one that is down; at least 1.
    pub rise: u32,
    /// Bad probes in a row after which one is down; at least 1.
    pub fall: u32,
}

/// What a probe asks an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// `readyz`, and what an upstream can do of it otherwise: one that wants a client certificate or
    /// speaks no HTTP over TLS is only connected to.
    #[default]
    Auto,
    /// TLS, and `GET /readyz` over it: HTTP/2, kept open and asked for a PING in between; else HTTP/1.1.
    Readyz,
    /// A TLS handshake.
    Tls,
    /// A TCP connection, which a process that hangs accepts, too.
    Tcp,
}

impl Health {
    /// Whether only upstreams whose certificate verified are dialled.
    #[must_use]
    pub const fn verifies(&self) -> bool {
        self.ca_file.is_some()
    }

    /// Whether what has been verified for `self` is verified for `other`, too.
    pub(crate) fn trusts_as(&self, other: &Self) -> bool {
        self.ca_file == other.ca_file && self.server_name == other.server_name
    }

    /// `at` is the listener's place in the file.
    pub(super) fn from_file(file: file::Health, at: &str) -> Result<Self, Invalid> {
        let field = |name: &str| format!("{at}.health.{name}");
        let count = |name: &str, value: u32| match value {
            1..=100 => Ok(value),
            _ => Err(Invalid::new(field(name), "must be between 1 and 100")),
        };
        let duration = |name: &str, value, range| between(&field(name), value, range);
        if let Some(path) = &file.ca_file {
            read_bundle(path).map_err(|error| Invalid::new(field("ca_file"), error))?;
            if file.mode == Mode::Tcp {
                let message = "a TCP connect verifies no certificate; choose `auto`, `readyz` or \
                     `tls`, or leave out `ca_file`";
                return Err(Invalid::new(field("mode"), message));
            }
        } else if file.server_name.is_some() {
            let message = "verifies nothing without `ca_file`; give that, too, or leave this out";
            return Err(Invalid::new(field("server_name"), message));
        }
        let server_name = file.server_name.map(|name| {
            ServerName::try_from(name.clone()).map_err(|_| {
                let message = format!("`{name}` must be a DNS name or an IP address");
                Invalid::new(field("server_name"), message)
            })
        });
        Ok(Self {
            mode: file.mode,
            server_name: server_name.transpose()?,
            ca_file: file.ca_file,
            interval: duration("interval", file.interval, INTERVAL)?,
            readyz_interval: duration("readyz_interval", file.readyz_interval, INTERVAL)?,
            timeout: duration("timeout", file.timeout, TIMEOUT)?,
            rise: count("rise", file.rise)?,
            fall: count("fall", file.fall)?,
        })
    }
}

impl Default for Health {
    /// A server that hangs is down after 3 s at most: a second until the next probe, twice 900 ms for its
    /// time-out.
    fn default() -> Self {
        Self {
            mode: Mode::Auto,
            ca_file: None,
            server_name: None,
            interval: Duration::from_secs(1),
            readyz_interval: Duration::from_secs(10),
            timeout: Duration::from_millis(900),
            rise: 2,
            fall: 2,
        }
    }
}

/// Why a file is no bundle of CA certificates.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BundleError {
    #[error("cannot read {}: {}", path.display(), error)]
    Unreadable {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("{} is larger than 1 MiB; a CA bundle is some KiB of PEM", .0.display())]
    TooLarge(PathBuf),
    #[error("{} holds no certificate; it must be a PEM file of CA certificates", .0.display())]
    Empty(PathBuf),
    #[error("certificate {number} of {} cannot be read", path.display())]
    Certificate { path: PathBuf, number: usize },
}

/// Reads a bundle of CA certificates.
pub(crate) fn read_bundle(path: &Path) -> Result<(Vec<u8>, RootCertStore), BundleError> {
    use std::io::Read as _;
    let unreadable = |error| BundleError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let mut pem = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_BUNDLE + 1).read_to_end(&mut pem))
        .map_err(unreadable)?;
    if pem.len() as u64 > MAX_BUNDLE {
        return Err(BundleError::TooLarge(path.to_owned()));
    }
    let mut roots = RootCertStore::empty();
    for (index, certificate) in CertificateDer::pem_slice_iter(&pem).enumerate() {
        let broken = || BundleError::Certificate {
            path: path.to_owned(),
            number: index + 1,
        };
        roots
            .add(certificate.map_err(|_| broken())?)
            .map_err(|_| broken())?;
    }
    if roots.is_empty() {
        return Err(BundleError::Empty(path.to_owned()));
    }
    Ok((pem, roots))
}

const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(5 * 60);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(60);
const MAX_BUNDLE: u64 = 1 << 20;
