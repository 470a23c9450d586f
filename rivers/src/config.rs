//! What rivers runs on: values that can only be right. [`mod@file`] is what people may write; the conversion
//! from it, here, is the only validation.

pub mod address;
pub mod file;
pub mod handover;
mod health;
pub mod listen;
mod rebalance;

use std::{
    collections::HashSet,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    thread::available_parallelism,
    time::Duration,
};

use clap::ValueEnum;
use daemon::{
    config_file::{ConfigError, Document},
    duration, logging,
};
use serde::Deserialize;

pub(crate) use self::health::read_bundle;
use self::{
    address::{Address, Host},
    handover::Handover,
    listen::ListenAddress,
};
pub use self::{
    health::{Health, Mode},
    rebalance::Pace,
};

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// At least one; names and addresses are distinct.
    pub listeners: Vec<Listener>,
    /// The admin endpoint, if there is to be one.
    pub admin: Option<Admin>,
    /// Threads that carry connections, 1 to 64.
    pub workers: NonZeroUsize,
    /// How many connections there may be at a time; `None`: what the limit of open files allows.
    pub max_connections: Option<NonZeroUsize>,
    /// How another process takes over from this one, or this one from another.
    pub handover: Handover,
    /// How long connections may go on once rivers has to stop; `None`: as long as they like.
    pub shutdown_timeout: Option<Duration>,
    /// What is logged, how and where.
    pub log: logging::Options,
    /// Folder for what outlives the process.
    pub state_dir: PathBuf,
}

/// The endpoint for `/metrics`, `/healthz` and `/readyz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether an address that is taken ends the program; else it goes on without.
    pub required: bool,
}

/// One listening address and its upstreams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What it is called in logs and metrics.
    pub name: String,
    /// Where clients connect to.
    pub listen: ListenAddress,
    /// At least one, all distinct.
    pub upstreams: Vec<Address>,
    /// Where further upstreams are known.
    pub discovery: Option<Discovery>,
    /// How a connection chooses among healthy upstreams.
    pub balance: Balance,
    /// How long a client waits for some upstream to accept; 50 ms to 5 min.
    pub dial_timeout: Duration,
    /// The silence after which a peer is asked for a sign of life; 1 s to 1 h.
    pub keepalive: Duration,
    /// What is sent again to another upstream.
    pub replay: Replay,
    /// How fast connections drift to an upstream that has come back; `None`: they stay where they are.
    pub rebalance: Option<Pace>,
    /// How upstreams are judged.
    pub health: Health,
}

/// Where further upstreams of a listener are known: in the cluster whose API servers they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// File with CA and credentials. Its server is not used.
    pub kubeconfig: PathBuf,
}

/// How a connection chooses among healthy upstreams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// The one with fewer connections of two random ones.
    #[default]
    LeastLoaded,
    /// Any.
    Random,
    /// Each in turn, counted by worker.
    RoundRobin,
}

impl Balance {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::LeastLoaded, Self::Random, Self::RoundRobin];

    /// The word for it in the file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::LeastLoaded => "least_loaded",
            Self::Random => "random",
            Self::RoundRobin => "round_robin",
        }
    }
}

/// What a client has sent may be sent again, to the next upstream, when one closed the connection before it
/// had sent a byte. After its first byte nothing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Replay {
    /// A lone TLS ClientHello, which asks for nothing
    #[default]
    Tls,
    /// Anything: a request may be executed twice
    Any,
    /// Nothing
    Off,
}

/// A value that makes no sense, and where it was written: `listeners[0].dial_timeout`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The field, as [`Document::error_at`] takes it.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Invalid {
    fn new(field: impl Into<String>, message: impl fmt::Display) -> Self {
        Self {
            field: field.into(),
            message: message.to_string(),
        }
    }
}

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// It cannot be read, is not as [`file::File`] wants it, or holds a value that makes no sense; with
    /// line and column.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::of(&Document::read(path)?)
    }

    /// Checks the text of a file; `name` stands for it in errors.
    ///
    /// # Errors
    /// As for [`Self::load`].
    pub fn parse(name: &Path, text: &str) -> Result<Self, ConfigError> {
        Self::of(&Document::new(name, text))
    }

    fn of(document: &Document) -> Result<Self, ConfigError> {
        Self::try_from(document.parse::<file::File>()?)
            .map_err(|invalid| document.error_at(&invalid.field, invalid.message))
    }
}

impl TryFrom<file::File> for Config {
    type Error = Invalid;

    fn try_from(file: file::File) -> Result<Self, Invalid> {
        if file.listeners.is_empty() {
            return Err(Invalid::new("listeners", "must name at least one listener"));
        }
        let listeners = file
            .listeners
            .into_iter()
            .enumerate()
            .map(|(index, listener)| Listener::from_file(listener, &format!("listeners[{index}]")))
            .collect::<Result<Vec<_>, _>>()?;
        refuse_duplicates(&listeners)?;
        Ok(Self {
            listeners,
            admin: file.admin.required(),
            workers: file
                .workers
                .map_or_else(|| Ok(default_workers()), workers)?,
            max_connections: file.max_connections.map(max_connections).transpose()?,
            handover: Handover::default(),
            shutdown_timeout: Some(file.shutdown_timeout).filter(|timeout| !timeout.is_zero()),
            log: logging::Options {
                level: file.log.level,
                format: file.log.format,
                file: file.log.file,
            },
            state_dir: DEFAULT_STATE_DIR.into(),
        })
    }
}

impl Listener {
    fn from_file(file: file::Listener, at: &str) -> Result<Self, Invalid> {
        let name = file.name.unwrap_or_else(|| file.listen.to_string());
        if name.is_empty() || name.len() > 63 || name.chars().any(char::is_control) {
            let message = "must be 1 to 63 characters, none of them control characters";
            return Err(Invalid::new(format!("{at}.name"), message));
        }
        if file.upstreams.is_empty() {
            let message = "must name at least one server, as HOST:PORT";
            return Err(Invalid::new(format!("{at}.upstreams"), message));
        }
        let mut seen = HashSet::new();
        for (index, upstream) in file.upstreams.iter().enumerate() {
            let field = || format!("{at}.upstreams[{index}]");
            if !seen.insert(upstream) {
                let message = format!("{upstream} is named twice; name each server once");
                return Err(Invalid::new(field(), message));
            }
            let ip = match upstream.host {
                Host::Ip(ip) => Some(ip),
                Host::Name(_) => upstream.is_loopback().then_some(Ipv4Addr::LOCALHOST.into()),
            };
            if ip.is_some_and(|ip| file.listen.takes(SocketAddr::new(ip, upstream.port))) {
                let message =
                    format!("{upstream} is this listener itself; name the servers behind it");
                return Err(Invalid::new(field(), message));
            }
        }
        let duration = |field: &str, value, range| between(&format!("{at}.{field}"), value, range);
        Ok(Self {
            dial_timeout: duration("dial_timeout", file.dial_timeout, DIAL_TIMEOUT)?,
            keepalive: duration("dial_keep_alive", file.dial_keep_alive, KEEPALIVE)?,
            health: Health::from_file(file.health, at)?,
            rebalance: Pace::from_file(file.rebalance, file.rebalance_pace, at)?,
            name,
            listen: file.listen,
            upstreams: file.upstreams,
            discovery: file.discovery.map(|discovery| Discovery {
                kubeconfig: discovery.kubeconfig,
            }),
            balance: file.balance,
            replay: file.replay,
        })
    }
}

fn between(
    field: &str,
    value: Duration,
    range: RangeInclusive<Duration>,
) -> Result<Duration, Invalid> {
    if range.contains(&value) {
        return Ok(value);
    }
    let [from, to] = [range.start(), range.end()].map(|&limit| duration::format(limit));
    Err(Invalid::new(
        field,
        format!("must be between {from} and {to}"),
    ))
}

fn refuse_duplicates(listeners: &[Listener]) -> Result<(), Invalid> {
    let mut names = HashSet::new();
    let mut addresses = HashSet::new();
    for (index, listener) in listeners.iter().enumerate() {
        let field = |field: &str| format!("listeners[{index}].{field}");
        if listener.listen.port() != 0 && !addresses.insert(listener.listen) {
            let message = format!("{} is taken by a listener above", listener.listen);
            return Err(Invalid::new(field("listen"), message));
        }
        if !names.insert(&listener.name) {
            let message = format!("`{}` is the name of a listener above", listener.name);
            return Err(Invalid::new(field("name"), message));
        }
    }
    Ok(())
}

fn max_connections(count: usize) -> Result<NonZeroUsize, Invalid> {
    NonZeroUsize::new(count)
        .filter(|&count| count <= MAX_CONNECTIONS)
        .ok_or_else(|| Invalid::new("max_connections", "must be between 1 and 10000000"))
}

fn workers(count: usize) -> Result<NonZeroUsize, Invalid> {
    NonZeroUsize::new(count)
        .filter(|&count| count <= MAX_WORKERS)
        .ok_or_else(|| Invalid::new("workers", "must be between 1 and 64"))
}

fn default_workers() -> NonZeroUsize {
    available_parallelism()
        .unwrap_or(NonZeroUsize::MIN)
        .min(DEFAULT_WORKERS)
}

/// A unit's `StateDirectory=rivers`.
const DEFAULT_STATE_DIR: &str = "/var/lib/rivers";
/// Each moves about a gigabyte a second; the cores beyond belong to the node's work.
const DEFAULT_WORKERS: NonZeroUsize = NonZeroUsize::new(4).unwrap();
const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(10_000_000).unwrap();
const MAX_WORKERS: NonZeroUsize = NonZeroUsize::new(64).unwrap();

const DIAL_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(50)..=Duration::from_secs(5 * 60);
/// The kernel counts the silence before a keepalive in whole seconds.
const KEEPALIVE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests;
