//! The plainest probe: whether the server accepts a TCP connection. A hung process passes it, since the
//! kernel accepts in its stead.

use std::{io, net::SocketAddr, time::Duration};

use crate::dial;

/// Connects and closes.
pub(super) async fn probe(sockets: &[SocketAddr], limit: Duration) -> io::Result<()> {
    // The connection is too short-lived for keepalives; any valid interval will do.
    dial::any(sockets, Duration::from_secs(15), limit)
        .await
        .map(drop)
}
