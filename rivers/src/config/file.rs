//! What `rivers.yml` may say. Unknown fields are refused; what is left out has its default here.
//!
//! Values are only read here; whether they make sense is decided where this turns into a
//! [`Config`](super::Config).

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use daemon::{
    config_file,
    logging::{Format, Level},
};
use serde::{Deserialize, Deserializer};

use super::{Admin, Mode, address::Address, listen::ListenAddress};

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where clients connect to, and who serves them. At least one.
    pub listeners: Vec<Listener>,
    /// Address of the admin endpoint (the status page, `/status.json`, `/explain`, `/metrics`, `/healthz`,
    /// `/readyz`), or `off`.
    /// Default `127.0.0.1:16480`.
    #[serde(default)]
    pub admin: AdminAddress,
    /// Threads that carry connections, 1 to 64. Default: the number of cores, but at most 4: one moves
    /// about a gigabyte a second, and what they do not use belongs to the node's work.
    pub workers: Option<usize>,
    /// Connections at a time, over all listeners, 1 to 10000000; further clients wait to be accepted.
    /// Default: what the limit of open files allows, two for each connection.
    pub max_connections: Option<usize>,
    /// How long connections may go on after SIGTERM before they are closed; `0s`: as long as they like.
    /// Default `10s`.
    #[serde(default = "default_shutdown_timeout", with = "daemon::duration::serde")]
    pub shutdown_timeout: Duration,
    /// What is logged, how and where.
    #[serde(default)]
    pub log: Log,
}

/// One listening address and its upstreams.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// What it is called in logs and metrics. Default: the listening address.
    pub name: Option<String>,
    /// `IP:PORT`, or `:PORT` for every address of this host, IPv4 and IPv6.
    pub listen: ListenAddress,
    /// The servers, each `HOST:PORT`. At least one.
    pub upstreams: Vec<Address>,
    /// Where further upstreams are known. Default: nowhere.
    pub discovery: Option<Discovery>,
    /// How a connection chooses among healthy upstreams. Default `least_loaded`.
    #[serde(default)]
    pub balance: super::Balance,
    /// How long a client waits for some upstream to accept, 50ms to 5m. Shorter than a TCP
    /// retransmission (1 s), one lost packet fails a client. Default `10s`.
    #[serde(default = "default_dial_timeout", with = "daemon::duration::serde")]
    pub dial_timeout: Duration,
    /// The silence after which a peer, client or upstream, is asked for a sign of life, 1s to 1h; after
    /// three unanswered ones, as far apart, the connection is dead. Default `15s`.
    #[serde(default = "default_dial_keep_alive", with = "daemon::duration::serde")]
    pub dial_keep_alive: Duration,
    /// What of a client's bytes is sent again, to the next upstream, when one closed the connection before
    /// it had sent a byte: `tls` (a lone ClientHello, which asks for nothing), `any` (a request may be
    /// executed twice) or `off`. At most 16 KiB are kept for that. Default `tls`.
    #[serde(default)]
    pub replay: super::Replay,
    /// Whether connections drift to an upstream that has come back: quiet ones elsewhere are closed, one at a
    /// time, and the clients that come next are sent there. A request whose answer takes longer than two
    /// seconds to begin looks quiet, too, and fails then. Default `false`.
    #[serde(default)]
    pub rebalance: bool,
    /// Percent of the connections that are moved in a minute, 1 to 600. In a large cluster a greater pace has
    /// many clients shake hands with the server that has just come back at once. Default 4: a third of them
    /// in eight minutes.
    #[serde(default = "default_rebalance_pace")]
    pub rebalance_pace: u16,
    /// How upstreams are judged.
    #[serde(default)]
    pub health: Health,
}

/// How upstreams are judged.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// What a probe asks: `auto`, `readyz`, `tls` or `tcp`. Default `auto`: `readyz`, and a TCP connect of
    /// an upstream that wants a client certificate or speaks no HTTP over TLS.
    pub mode: Mode,
    /// PEM file of CA certificates; read again when it changes. With it, no client's byte goes to an
    /// upstream whose certificate has not been verified. Default: none, and all are trusted.
    pub ca_file: Option<PathBuf>,
    /// The name, or IP address, that the certificates must carry. Default: the host that is dialled.
    pub server_name: Option<String>,
    /// Time from one sign of life to the next, 100ms to 5m; up to a fifth is taken off at random. An HTTP/2
    /// PING, or whatever else `mode` allows. Default `1s`.
    #[serde(with = "daemon::duration::serde")]
    pub interval: Duration,
    /// Time from one question at `/readyz` to the next, as `interval`. Default `10s`.
    #[serde(with = "daemon::duration::serde")]
    pub readyz_interval: Duration,
    /// How long a probe may take, 50ms to 1m. Default `900ms`: with the other defaults a server that hangs
    /// is down within 3 s.
    #[serde(with = "daemon::duration::serde")]
    pub timeout: Duration,
    /// Good probes in a row that bring a dead upstream back, 1 to 100. Default 2.
    pub rise: u32,
    /// Bad probes in a row after which an upstream is dead, 1 to 100. Default 2.
    pub fall: u32,
}

/// Where further upstreams are known: in the cluster, as the EndpointSlices of the Service `kubernetes`,
/// which are watched through the upstreams themselves. Those that are configured stay in any case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discovery {
    /// File with the cluster's CA and credentials that may list and watch EndpointSlices in `default`. Its
    /// server is not used.
    pub kubeconfig: PathBuf,
}

/// What is logged, how and where.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `critical`, `error`, `warn`, `info` or `debug`; `debug` has a line for each connection.
    /// Default `info`.
    pub level: Level,
    /// `plain`, `logfmt` or `json`. Default `plain`.
    pub format: Format,
    /// A file to append to. Default: standard error.
    pub file: Option<PathBuf>,
}

/// Where the admin endpoint listens, if anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// No endpoint.
    Off,
    /// On this address.
    At(SocketAddr),
}

impl AdminAddress {
    /// As a file means it: the program does not run without it.
    pub(crate) const fn required(self) -> Option<Admin> {
        match self {
            Self::Off => None,
            Self::At(address) => Some(Admin {
                address,
                required: true,
            }),
        }
    }
}

impl std::str::FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse()
            .map(Self::At)
            .map_err(|_| format!("`{text}` must be IP:PORT, for example {DEFAULT_ADMIN}, or `off`"))
    }
}

impl<'de> Deserialize<'de> for AdminAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        config_file::text(deserializer, str::parse)
    }
}

impl Default for AdminAddress {
    fn default() -> Self {
        Self::At(DEFAULT_ADMIN)
    }
}

impl Default for Health {
    fn default() -> Self {
        let health = super::Health::default();
        Self {
            mode: health.mode,
            ca_file: health.ca_file,
            server_name: None,
            interval: health.interval,
            readyz_interval: health.readyz_interval,
            timeout: health.timeout,
            rise: health.rise,
            fall: health.fall,
        }
    }
}

/// The default of `shutdown_timeout`.
pub const fn default_shutdown_timeout() -> Duration {
    Duration::from_secs(10)
}

/// The default of `dial_timeout`.
pub const fn default_dial_timeout() -> Duration {
    Duration::from_secs(10)
}

/// The default of `dial_keep_alive`.
pub const fn default_dial_keep_alive() -> Duration {
    Duration::from_secs(15)
}

/// The default of `rebalance_pace`.
pub const fn default_rebalance_pace() -> u16 {
    super::rebalance::DEFAULT
}

/// The default of `admin`.
pub const DEFAULT_ADMIN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 16480);
