//! One line at the end of each connection, at level `debug`, target `access`: who, where to, who else was
//! tried, how long, how much, and why it ended.

use std::{net::SocketAddr, time::Duration};

use tracing::debug;

use crate::close::CloseReason;

/// What the line says.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) listener: &'a str,
    pub(crate) client: SocketAddr,
    /// Who served it; empty if nobody did.
    pub(crate) upstream: String,
    /// The attempts that did not win, each with what became of it.
    pub(crate) tried: String,
    pub(crate) lasted: Duration,
    pub(crate) to_upstream: u64,
    pub(crate) to_client: u64,
    pub(crate) reason: CloseReason,
}

impl Line<'_> {
    pub(crate) fn write(&self) {
        debug!(
            target: "access",
            listener = self.listener,
            client = %self.client,
            upstream = self.upstream,
            tried = self.tried,
            seconds = self.lasted.as_secs_f64(),
            to_upstream = self.to_upstream,
            to_client = self.to_client,
            reason = %self.reason,
            "connection ended"
        );
    }
}
