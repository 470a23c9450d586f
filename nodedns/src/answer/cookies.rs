//! The cookies of this process: a secret drawn at the start, and the time. They prove to a
//! client that an answer is no forger's, and to us where it is; nobody has to have one.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::client::Arrival;
use crate::wire::cookie::{BothCookies, Cookie, Secret};

#[derive(Debug)]
pub(super) struct Cookies {
    secret: Secret,
    start: Instant,
    /// Seconds since 1970 at the start.
    started_at: u64,
}

impl Cookies {
    pub(super) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            secret: Secret::new(rand::random()),
            start: Instant::now(),
            started_at: since.map_or(0, |since| since.as_secs()),
        }
    }

    /// Those of the answer to a client that showed `cookie`.
    pub(super) fn answer(&self, cookie: &Cookie, arrival: &Arrival) -> BothCookies {
        let since = arrival.at.saturating_duration_since(self.start);
        // Modulo 2^32, as RFC 9018 §4.3 has it.
        let now = (self.started_at + since.as_secs()) as u32;
        self.secret.answer(cookie, arrival.from, now)
    }
}
