//! Every metric of `control run`: its name, labels and meaning.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::apply::Report;
use crate::plan::Reason;

/// Tells the recorder what each metric means. Called once, by the composition root.
pub(crate) fn describe() {
    describe_gauge!(BUILD_INFO, "Always 1; the version is a label");
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1);
    describe_gauge!(LEADING, "1 while this instance holds the Lease and writes");
    gauge!(LEADING).set(0);
    describe_counter!(
        SYNCS,
        "Rounds, by result: converged, changed, failed, unread"
    );
    describe_histogram!(SYNC_SECONDS, Unit::Seconds, "Time of a round");
    describe_counter!(OPERATIONS, "Operations, by result");
    describe_gauge!(
        LEFT,
        "Objects left as they are in the last round, by reason"
    );
    describe_gauge!(
        LAST_SYNC,
        Unit::Seconds,
        "When a round last ended without a failure, in seconds since 1970"
    );
}

/// Counts a round.
pub(crate) fn synced(report: &Report, took: Duration) {
    let result = if !report.is_success() {
        "failed"
    } else if report.outcomes.is_empty() {
        "converged"
    } else {
        "changed"
    };
    counter!(SYNCS, "result" => result).increment(1);
    histogram!(SYNC_SECONDS).record(took.as_secs_f64());
    carried_out(report);
    let held = report
        .left
        .iter()
        .filter(|left| matches!(left.reason, Reason::Held { .. } | Reason::Waiting { .. }));
    let held = held.count();
    let conflicts = report.left.len() - held;
    for (reason, count) in [("held", held), ("conflict", conflicts)] {
        gauge!(LEFT, "reason" => reason).set(u32::try_from(count).unwrap_or(u32::MAX));
    }
    if report.is_success() {
        #[expect(clippy::cast_precision_loss, reason = "exact until the year 287396")]
        gauge!(LAST_SYNC).set(jiff::Timestamp::now().as_second() as f64);
    }
}

/// Counts operations.
pub(crate) fn carried_out(report: &Report) {
    for outcome in &report.outcomes {
        counter!(OPERATIONS, "result" => outcome.end.to_string()).increment(1);
    }
}

/// Counts a round that could not read the cluster.
pub(crate) fn unread(took: Duration) {
    counter!(SYNCS, "result" => "unread").increment(1);
    histogram!(SYNC_SECONDS).record(took.as_secs_f64());
}

/// Whether this instance holds the Lease.
pub(crate) fn leading(yes: bool) {
    gauge!(LEADING).set(u8::from(yes));
}

const BUILD_INFO: &str = "control_build_info";
const LEADING: &str = "control_leading";
const SYNCS: &str = "control_syncs_total";
const SYNC_SECONDS: &str = "control_sync_seconds";
const OPERATIONS: &str = "control_operations_total";
const LEFT: &str = "control_left_objects";
const LAST_SYNC: &str = "control_last_sync_timestamp_seconds";
