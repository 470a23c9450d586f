//! One line at the end of each connection, at level `debug`, target `access`: who, where to, who else was
//! tried, how long, how much, and why it ended.

use tracing::{Level, debug, enabled};

use crate::recent::Ended;

/// Writes the line of a connection of this listener.
pub(crate) fn write(listener: &str, ended: &Ended) {
    // Most nodes do not want these lines, and then nothing is put into words.
    if !enabled!(target: "access", Level::DEBUG) {
        return;
    }
    let upstream = ended.upstream.as_ref();
    let upstream = upstream
        .map(|choice| choice.address.to_string())
        .unwrap_or_default();
    debug!(
        target: "access",
        listener,
        client = %ended.client,
        upstream,
        tried = %ended.tried,
        seconds = ended.lasted.as_secs_f64(),
        to_upstream = ended.to_upstream,
        to_client = ended.to_client,
        reason = %ended.reason,
        "connection ended"
    );
}
