//! What rivers tells people of itself: who its upstreams are, what is believed of each and why, what
//! happened lately, and why a connection is where it is. The model here is the one that all show: as JSON
//! ([`mod@pages`]), as a page ([`html`]) and on a terminal ([`text`]), which gets it over HTTP ([`fetch`]).
//!
//! [`gather`] makes it from the published snapshot and the answers of the workers. Times are seconds before
//! the moment at which that was done, to a millisecond.

mod command;
mod fetch;
mod gather;
mod html;
mod pages;
mod text;
mod words;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub(crate) use self::{
    command::{Form, explain, status},
    gather::Gather,
    pages::pages,
};

/// Everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) pid: u32,
    /// Workers that did not answer in time: what they know is missing.
    pub(crate) silent_workers: usize,
    pub(crate) listeners: Vec<Listener>,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Listener {
    pub(crate) name: String,
    /// Where clients connect to.
    pub(crate) address: String,
    pub(crate) upstreams: Vec<Upstream>,
    /// Newest first.
    pub(crate) recent_dials: Vec<Dial>,
    /// Newest first.
    pub(crate) recent_closes: Vec<Close>,
}

/// One upstream as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Upstream {
    pub(crate) address: String,
    /// Where it is dialled; none while its name or its certificate is missing.
    pub(crate) sockets: Vec<SocketAddr>,
    pub(crate) state: String,
    /// What was last said against it.
    pub(crate) reason: Option<String>,
    pub(crate) trusted: bool,
    /// Those still being dialled included.
    pub(crate) connections: usize,
    /// Since a client's connection had a byte from it; `None`: never.
    pub(crate) heard_seconds_ago: Option<f64>,
}

/// One attempt to connect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Dial {
    pub(crate) seconds_ago: f64,
    pub(crate) upstream: String,
    pub(crate) outcome: String,
    pub(crate) took_seconds: f64,
}

/// One connection that has ended, in the words of the access log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Close {
    pub(crate) seconds_ago: f64,
    pub(crate) client: SocketAddr,
    pub(crate) upstream: Option<String>,
    pub(crate) tried: Vec<Tried>,
    pub(crate) seconds: f64,
    pub(crate) to_upstream: u64,
    pub(crate) to_client: u64,
    pub(crate) reason: String,
}

/// An upstream that did not serve a connection, and what became of the attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tried {
    pub(crate) upstream: String,
    pub(crate) outcome: String,
}

/// What is known of one client address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Explanation {
    /// Workers that did not answer in time: what they know is missing.
    pub(crate) silent_workers: usize,
    /// Those that live first, then those that have ended lately, newest first.
    pub(crate) connections: Vec<Connection>,
}

/// One connection, and why it is where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Connection {
    pub(crate) client: SocketAddr,
    pub(crate) listener: String,
    pub(crate) stage: Stage,
    /// In a sentence.
    pub(crate) why: String,
    pub(crate) upstream: Option<String>,
    pub(crate) accepted_seconds_ago: f64,
    /// Since the upstream accepted; `None`: it has not, it has ended, or an earlier process had connected it.
    pub(crate) connected_seconds_ago: Option<f64>,
    pub(crate) ended_seconds_ago: Option<f64>,
    pub(crate) tried: Vec<Tried>,
    pub(crate) to_upstream: u64,
    pub(crate) to_client: u64,
    /// The upstreams of its listener as they are now.
    pub(crate) upstreams: Vec<Upstream>,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// No upstream has accepted it yet.
    Dialling,
    /// One has, and has not sent a byte.
    Opening,
    Relaying,
    Ended,
}

impl Stage {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Dialling => "dialling",
            Self::Opening => "waiting for the upstream's first byte",
            Self::Relaying => "relaying",
            Self::Ended => "ended",
        }
    }
}

impl Upstream {
    /// What speaks against it, in a few words; empty when nothing does.
    pub(crate) fn why(&self) -> String {
        let trust = (!self.trusted).then_some("not dialled: its certificate has not been verified");
        let place = (self.trusted && self.sockets.is_empty())
            .then_some("not dialled: its name has not been found");
        let parts = [trust.or(place), self.reason.as_deref()];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    /// Where its name leads; empty when it is an address itself.
    pub(crate) fn places(&self) -> String {
        let sockets: Vec<String> = self.sockets.iter().map(ToString::to_string).collect();
        if sockets == [self.address.as_str()] {
            return String::new();
        }
        sockets.join(", ")
    }
}

#[cfg(test)]
mod tests;
