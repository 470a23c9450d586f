//! Load on rivers: clients that ask `GET /version`, each time on a new TLS connection, and never retry.
//!
//! [`Load`] runs them and keeps what each request met; [`Tally`] is the arithmetic on that, and does
//! nothing else.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::request::{Client, Protocol, RequestError};

/// What one request met.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// When its connection was begun.
    pub(crate) begun: Instant,
    /// From the first SYN to the end of the answer.
    pub(crate) took: Duration,
    /// The server that answered, or why none did.
    pub(crate) result: Result<String, RequestError>,
}

/// Clients at work until [`Load::finish`].
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    last_answers: LastAnswers,
    clients: JoinSet<Vec<Outcome>>,
}

impl Load {
    /// Starts `clients` clients, each with one request at a time.
    pub(crate) fn start(client: &Client, clients: usize) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            last_answers: Arc::default(),
            clients: JoinSet::new(),
        };
        for _ in 0..clients {
            load.clients.spawn(one_client(
                client.clone(),
                Arc::clone(&load.stop),
                Arc::clone(&load.last_answers),
            ));
        }
        load
    }

    /// When `server` last answered one of the clients.
    pub(crate) fn last_answer(&self, server: &str) -> Option<Instant> {
        lock(&self.last_answers).get(server).copied()
    }

    /// Lets each client end the request it is at, and gives all outcomes.
    pub(crate) async fn finish(self) -> Vec<Outcome> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients
            .join_all()
            .await
            .into_iter()
            .flatten()
            .collect()
    }
}

type LastAnswers = Arc<Mutex<BTreeMap<String, Instant>>>;

async fn one_client(
    client: Client,
    stop: Arc<AtomicBool>,
    last_answers: LastAnswers,
) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let result = client.version(Protocol::Http1).await;
        let ended = Instant::now();
        if let Ok(server) = &result {
            lock(&last_answers).insert(server.clone(), ended);
        } else {
            // Else a server that refuses at once would be asked in a busy loop.
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        }
        outcomes.push(Outcome {
            begun,
            took: ended - begun,
            result,
        });
    }
    outcomes
}

fn lock(
    last_answers: &Mutex<BTreeMap<String, Instant>>,
) -> std::sync::MutexGuard<'_, BTreeMap<String, Instant>> {
    // The map is whole after any panic: each use of it is a single insert or read.
    last_answers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Outcomes counted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    /// All requests.
    pub(crate) requests: usize,
    /// Those that had nothing to do with the kill.
    pub(crate) failed: usize,
    /// Those on whose connection the killed server had not said a byte yet: a balancer that keeps
    /// what the client has sent can send it to another server.
    pub(crate) lost: usize,
    /// Those on whose connection the killed server had begun to speak: it took its half of the TLS
    /// session with it, so no balancer can carry on elsewhere.
    pub(crate) cut: usize,
    /// The first failure's reason.
    pub(crate) first_failure: Option<String>,
    /// Median time of those answered.
    pub(crate) p50: Duration,
    /// Ninety-ninth percentile of those answered.
    pub(crate) p99: Duration,
}

impl Tally {
    /// Counts `outcomes` around the kill of one server: asked for at its start, done at its end.
    pub(crate) fn of(outcomes: &[Outcome], kill: Range<Instant>) -> Self {
        let mut answered: Vec<Duration> = Vec::with_capacity(outcomes.len());
        let (mut lost, mut cut) = (0, 0);
        let mut failures = Vec::new();
        for outcome in outcomes {
            let ended = outcome.begun + outcome.took;
            let is_over_the_kill = outcome.begun < kill.end && ended >= kill.start;
            match &outcome.result {
                Ok(_) => answered.push(outcome.took),
                Err(error) if is_over_the_kill && error.server_spoke => cut += 1,
                Err(_) if is_over_the_kill => lost += 1,
                Err(error) => failures.push((outcome.begun, error.to_string())),
            }
        }
        answered.sort_unstable();
        Self {
            requests: outcomes.len(),
            failed: failures.len(),
            lost,
            cut,
            first_failure: failures.into_iter().min().map(|(_, reason)| reason),
            p50: percentile(&answered, 50),
            p99: percentile(&answered, 99),
        }
    }
}

/// The value that `percent` of the sorted values do not exceed; zero if there are none.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(begun: Instant, took_ms: u64, result: Result<&str, bool>) -> Outcome {
        Outcome {
            begun,
            took: Duration::from_millis(took_ms),
            result: result
                .map(str::to_owned)
                .map_err(|server_spoke| RequestError::new(server_spoke, anyhow::anyhow!("reset"))),
        }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_request_over_the_kill_is_lost_or_cut_by_whether_the_server_had_spoken() {
        let begun = Instant::now();
        let kill = begun + ms(4)..begun + ms(8);
        let silent = outcome(begun, 5, Err(false));
        let spoken = outcome(begun, 5, Err(true));
        let tally = Tally::of(&[silent, spoken], kill);
        assert_eq!((tally.lost, tally.cut, tally.failed), (1, 1, 0));
    }

    #[test]
    fn a_request_wholly_before_or_after_the_kill_fails() {
        let begun = Instant::now();
        let kill = begun + ms(50)..begun + ms(60);
        let before = outcome(begun, 49, Err(true));
        let after = outcome(kill.end, 5, Err(false));
        let tally = Tally::of(&[before, after], kill);
        assert_eq!((tally.lost, tally.cut, tally.failed), (0, 0, 2));
        assert_eq!(tally.first_failure.as_deref(), Some("reset"));
    }

    #[test]
    fn percentiles_are_of_the_answered_only() {
        let begun = Instant::now();
        let mut outcomes: Vec<_> = (1..=100).map(|ms| outcome(begun, ms, Ok("a"))).collect();
        outcomes.push(outcome(begun, 5_000, Err(false)));
        let tally = Tally::of(&outcomes, begun..begun);
        assert_eq!(tally.requests, 101);
        assert_eq!(tally.p50, Duration::from_millis(50));
        assert_eq!(tally.p99, Duration::from_millis(99));
    }

    #[test]
    fn no_outcomes_have_no_percentiles() {
        let now = Instant::now();
        let tally = Tally::of(&[], now..now);
        assert_eq!((tally.requests, tally.p99), (0, Duration::ZERO));
    }
}
