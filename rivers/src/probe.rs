//! One probe: asks an upstream once whether it is well. When to ask is decided in
//! [`decide`](crate::decide); this version knows one kind of question, a [`tcp`] connect.

mod tcp;

use std::{io, time::Duration};

use tokio::time::{Instant, timeout};

use crate::config::address::Address;

/// The result of one probe.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// How long it took.
    pub(crate) took: Duration,
    /// Why the upstream is not well.
    pub(crate) error: Option<io::Error>,
}

/// Asks `address` once, for at most `limit`.
pub(crate) async fn run(address: &Address, limit: Duration) -> Outcome {
    let started = Instant::now();
    let error = match timeout(limit, tcp::probe(address, limit)).await {
        Ok(outcome) => outcome.err(),
        Err(_) => Some(io::ErrorKind::TimedOut.into()),
    };
    Outcome {
        took: started.elapsed(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_accepts_is_well_and_one_that_refuses_is_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::from(listener.local_addr().unwrap());
        assert!(run(&address, Duration::from_secs(5)).await.error.is_none());
        drop(listener);
        let error = run(&address, Duration::from_secs(5)).await.error.unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
