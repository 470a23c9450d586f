//! Every metric: its name, unit, labels and meaning. The table in `README.md` lists the same.
//!
//! `listener` is a configured name and `upstream` a configured address, so that series are bounded by the
//! configuration. No label ever holds a client's address.

use std::{
    rc::Rc,
    time::{Duration, SystemTime},
};

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

use crate::{close::CloseReason, config::address::Address, decide::State};

/// What became of one attempt to connect to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// It won.
    Connected,
    /// Another was faster.
    Overtaken,
    /// The upstream's host refused it.
    Refused,
    /// It was still waiting when the dial had to end.
    TimedOut,
    /// It won, but the upstream closed the connection before it had sent a byte, and another one was dialled.
    ClosedEarly,
    /// It failed in another way.
    Failed,
    /// This host ran out of descriptors, ports or memory.
    LocalError,
}

impl Attempt {
    /// All of them, for metrics that have a series for each.
    const ALL: [Self; 7] = [
        Self::Connected,
        Self::Overtaken,
        Self::Refused,
        Self::TimedOut,
        Self::ClosedEarly,
        Self::Failed,
        Self::LocalError,
    ];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Overtaken => "overtaken",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::ClosedEarly => "closed_early",
            Self::Failed => "failed",
            Self::LocalError => "local_error",
        }
    }
}

/// Tells the recorder what each metric means. Called once, by the composition root.
pub(crate) fn describe() {
    describe_gauge!(BUILD_INFO, "Always 1; the version is a label");
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1);
    describe_counter!(CONNECTIONS, "Connections that reached an upstream");
    describe_gauge!(ACTIVE, "Connections that are being relayed");
    describe_counter!(CLOSED, "Connections that have ended, by reason");
    describe_counter!(
        REBALANCED,
        "Clients sent to an upstream that came back, in place of a connection that was closed for it"
    );
    describe_counter!(ATTEMPTS, "Attempts to connect to an upstream, by outcome");
    describe_histogram!(
        DIAL_SECONDS,
        Unit::Seconds,
        "From a client's connection to one with an upstream"
    );
    describe_counter!(
        BYTES,
        Unit::Bytes,
        "Bytes taken from one side for the other"
    );
    describe_gauge!(
        STATE,
        "1 for the state that is believed of an upstream, 0 for the others"
    );
    describe_gauge!(
        TRUSTED,
        "1 when an upstream may be dialled, 0 while its certificate has not been verified"
    );
    describe_histogram!(PROBE_SECONDS, Unit::Seconds, "How long probes took");
    describe_counter!(PROBE_FAILURES, "Probes that failed");
    describe_counter!(
        ACCEPT_ERRORS,
        "Times that no connection could be accepted; descriptors ran out"
    );
    describe_counter!(
        EVENTS_DROPPED,
        "Failed dials that health did not hear of: it was too busy"
    );
    describe_gauge!(
        WATCHING,
        "Whether the upstreams are being watched in the cluster; 0 leaves them as they are"
    );
    describe_counter!(RELOAD_FAILURES, "Configurations that were refused");
    describe_gauge!(
        RELOAD_GOOD,
        "Whether the configuration that was read last is in force"
    );
    describe_gauge!(
        RELOAD_SECONDS,
        Unit::Seconds,
        "When the configuration in force was read, in Unix time"
    );
    describe_counter!(
        PANICS,
        "Connections that ended because of an error in rivers"
    );
}

/// The handles of what is counted of one listener. Looked up once: that takes longer than to count.
pub(crate) struct ListenerMeter {
    dial_seconds: Histogram,
    to_upstream: Counter,
    to_client: Counter,
    closed: [Counter; CloseReason::ALL.len()],
    rebalanced: Counter,
    accept_errors: Counter,
    panics: Counter,
}

impl ListenerMeter {
    pub(crate) fn new(listener: &str) -> Self {
        let bytes = |direction| counter!(BYTES, "listener" => listener.to_owned(), "direction" => direction);
        Self {
            dial_seconds: histogram!(DIAL_SECONDS, "listener" => listener.to_owned()),
            to_upstream: bytes("to_upstream"),
            to_client: bytes("to_client"),
            closed: CloseReason::ALL.map(|reason| {
                counter!(CLOSED, "listener" => listener.to_owned(), "reason" => reason.word())
            }),
            rebalanced: counter!(REBALANCED, "listener" => listener.to_owned()),
            accept_errors: counter!(ACCEPT_ERRORS, "listener" => listener.to_owned()),
            panics: counter!(PANICS, "listener" => listener.to_owned()),
        }
    }

    /// A connection has got its upstream, `took` after it was accepted.
    pub(crate) fn connected(&self, took: Duration) {
        self.dial_seconds.record(took);
    }

    /// A connection has ended.
    pub(crate) fn closed(&self, reason: CloseReason) {
        let known = CloseReason::ALL.iter().position(|&known| known == reason);
        if let Some(counter) = known.and_then(|index| self.closed.get(index)) {
            counter.increment(1);
        }
    }

    /// A client goes to an upstream that came back, in place of another.
    pub(crate) fn rebalanced(&self) {
        self.rebalanced.increment(1);
    }

    /// Bytes have been relayed.
    pub(crate) fn bytes(&self, to_upstream: u64, to_client: u64) {
        self.to_upstream.increment(to_upstream);
        self.to_client.increment(to_client);
    }

    /// No connection could be accepted.
    pub(crate) fn accept_failed(&self) {
        self.accept_errors.increment(1);
    }

    /// A connection ended in a panic.
    pub(crate) fn panicked(&self) {
        self.panics.increment(1);
    }
}

/// The handles of what is counted of one upstream of one listener.
pub(crate) struct UpstreamMeter {
    connections: Counter,
    active: Gauge,
    attempts: [Counter; Attempt::ALL.len()],
}

impl UpstreamMeter {
    pub(crate) fn new(listener: &str, upstream: &Address) -> Self {
        let labels = [
            ("listener", listener.to_owned()),
            ("upstream", upstream.to_string()),
        ];
        Self {
            connections: counter!(CONNECTIONS, &labels),
            active: gauge!(ACTIVE, &labels),
            attempts: Attempt::ALL.map(|outcome| {
                counter!(
                    ATTEMPTS,
                    "listener" => listener.to_owned(),
                    "upstream" => upstream.to_string(),
                    "outcome" => outcome.word()
                )
            }),
        }
    }

    /// An attempt to connect has ended.
    pub(crate) fn attempted(&self, outcome: Attempt) {
        let known = Attempt::ALL.iter().position(|&known| known == outcome);
        if let Some(counter) = known.and_then(|index| self.attempts.get(index)) {
            counter.increment(1);
        }
    }
}

/// Counts a connection as live, also when it ends in a panic.
pub(crate) struct Active(Rc<UpstreamMeter>);

impl Active {
    pub(crate) fn new(meter: Rc<UpstreamMeter>) -> Self {
        meter.connections.increment(1);
        meter.active.increment(1);
        Self(meter)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.decrement(1);
    }
}

/// Another state is believed of an upstream; `None`: it has left, and nothing is.
pub(crate) fn state(listener: &str, upstream: &Address, now: Option<State>) {
    for state in State::ALL {
        gauge!(
            STATE,
            "listener" => listener.to_owned(),
            "upstream" => upstream.to_string(),
            "state" => state.word()
        )
        .set(if now == Some(state) { 1 } else { 0 });
    }
}

/// An upstream may be dialled from now on, or may not.
pub(crate) fn trusted(listener: &str, upstream: &Address, is_trusted: bool) {
    gauge!(
        TRUSTED,
        "listener" => listener.to_owned(),
        "upstream" => upstream.to_string()
    )
    .set(if is_trusted { 1 } else { 0 });
}

/// A probe has ended.
pub(crate) fn probed(listener: &str, upstream: &Address, took: Duration, healthy: bool) {
    let labels = [
        ("listener", listener.to_owned()),
        ("upstream", upstream.to_string()),
    ];
    histogram!(PROBE_SECONDS, &labels).record(took);
    counter!(PROBE_FAILURES, &labels).increment(u64::from(!healthy));
}

/// The core's queue was full.
pub(crate) fn event_dropped() {
    counter!(EVENTS_DROPPED).increment(1);
}

/// Whether the upstreams of a listener are being watched in the cluster.
pub(crate) fn watching(listener: &str, watching: bool) {
    gauge!(WATCHING, "listener" => listener.to_owned()).set(if watching { 1 } else { 0 });
}

/// A configuration has come into force, or was refused.
pub(crate) fn configured(good: bool) {
    counter!(RELOAD_FAILURES).increment(u64::from(!good));
    gauge!(RELOAD_GOOD).set(if good { 1 } else { 0 });
    if good && let Ok(now) = SystemTime::UNIX_EPOCH.elapsed() {
        gauge!(RELOAD_SECONDS).set(now.as_secs_f64());
    }
}

const BUILD_INFO: &str = "rivers_build_info";
const CONNECTIONS: &str = "rivers_connections_total";
const ACTIVE: &str = "rivers_connections_active";
const CLOSED: &str = "rivers_close_total";
const REBALANCED: &str = "rivers_rebalanced_total";
const ATTEMPTS: &str = "rivers_dial_attempts_total";
const DIAL_SECONDS: &str = "rivers_dial_duration_seconds";
const BYTES: &str = "rivers_bytes_total";
const STATE: &str = "rivers_upstream_state";
const TRUSTED: &str = "rivers_upstream_trusted";
const PROBE_SECONDS: &str = "rivers_probe_duration_seconds";
const PROBE_FAILURES: &str = "rivers_probe_failures_total";
const ACCEPT_ERRORS: &str = "rivers_accept_errors_total";
const EVENTS_DROPPED: &str = "rivers_events_dropped_total";
const WATCHING: &str = "rivers_discovery_watching";
const RELOAD_FAILURES: &str = "rivers_config_reload_failures_total";
const RELOAD_GOOD: &str = "rivers_config_last_reload_successful";
const RELOAD_SECONDS: &str = "rivers_config_last_reload_success_timestamp_seconds";
const PANICS: &str = "rivers_connection_panics_total";
