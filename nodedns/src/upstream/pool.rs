//! The servers, what is known of each, and in which order they are asked.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rand::seq::SliceRandom as _;

use crate::config::{Forward, Protocol};
use crate::metrics::ServerMetrics;
use crate::upstream::Trouble;
use crate::upstream::stream::Sessions;

/// One server. Zones that name the same one share it, its connections included.
pub(crate) struct Server {
    forward: Forward,
    standing: Standing,
    sessions: Sessions,
    metrics: ServerMetrics,
}

impl Server {
    /// A server of which nothing is known.
    pub(crate) fn new(forward: Forward) -> Self {
        let metrics = ServerMetrics::new(forward);
        Self {
            forward,
            standing: Standing::default(),
            sessions: Sessions::new(forward.address, metrics.ignored.clone()),
            metrics,
        }
    }

    /// Where it is and how it is asked.
    pub(super) const fn forward(&self) -> Forward {
        self.forward
    }

    pub(super) const fn protocol(&self) -> Protocol {
        self.forward.protocol
    }

    pub(super) const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    pub(super) const fn metrics(&self) -> &ServerMetrics {
        &self.metrics
    }

    /// It gave a usable answer after that time.
    pub(super) fn answered(&self, after: Duration) {
        self.standing.answered(after);
        self.metrics.answered(after);
    }

    /// Another server, or this one again, had to be asked meanwhile.
    pub(super) fn late(&self) {
        self.standing.punish();
        self.metrics.late();
    }

    /// An attempt failed.
    pub(super) fn failed(&self, trouble: &Trouble) {
        self.standing.punish();
        match trouble {
            Trouble::Rejected(_) => self.metrics.rejected(),
            Trouble::Network(_) | Trouble::Closed => self.metrics.network_error(),
        }
    }

    /// How long to wait for it before another attempt starts beside it, in the
    /// given round of asking everybody.
    pub(super) fn patience(&self, round: u32) -> Duration {
        let usual = 3 * self.standing.smoothed();
        usual.clamp(PATIENCE_MIN, PATIENCE_MAX) * 2_u32.pow(round.min(4))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.forward)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Puts the fastest first. Those of which nothing is known come before it, and
/// now and then chance decides: so a server that was slow is seen to be fast
/// again. That costs little, for a late server does not keep the others waiting.
pub(super) fn order(servers: &[Arc<Server>]) -> Vec<Arc<Server>> {
    let mut order = servers.to_vec();
    if order.len() > 1 {
        order.shuffle(&mut rand::rng());
        if !rand::random_ratio(1, EXPLORE) {
            order.sort_by_key(|server| server.standing.smoothed());
        }
    }
    order
}

/// The smoothed time that a server takes (RFC 6298 §2 in integers), doubled by
/// each failure. Zero: nothing is known.
#[derive(Debug, Default)]
struct Standing {
    micros: AtomicU32,
}

impl Standing {
    fn smoothed(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::Relaxed).into())
    }

    fn answered(&self, after: Duration) {
        let sample = u32::try_from(after.as_micros()).unwrap_or(u32::MAX);
        self.update(|micros| match micros {
            0 => sample.max(1),
            // A punished server that answers is forgiven at once.
            _ if micros > sample.saturating_mul(8) => sample.max(1),
            _ => micros - micros / 8 + sample / 8,
        });
    }

    fn punish(&self) {
        self.update(|micros| micros.max(PUNISHED_FROM).saturating_mul(2).min(PUNISHED_TO));
    }

    fn update(&self, next: impl Fn(u32) -> u32) {
        // Two updates at once may lose one of them: it is an estimate.
        let micros = self.micros.load(Ordering::Relaxed);
        self.micros.store(next(micros), Ordering::Relaxed);
    }
}

/// A healthy server of a data centre answers within milliseconds; one across the
/// world within a quarter of a second.
const PATIENCE_MIN: Duration = Duration::from_millis(300);
const PATIENCE_MAX: Duration = Duration::from_millis(800);
/// One question in so many goes to whom chance says.
const EXPLORE: u32 = 20;
const PUNISHED_FROM: u32 = 100_000;
const PUNISHED_TO: u32 = 3_200_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn servers() -> Vec<Arc<Server>> {
        ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
            .map(|address| Arc::new(Server::new(address.parse().unwrap())))
            .into()
    }

    /// How often each server is asked first in a thousand questions.
    fn firsts(servers: &[Arc<Server>]) -> Vec<usize> {
        let mut counts = vec![0; servers.len()];
        for _ in 0..1_000 {
            let first = Arc::clone(&order(servers)[0]);
            let at = servers
                .iter()
                .position(|server| Arc::ptr_eq(server, &first));
            counts[at.unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn the_fastest_is_asked_first_and_the_others_sometimes() {
        let servers = servers();
        for (at, server) in servers.iter().enumerate() {
            server.answered(Duration::from_millis(10 * (at as u64 + 1)));
        }
        let counts = firsts(&servers);
        assert!(counts[0] > 900, "{counts:?}");
        assert!(counts[1] > 0 && counts[2] > 0, "{counts:?}");
    }

    #[test]
    fn a_server_that_fails_goes_behind_and_comes_back_when_it_answers() {
        let servers = servers();
        for server in &servers {
            server.answered(Duration::from_millis(10));
        }
        servers[0].late();
        assert!(firsts(&servers)[0] < 100);
        servers[0].answered(Duration::from_millis(5));
        assert!(firsts(&servers)[0] > 500);
    }

    #[test]
    fn patience_grows_by_rounds_from_what_is_usual() {
        let server = Server::new("192.0.2.1".parse().unwrap());
        assert_eq!(server.patience(0), PATIENCE_MIN);
        assert_eq!(server.patience(1), 2 * PATIENCE_MIN);
        server.answered(Duration::from_millis(200));
        assert_eq!(server.patience(0), Duration::from_millis(600));
        server.late();
        server.late();
        assert_eq!(server.patience(0), PATIENCE_MAX);
    }
}
