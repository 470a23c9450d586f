//! What nodedns tells people of itself: what it was asked, how much of it the cache knew, how long the
//! rest took, how its servers are, who asks most, what fails and why. One model, shown on a terminal
//! ([`text`], over the control socket) and as a page ([`html`]).
//!
//! The numbers are those of `/metrics` ([`scrape`]): there is one set of them.

mod html;
mod scrape;
pub(crate) mod text;

use std::process;
use std::sync::Arc;
use std::time::Instant;

use daemon::admin::{Page, Reply};
use daemon::metrics::Metrics;
use serde::{Deserialize, Serialize};

use crate::seen::{Seen, Summary};
use crate::status::scrape::Scrape;

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) pid: u32,
    /// Since the start.
    pub(crate) uptime_seconds: u64,
    /// Packets from clients, over UDP and TCP.
    pub(crate) queries: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    /// Thousandths of the questions that the cache knew; none before the first.
    pub(crate) hit_permille: Option<u32>,
    /// How long misses took: microseconds that half, nine tenths, 99 of a hundred did not need.
    pub(crate) miss_micros: Option<Quantiles>,
    /// Answers by response code, most first; without those that there were none of.
    pub(crate) answers: Vec<Count>,
    /// Packets without an answer, by reason.
    pub(crate) unanswered: Vec<Count>,
    /// Times that a client met a limit, by limit.
    pub(crate) limited: Vec<Count>,
    pub(crate) cache_answers: u64,
    pub(crate) cache_bytes: u64,
    pub(crate) tcp_connections: u64,
    /// By address.
    pub(crate) servers: Vec<Server>,
    /// Clients and names; none where strangers could read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seen: Option<Summary>,
}

/// How many there were of something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Count {
    pub(crate) what: String,
    pub(crate) count: u64,
}

/// Upper bounds, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quantiles {
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
}

/// One server that is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    pub(crate) server: String,
    pub(crate) is_up: bool,
    pub(crate) answered: u64,
    /// Rejected, in vain, late.
    pub(crate) other: u64,
    pub(crate) micros: Option<Quantiles>,
}

/// Makes a [`Status`] whenever it is asked for. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Gather {
    metrics: Metrics,
    seen: Arc<Seen>,
    start: Instant,
}

impl Gather {
    pub(crate) fn new(metrics: Metrics, seen: Arc<Seen>) -> Self {
        Self {
            metrics,
            seen,
            start: Instant::now(),
        }
    }

    /// How things are, with the names of clients and of what they ask where that is for the reader.
    pub(crate) fn status(&self, with_names: bool) -> Status {
        let now = Instant::now();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: process::id(),
            uptime_seconds: now.saturating_duration_since(self.start).as_secs(),
            seen: with_names.then(|| self.seen.summary(now)),
            ..of(&Scrape::read(&self.metrics.render()))
        }
    }

    /// The pages of the admin endpoint. Anybody who reaches it reads them: clients and names are shown
    /// where only this node does.
    pub(crate) fn pages(&self, with_names: bool) -> Vec<Page> {
        let [people, programs] = [self; 2].map(Clone::clone);
        let json =
            |status: &Status| serde_json::to_string_pretty(status).unwrap_or_default() + "\n";
        vec![
            Page::new("/", "the status, for people", move |_| {
                let page = html::page(&people.status(with_names));
                async move { Reply::html(page) }
            }),
            Page::new("/status.json", "the status, for programs", move |_| {
                let text = json(&programs.status(with_names));
                async move { Reply::json(text) }
            }),
        ]
    }
}

/// What the metrics say.
fn of(scrape: &Scrape) -> Status {
    let lookups = |result| scrape.sum("nodedns_cache_lookups_total", &[("result", result)]);
    let [hits, misses] = ["hit", "miss"].map(lookups);
    let all = hits + misses;
    let servers = scrape.values("nodedns_upstream_queries_total", "server");
    Status {
        version: String::new(),
        pid: 0,
        uptime_seconds: 0,
        queries: scrape.sum("nodedns_queries_total", &[]),
        hits,
        misses,
        hit_permille: (hits * 1_000).checked_div(all).map(|share| share as u32),
        miss_micros: scrape.quantiles("nodedns_miss_seconds", &[]),
        answers: counts(scrape, "nodedns_answers_total", "rcode"),
        unanswered: counts(scrape, "nodedns_unanswered_total", "reason"),
        limited: counts(scrape, "nodedns_limited_total", "limit"),
        cache_answers: scrape.sum("nodedns_cache_entries", &[]),
        cache_bytes: scrape.sum("nodedns_cache_bytes", &[]),
        tcp_connections: scrape.sum("nodedns_tcp_connections", &[]),
        servers: servers
            .into_iter()
            .map(|server| of_server(scrape, server))
            .collect(),
        seen: None,
    }
}

fn of_server(scrape: &Scrape, server: String) -> Server {
    let label = ("server", server.as_str());
    let queries = |outcome| {
        let labels = [label, ("outcome", outcome)];
        scrape.sum("nodedns_upstream_queries_total", &labels)
    };
    let has_state = scrape.has("nodedns_upstream_up", &[label]);
    Server {
        is_up: !has_state || scrape.sum("nodedns_upstream_up", &[label]) > 0,
        answered: queries("answered"),
        other: ["rejected", "network_error", "late"]
            .into_iter()
            .map(queries)
            .sum(),
        micros: scrape.quantiles("nodedns_upstream_seconds", &[label]),
        server,
    }
}

/// The series of `name` by the value of a label, most first.
fn counts(scrape: &Scrape, name: &str, label: &str) -> Vec<Count> {
    let values = scrape.values(name, label).into_iter();
    let counts = values.map(|what| Count {
        count: scrape.sum(name, &[(label, &what)]),
        what,
    });
    let mut counts: Vec<_> = counts.filter(|one| one.count > 0).collect();
    counts.sort_by_key(|one| std::cmp::Reverse(one.count));
    counts
}

#[cfg(test)]
mod tests;
