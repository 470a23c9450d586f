//! One line at the end of each connection, at level `debug`, target `access`: who, where to, who else was
//! tried, how long, how much, and why it ended.

use std::{net::SocketAddr, time::Duration};

use tracing::{Level, debug, enabled};

use crate::{close::CloseReason, config::address::Address, connection::Tried};

/// What the line says.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) listener: &'a str,
    pub(crate) client: SocketAddr,
    /// Who served it, if somebody did.
    pub(crate) upstream: Option<&'a Address>,
    /// The attempts that did not win, each with what became of it.
    pub(crate) tried: &'a Tried,
    pub(crate) lasted: Duration,
    pub(crate) to_upstream: u64,
    pub(crate) to_client: u64,
    pub(crate) reason: CloseReason,
}

impl Line<'_> {
    pub(crate) fn write(&self) {
        // Most nodes do not want these lines, and then nothing is put into words.
        if !enabled!(target: "access", Level::DEBUG) {
            return;
        }
        let upstream = self.upstream.map(ToString::to_string).unwrap_or_default();
        debug!(
            target: "access",
            listener = self.listener,
            client = %self.client,
            upstream,
            tried = %self.tried,
            seconds = self.lasted.as_secs_f64(),
            to_upstream = self.to_upstream,
            to_client = self.to_client,
            reason = %self.reason,
            "connection ended"
        );
    }
}
