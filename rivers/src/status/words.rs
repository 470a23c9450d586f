//! Numbers as people read them.

use std::time::Duration;

use daemon::duration;

use super::Tried;

/// `250ms`, `4.2s`, `3m5s`: three digits or so. What is no time at all is `0s`.
pub(super) fn seconds(seconds: f64) -> String {
    let exact = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    match exact.as_secs() {
        0 => duration::format(Duration::from_millis(exact.subsec_millis().into())),
        whole @ 1..10 => format!("{whole}.{}s", exact.subsec_millis() / 100),
        whole => duration::format(Duration::from_secs(whole)),
    }
}

/// `812 B`, `1.4 MiB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    // Tenths, in whole numbers: a count of bytes may be more than a float holds.
    let mut tenths = u128::from(count) * 10 / 1024;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = next;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// `10.0.0.2:6443 refused, 10.0.0.3:6443 timed_out`.
pub(super) fn tried(tried: &[Tried]) -> String {
    let parts = tried.iter();
    let parts = parts.map(|Tried { upstream, outcome }| format!("{upstream} {outcome}"));
    parts.collect::<Vec<_>>().join(", ")
}

/// What to say when not all workers have answered.
pub(super) fn silent(workers: usize) -> Option<String> {
    (workers > 0).then(|| {
        format!("{workers} of the workers did not answer in time: what they know is missing; /healthz says whether one is stuck")
    })
}
