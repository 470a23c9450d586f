//! Lines about single questions, for those who asked for them: one in so many, those whose
//! answer took long, those that failed. A hundred a second at most: a flood must not fill a disk.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::info;

use crate::cache::key::Key;
use crate::client::Arrival;
use crate::config;
use crate::metrics::Metrics;
use crate::wire::Rcode;
use crate::wire::patch::Transport;

/// Decides what is written, and writes it. Shared by all workers.
pub(crate) struct QueryLog {
    config: config::QueryLog,
    turn: AtomicU64,
    second: Mutex<Second>,
    metrics: Metrics,
}

/// The second in which the last line was written, and how many were in it.
struct Second {
    began: Instant,
    lines: u32,
}

/// An answer, as the log tells of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) key: &'a Key,
    pub(crate) arrival: &'a Arrival,
    pub(crate) rcode: Rcode,
    /// Whether nobody had to be asked.
    pub(crate) is_hit: bool,
    /// Why there is no answer.
    pub(crate) reason: Option<&'a str>,
}

impl QueryLog {
    pub(crate) fn new(config: config::QueryLog, metrics: Metrics) -> Self {
        Self {
            config,
            turn: AtomicU64::new(0),
            second: Mutex::new(Second {
                began: Instant::now(),
                lines: 0,
            }),
            metrics,
        }
    }

    /// Whether an answer with this code is worth more than a look.
    pub(crate) const fn wants(&self, is_sampled: bool, rcode: Rcode) -> bool {
        is_sampled || self.config.failed && has_failed(rcode)
    }

    /// Whether the question that came now is one of the sample.
    pub(crate) fn is_sampled(&self) -> bool {
        self.config.one_in != 0
            && self
                .turn
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(self.config.one_in.into())
    }

    /// Writes a line where there is a reason to.
    pub(crate) fn answered(&self, line: &Line<'_>, is_sampled: bool, now: Instant) {
        let took = now.saturating_duration_since(line.arrival.at);
        let Some(why) = self.why(line, is_sampled, took) else {
            return;
        };
        if !self.has_room(now) {
            self.metrics.unlogged.increment(1);
            return;
        }
        write(line, why, took);
    }

    fn why(&self, line: &Line<'_>, is_sampled: bool, took: Duration) -> Option<&'static str> {
        if self.config.failed && has_failed(line.rcode) {
            Some("failed")
        } else if self.config.slow.is_some_and(|slow| took >= slow) {
            Some("slow")
        } else {
            is_sampled.then_some("sampled")
        }
    }

    fn has_room(&self, now: Instant) -> bool {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(second.began) >= Duration::from_secs(1) {
            *second = Second {
                began: now,
                lines: 0,
            };
        }
        second.lines += 1;
        second.lines <= LINES_A_SECOND
    }
}

const fn has_failed(rcode: Rcode) -> bool {
    !matches!(rcode, Rcode::NOERROR | Rcode::NXDOMAIN)
}

fn write(line: &Line<'_>, why: &'static str, took: Duration) {
    let Line {
        key,
        arrival,
        rcode,
        is_hit,
        reason,
    } = *line;
    let client: IpAddr = arrival.from;
    let transport = match arrival.transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
    };
    let from = if is_hit { "cache" } else { "servers" };
    info!(target: "access", why, %client, transport, question = %key, %rcode, from, ?took, reason, "answered");
}

const LINES_A_SECOND: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn log(one_in: u32, slow: Option<Duration>, failed: bool) -> QueryLog {
        let config = config::QueryLog {
            one_in,
            slow,
            failed,
        };
        QueryLog::new(config, Metrics::new())
    }

    #[test]
    fn one_in_so_many_is_sampled_and_none_by_default() {
        let sampled = |log: QueryLog| (0..100).filter(|_| log.is_sampled()).count();
        assert_eq!(sampled(log(10, None, false)), 10);
        assert_eq!(sampled(log(0, None, false)), 0);
    }

    #[test]
    fn slow_and_failed_answers_are_told_apart() {
        let arrival = Arrival {
            from: [10, 0, 0, 1].into(),
            transport: Transport::Udp,
            at: Instant::now(),
        };
        let key = Key::new(b"\0", 1, false, false);
        let why = |log: &QueryLog, rcode, took| {
            let line = Line {
                key: &key,
                arrival: &arrival,
                rcode,
                is_hit: false,
                reason: None,
            };
            log.why(&line, false, took)
        };
        let second = Duration::from_secs(1);
        let both = log(0, Some(second), true);
        assert_eq!(why(&both, Rcode::NOERROR, second / 2), None);
        assert_eq!(why(&both, Rcode::NXDOMAIN, second), Some("slow"));
        assert_eq!(why(&both, Rcode::SERVFAIL, second), Some("failed"));
        let none = log(0, None, false);
        assert_eq!(why(&none, Rcode::SERVFAIL, second * 9), None);
    }

    #[test]
    fn a_second_has_so_many_lines() {
        let (log, now) = (log(1, None, false), Instant::now());
        let lines = |now| (0..1_000).filter(|_| log.has_room(now)).count();
        assert_eq!(lines(now), 100);
        assert_eq!(lines(now + Duration::from_secs(1)), 100);
    }
}
