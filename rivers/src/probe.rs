//! One probe: asks an upstream once whether it is well. When to ask is decided in
//! [`decide`](crate::decide); this version knows one kind of question, a [`tcp`] connect.

mod tcp;

use std::{io, net::SocketAddr, time::Duration};

use tokio::time::{Instant, timeout};

/// The result of one probe.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// How long it took.
    pub(crate) took: Duration,
    /// Why the upstream is not well.
    pub(crate) error: Option<io::Error>,
}

/// Asks the upstream at `sockets` once, for at most `limit`. An upstream that was not found is not well.
pub(crate) async fn run(sockets: &[SocketAddr], limit: Duration) -> Outcome {
    let started = Instant::now();
    let error = match timeout(limit, tcp::probe(sockets, limit)).await {
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
        let sockets = [listener.local_addr().unwrap()];
        assert!(run(&sockets, Duration::from_secs(5)).await.error.is_none());
        drop(listener);
        let error = run(&sockets, Duration::from_secs(5)).await.error.unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
