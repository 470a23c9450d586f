//! Every metric of nodedns: its name, help and labels. The README's table says
//! the same to operators.
//!
//! Labels are bounded: response codes from a closed list, servers from the
//! configuration; never a client or a name. Handles are made once, so that the
//! hot path only adds.

use std::time::{Duration, SystemTime};

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

use crate::anchors::rfc5011::{State, Time, Tracked};
use crate::config::Forward;
use crate::validate::budget::Work;
use crate::validate::{VERDICTS, Verdict};
use crate::wire::Rcode;
use crate::wire::name::Name;
use crate::wire::patch::Transport;
use crate::wire::record::Section;
use crate::wire::response::Response;

/// The counters of the ways in, the answers and the cache.
#[derive(Clone)]
pub(crate) struct Metrics {
    queries: [Counter; 2],
    answers: Vec<(Rcode, Counter)>,
    other_answers: Counter,
    lookups: [Counter; 4],
    /// Answers whose time was over, for want of newer ones.
    pub(crate) stale: Counter,
    /// Answers asked for anew before their time was over.
    pub(crate) prefetches: Counter,
    synthesized: [Counter; 2],
    /// Questions that waited for the answer to the same question of another.
    pub(crate) coalesced: Counter,
    /// Answers cut to fit, TC set.
    pub(crate) truncated: Counter,
    unanswered: [Counter; 7],
    limited: [Counter; 6],
    verdicts: [Counter; 4],
    signatures: Counter,
    hashes: Counter,
    /// Questions to servers about the chain of trust.
    pub(crate) trust_questions: Counter,
    /// Whether the signatures of a trust anchor's zone are of another time than the clock's.
    pub(crate) clock_off: Gauge,
    /// TCP connections of clients, open now.
    pub(crate) tcp_connections: Gauge,
    /// TCP connections closed to make room for others.
    pub(crate) tcp_evicted: Counter,
    /// Answers withheld: public names with addresses of one's own.
    pub(crate) rebinding: Counter,
    /// Lines of the query log that a second had no room for.
    pub(crate) unlogged: Counter,
    /// How long questions took that the cache did not know.
    pub(crate) miss_seconds: Histogram,
    /// Tasks that ended in a panic.
    pub(crate) panics: Counter,
}

/// Why a packet got no answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unanswered {
    /// It was no query.
    NotAQuery = 0,
    /// Too many questions were waiting for servers.
    TooBusy = 1,
    /// The socket's buffer was full, or the way back is gone.
    SendFailed = 2,
    /// The client closed its connection before.
    ClientGone = 3,
    /// It came faster than it could be read.
    Lost = 4,
    /// Its client asked more often than one may.
    TooOften = 5,
    /// Its answer came when nobody waited any more.
    TooOld = 6,
}

/// What a client met.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    /// It is not among those who may ask.
    Access = 0,
    /// It asked more often than one may.
    Rate = 1,
    /// It had too many questions that wait.
    Waiting = 2,
    /// It had too many TCP connections.
    Connections = 3,
    /// It sent a message over TCP that is longer than a question can be.
    Length = 4,
    /// Its questions were piled up, and their large answers not sent over UDP.
    Pile = 5,
}

/// What the cache had.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lookup {
    /// The answer.
    Hit = 0,
    /// One whose time is over, and it is known that there is no newer one.
    Stale = 1,
    /// A denial of something above the name.
    Denied = 2,
    /// None that can be used at once.
    Miss = 3,
}

impl Metrics {
    /// Describes all metrics, and makes the handles.
    pub(crate) fn new() -> Self {
        describe();
        Self {
            queries: ["udp", "tcp"].map(|transport| counter!(QUERIES, "transport" => transport)),
            answers: ANSWER_CODES
                .map(|rcode| (rcode, counter!(ANSWERS, "rcode" => rcode.name())))
                .into(),
            other_answers: counter!(ANSWERS, "rcode" => "other"),
            lookups: ["hit", "stale", "denied", "miss"]
                .map(|result| counter!(LOOKUPS, "result" => result)),
            stale: counter!(STALE),
            prefetches: counter!(PREFETCHES),
            synthesized: ["denial", "wildcard"].map(|kind| counter!(SYNTHESIZED, "kind" => kind)),
            coalesced: counter!(COALESCED),
            truncated: counter!(TRUNCATED),
            unanswered: [
                "not_a_query",
                "too_busy",
                "send_failed",
                "client_gone",
                "lost",
                "too_often",
                "too_old",
            ]
            .map(|reason| counter!(UNANSWERED, "reason" => reason)),
            limited: ["access", "rate", "waiting", "connections", "length", "pile"]
                .map(|limit| counter!(LIMITED, "limit" => limit)),
            verdicts: VERDICTS.map(|verdict| counter!(VALIDATIONS, "verdict" => verdict)),
            signatures: counter!(SIGNATURES),
            hashes: counter!(HASHES),
            trust_questions: counter!(TRUST_QUESTIONS),
            clock_off: gauge!(CLOCK_OFF),
            tcp_connections: gauge!(TCP_CONNECTIONS),
            tcp_evicted: counter!(TCP_EVICTED),
            rebinding: counter!(REBINDING),
            unlogged: counter!(UNLOGGED),
            miss_seconds: histogram!(MISS_SECONDS),
            panics: counter!(PANICS),
        }
    }

    /// A packet arrived.
    pub(crate) fn query(&self, transport: Transport) {
        self.queries[match transport {
            Transport::Udp => 0,
            Transport::Tcp => 1,
        }]
        .increment(1);
    }

    /// An answer was made.
    pub(crate) fn answer(&self, rcode: Rcode) {
        self.answers
            .iter()
            .find(|(code, _)| *code == rcode)
            .map_or(&self.other_answers, |(_, counter)| counter)
            .increment(1);
    }

    /// The cache was asked.
    pub(crate) fn lookup(&self, result: Lookup) {
        self.lookups[result as usize].increment(1);
    }

    /// Counts a response that was made of proofs.
    pub(crate) fn synthesized(&self, response: &Response) {
        let is_wildcard = response.layout().section(Section::Answer).next().is_some();
        self.synthesized[usize::from(is_wildcard)].increment(1);
    }

    /// A response was judged.
    pub(crate) fn verdict(&self, verdict: &Verdict) {
        self.verdicts[verdict.rank()].increment(1);
    }

    /// A question cost so much to validate.
    pub(crate) fn work(&self, work: Work) {
        self.signatures.increment(work.signatures.into());
        self.hashes.increment(work.hashes.into());
    }

    /// A packet got no answer.
    pub(crate) fn unanswered(&self, reason: Unanswered) {
        self.all_unanswered(reason, 1);
    }

    /// A client met a limit.
    pub(crate) fn limited(&self, limit: Limit) {
        self.limited[limit as usize].increment(1);
    }

    /// So many packets got no answer.
    pub(crate) fn all_unanswered(&self, reason: Unanswered, count: u64) {
        self.unanswered[reason as usize].increment(count);
    }
}

/// The gauges of the cache, set from time to time.
#[derive(Clone)]
pub(crate) struct CacheMetrics {
    entries: Gauge,
    bytes: Gauge,
    evictions: Counter,
}

impl CacheMetrics {
    pub(crate) fn new() -> Self {
        Self {
            entries: gauge!(CACHE_ENTRIES),
            bytes: gauge!(CACHE_BYTES),
            evictions: counter!(CACHE_EVICTIONS),
        }
    }

    /// Shows how full the cache is.
    pub(crate) fn set(&self, usage: crate::cache::Usage) {
        self.entries.set(usage.entries as f64);
        self.bytes.set(usage.bytes as f64);
        self.evictions.absolute(usage.evicted);
    }
}

/// The configuration with this digest has come into force, or one was refused.
pub(crate) fn configured(digest: Option<u64>) {
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1);
    let refused = counter!(RELOAD_FAILURES);
    gauge!(RELOAD_GOOD).set(f64::from(u8::from(digest.is_some())));
    let Some(digest) = digest else {
        return refused.increment(1);
    };
    gauge!(CONFIG_HASH).set(digest as f64);
    if let Ok(now) = SystemTime::UNIX_EPOCH.elapsed() {
        gauge!(RELOAD_SECONDS).set(now.as_secs_f64());
    }
}

/// What the kernel says of this node's clock.
pub(crate) fn clock_synchronized(is_synchronized: bool) {
    gauge!(CLOCK_SYNCHRONIZED).set(f64::from(u8::from(is_synchronized)));
}

/// What is trusted, and not validated by hand.
#[derive(Clone)]
pub(crate) struct TrustMetrics {
    seen: Counter,
    failed: Counter,
    negative: Gauge,
}

impl TrustMetrics {
    pub(crate) fn new() -> Self {
        let queries = |outcome| counter!(ANCHOR_QUERIES, "outcome" => outcome);
        Self {
            seen: queries("seen"),
            failed: queries("failed"),
            negative: gauge!(NEGATIVE_ANCHORS),
        }
    }

    /// The keys of a trust anchor were asked for.
    pub(crate) fn query(&self, seen: bool) {
        if seen { &self.seen } else { &self.failed }.increment(1);
    }

    /// So many names are not validated because somebody said so.
    pub(crate) fn negative_anchors(&self, count: usize) {
        self.negative.set(count as f64);
    }

    /// The keys of the trust anchor of `zone`, last seen at that time. Rare enough to look the series up.
    pub(crate) fn point(&self, zone: &Name, keys: &[Tracked], last_seen: Time) {
        let zone = zone.to_string();
        let mut counts = [
            ("pending", 0_u32),
            ("valid", 0),
            ("missing", 0),
            ("revoked", 0),
        ];
        for key in keys {
            let place = match key.state {
                State::Pending { .. } => 0,
                State::Valid => 1,
                State::Missing => 2,
                State::Revoked => 3,
                State::Removed => continue,
            };
            counts[place].1 += 1;
        }
        for (state, count) in counts {
            gauge!(ANCHOR_KEYS, "zone" => zone.clone(), "state" => state).set(count);
        }
        gauge!(ANCHOR_SEEN, "zone" => zone).set(last_seen as f64);
    }
}

/// The metrics of one server that is asked.
#[derive(Clone, Debug)]
pub(crate) struct ServerMetrics {
    answered: Counter,
    rejected: Counter,
    network_error: Counter,
    late: Counter,
    /// Replies that were not believed.
    pub(crate) ignored: Counter,
    /// Connections to it, open now.
    pub(crate) connections: Gauge,
    handshakes: [Counter; 2],
    up: Gauge,
    seconds: Histogram,
}

impl ServerMetrics {
    pub(crate) fn new(server: &Forward) -> Self {
        let encrypted = server.protocol.is_encrypted();
        let server = server.to_string();
        let outcome =
            |outcome| counter!(UPSTREAM, "server" => server.clone(), "outcome" => outcome);
        let handshake = |kind| match encrypted {
            true => counter!(UPSTREAM_HANDSHAKES, "server" => server.clone(), "kind" => kind),
            false => Counter::noop(),
        };
        let up = gauge!(UPSTREAM_UP, "server" => server.clone());
        up.set(1.0);
        Self {
            answered: outcome("answered"),
            rejected: outcome("rejected"),
            network_error: outcome("network_error"),
            late: outcome("late"),
            ignored: counter!(UPSTREAM_IGNORED, "server" => server.clone()),
            connections: gauge!(UPSTREAM_CONNECTIONS, "server" => server.clone()),
            handshakes: [handshake("full"), handshake("resumed")],
            up,
            seconds: histogram!(UPSTREAM_SECONDS, "server" => server),
        }
    }

    /// Those of all servers that strangers' zones name: there is no end of them.
    pub(crate) fn of_recursion() -> Self {
        let outcome = |outcome| counter!(UPSTREAM, "server" => RECURSION, "outcome" => outcome);
        Self {
            answered: outcome("answered"),
            rejected: outcome("rejected"),
            network_error: outcome("network_error"),
            late: outcome("late"),
            ignored: counter!(UPSTREAM_IGNORED, "server" => RECURSION),
            connections: gauge!(UPSTREAM_CONNECTIONS, "server" => RECURSION),
            handshakes: [Counter::noop(), Counter::noop()],
            up: Gauge::noop(),
            seconds: histogram!(UPSTREAM_SECONDS, "server" => RECURSION),
        }
    }

    /// A usable answer came after that time.
    pub(crate) fn answered(&self, after: Duration) {
        self.answered.increment(1);
        self.seconds.record(after.as_secs_f64());
    }

    /// The server answered with a code that is no answer.
    pub(crate) fn rejected(&self) {
        self.rejected.increment(1);
    }

    /// The server could not be reached, or closed the connection.
    pub(crate) fn network_error(&self) {
        self.network_error.increment(1);
    }

    /// The server proved who it is, or was remembered to have.
    pub(crate) fn handshake(&self, resumed: bool) {
        self.handshakes[usize::from(resumed)].increment(1);
    }

    /// Whether the server is asked, or only probed.
    pub(crate) fn health(&self, up: bool) {
        self.up.set(f64::from(u8::from(up)));
    }

    /// The server did not answer before the next one was asked, too.
    pub(crate) fn late(&self) {
        self.late.increment(1);
    }
}

fn describe() {
    describe_gauge!(BUILD_INFO, "Always 1; the label tells the version");
    describe_gauge!(
        CONFIG_HASH,
        "The first 48 bits of the SHA-256 digest of the configuration file in force, as a number"
    );
    describe_counter!(
        RELOAD_FAILURES,
        "Configurations that were refused since the start"
    );
    describe_gauge!(
        RELOAD_GOOD,
        "1: the configuration that was read last is in force"
    );
    describe_gauge!(
        RELOAD_SECONDS,
        Unit::Seconds,
        "When the configuration in force was read, since 1970"
    );
    describe_counter!(QUERIES, "Packets from clients");
    describe_counter!(ANSWERS, "Answers, by response code");
    describe_counter!(LOOKUPS, "Questions that the cache was asked");
    describe_counter!(
        SYNTHESIZED,
        "Answers made of what signed zones proved before, by kind"
    );
    describe_counter!(
        STALE,
        "Answers whose time was over, given because no server gave newer ones"
    );
    describe_counter!(
        PREFETCHES,
        "Answers asked for anew before their time was over"
    );
    describe_counter!(
        COALESCED,
        "Questions that waited for the answer to the same question"
    );
    describe_counter!(TRUNCATED, "Answers cut to fit the client, TC set");
    describe_counter!(UNANSWERED, "Packets that got no answer, by reason");
    describe_counter!(LIMITED, "Times that a client met a limit, by limit");
    describe_counter!(VALIDATIONS, "Responses judged, by what they are worth");
    describe_counter!(SIGNATURES, "Signatures verified");
    describe_counter!(HASHES, "Names hashed for NSEC3");
    describe_counter!(
        TRUST_QUESTIONS,
        "Questions to servers about the chain of trust"
    );
    describe_gauge!(
        CLOCK_OFF,
        "1: the signatures of a trust anchor's zone are of another time than this node's clock"
    );
    describe_gauge!(
        CLOCK_SYNCHRONIZED,
        "0: the kernel says that nobody keeps this node's clock right"
    );
    describe_gauge!(
        ANCHOR_KEYS,
        "Keys of zones with trust anchors, by state (RFC 5011)"
    );
    describe_gauge!(
        ANCHOR_SEEN,
        Unit::Seconds,
        "When the keys of a trust anchor were last seen, signed by a trusted one, since 1970; 0: not since the start"
    );
    describe_counter!(
        ANCHOR_QUERIES,
        "Questions for the keys of trust anchors, by outcome"
    );
    describe_gauge!(
        NEGATIVE_ANCHORS,
        "Names that are not validated for a while, because somebody said so"
    );
    describe_gauge!(TCP_CONNECTIONS, "TCP connections of clients");
    describe_counter!(
        TCP_EVICTED,
        "TCP connections closed to make room for others"
    );
    describe_counter!(PANICS, "Tasks that ended in a panic: a bug each");
    describe_counter!(
        REBINDING,
        "Answers withheld: public names with addresses of one's own"
    );
    describe_counter!(
        UNLOGGED,
        "Lines of the query log that a second had no room for"
    );
    describe_histogram!(
        MISS_SECONDS,
        "Time until the answer to a question that the cache did not know"
    );
    describe_gauge!(CACHE_ENTRIES, "Answers in the cache");
    describe_gauge!(CACHE_BYTES, "Bytes that the cache takes");
    describe_counter!(CACHE_EVICTIONS, "Answers that went before their time");
    describe_counter!(
        UPSTREAM,
        "Questions to servers, by outcome; late: another was asked meanwhile"
    );
    describe_counter!(
        UPSTREAM_IGNORED,
        "Replies that were not believed: malformed, or not to our question"
    );
    describe_gauge!(
        UPSTREAM_CONNECTIONS,
        "Connections to servers, over TCP or TLS"
    );
    describe_counter!(
        UPSTREAM_HANDSHAKES,
        "TLS handshakes with servers; resumed: nothing had to be proved anew"
    );
    describe_gauge!(
        UPSTREAM_UP,
        "0: the server is dead, and probed once a second"
    );
    describe_histogram!(UPSTREAM_SECONDS, "Time until a server's usable answer");
}

const BUILD_INFO: &str = "nodedns_build_info";
const CONFIG_HASH: &str = "nodedns_config_hash";
const RELOAD_FAILURES: &str = "nodedns_config_reload_failures_total";
const RELOAD_GOOD: &str = "nodedns_config_last_reload_successful";
const RELOAD_SECONDS: &str = "nodedns_config_last_reload_success_timestamp_seconds";
const QUERIES: &str = "nodedns_queries_total";
const ANSWERS: &str = "nodedns_answers_total";
const LOOKUPS: &str = "nodedns_cache_lookups_total";
const SYNTHESIZED: &str = "nodedns_synthesized_total";
const STALE: &str = "nodedns_stale_answers_total";
const PREFETCHES: &str = "nodedns_prefetches_total";
const COALESCED: &str = "nodedns_coalesced_total";
const TRUNCATED: &str = "nodedns_truncated_total";
const UNANSWERED: &str = "nodedns_unanswered_total";
const LIMITED: &str = "nodedns_limited_total";
const VALIDATIONS: &str = "nodedns_validations_total";
const SIGNATURES: &str = "nodedns_validation_signatures_total";
const HASHES: &str = "nodedns_validation_hashes_total";
const TRUST_QUESTIONS: &str = "nodedns_trust_questions_total";
const CLOCK_OFF: &str = "nodedns_clock_off";
const CLOCK_SYNCHRONIZED: &str = "nodedns_clock_synchronized";
const ANCHOR_KEYS: &str = "nodedns_trust_anchor_keys";
const ANCHOR_SEEN: &str = "nodedns_trust_anchor_seen_timestamp_seconds";
const ANCHOR_QUERIES: &str = "nodedns_trust_anchor_queries_total";
const NEGATIVE_ANCHORS: &str = "nodedns_negative_anchors";
const TCP_CONNECTIONS: &str = "nodedns_tcp_connections";
const TCP_EVICTED: &str = "nodedns_tcp_evicted_total";
const PANICS: &str = "nodedns_panics_total";
const REBINDING: &str = "nodedns_rebinding_total";
const UNLOGGED: &str = "nodedns_query_log_dropped_total";
const MISS_SECONDS: &str = "nodedns_miss_seconds";
const CACHE_ENTRIES: &str = "nodedns_cache_entries";
const CACHE_BYTES: &str = "nodedns_cache_bytes";
const CACHE_EVICTIONS: &str = "nodedns_cache_evictions_total";
const UPSTREAM: &str = "nodedns_upstream_queries_total";
const UPSTREAM_IGNORED: &str = "nodedns_upstream_ignored_total";
const UPSTREAM_CONNECTIONS: &str = "nodedns_upstream_connections";
const UPSTREAM_HANDSHAKES: &str = "nodedns_upstream_tls_handshakes_total";
const UPSTREAM_UP: &str = "nodedns_upstream_up";
const UPSTREAM_SECONDS: &str = "nodedns_upstream_seconds";

/// The label of all servers that are not configured.
const RECURSION: &str = "recursion";

/// The codes that have a series of their own.
const ANSWER_CODES: [Rcode; 8] = [
    Rcode::NOERROR,
    Rcode::FORMERR,
    Rcode::SERVFAIL,
    Rcode::NXDOMAIN,
    Rcode::NOTIMP,
    Rcode::REFUSED,
    Rcode::YXDOMAIN,
    Rcode::BADVERS,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The names of metrics in a text, each once.
    fn names<'a>(text: &'a str, quote: &str) -> BTreeSet<&'a str> {
        let is_name = |piece: &&str| {
            let mut letters = piece.bytes();
            piece.starts_with("nodedns_")
                && letters.all(|byte| byte == b'_' || byte.is_ascii_lowercase())
        };
        text.split(quote).filter(is_name).collect()
    }

    #[test]
    fn the_readme_has_every_metric_and_no_other() {
        let code = include_str!("metrics.rs")
            .split("#[cfg(test)]")
            .next()
            .unwrap();
        let readme = include_str!("../README.md");
        let table = readme.split("\n## Metrics\n").nth(1).unwrap();
        let table = table.split("\n## ").next().unwrap();
        assert_eq!(names(code, "\""), names(table, "`"));
    }
}
