//! The plainest probe: whether the server accepts a TCP connection. A hung process passes it, since the
//! kernel accepts in its stead.

use std::{io, time::Duration};

use crate::{config::address::Address, dial};

/// Connects and closes.
pub(super) async fn probe(address: &Address, limit: Duration) -> io::Result<()> {
    // The connection is too short-lived for keepalives; any valid interval will do.
    dial::tcp(address, Duration::from_secs(15), limit)
        .await
        .map(drop)
}
