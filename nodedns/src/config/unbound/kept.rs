//! The options of unbound's cache: how much is kept, for how long, and what becomes of it then.

use std::time::Duration;

use super::{Taken, bytes, number, words};
use crate::config::file::{Cache, Size};

/// What has been read of them.
#[derive(Default)]
pub(super) struct Kept {
    bytes: usize,
    min_ttl: Option<u64>,
    max_ttl: Option<u64>,
    max_negative_ttl: Option<u64>,
    prefetch: Option<bool>,
    serve_expired: Option<bool>,
    /// In seconds; 0: without end.
    expired_ttl: Option<u64>,
    /// In seconds.
    expired_reply_ttl: Option<u64>,
    /// In milliseconds.
    client_timeout: Option<u64>,
}

impl Kept {
    /// Takes an option; None if it is none of these.
    pub(super) fn option(&mut self, key: &str, value: &str) -> Option<Taken> {
        let is_yes = value == "yes";
        let field = match key {
            "msg-cache-size" | "rrset-cache-size" => {
                let taken = bytes(value).map(|bytes| self.bytes = self.bytes.saturating_add(bytes));
                return Some(taken);
            }
            "prefetch" => {
                self.prefetch = Some(is_yes);
                return Some(Ok(()));
            }
            "serve-expired" => {
                self.serve_expired = Some(is_yes);
                return Some(Ok(()));
            }
            "cache-min-ttl" => &mut self.min_ttl,
            "cache-max-ttl" => &mut self.max_ttl,
            "cache-max-negative-ttl" => &mut self.max_negative_ttl,
            "serve-expired-ttl" => &mut self.expired_ttl,
            "serve-expired-reply-ttl" => &mut self.expired_reply_ttl,
            "serve-expired-client-timeout" => &mut self.client_timeout,
            _ => return None,
        };
        Some(number(value).and_then(|number| {
            *field = Some(number);
            match key {
                "cache-min-ttl" if number > MOST_MIN_TTL => Err(words::MIN_TTL.to_owned()),
                _ => Ok(()),
            }
        }))
    }

    /// Writes down what was said; the rest is as nodedns has it.
    pub(super) fn end(self, cache: &mut Cache) {
        let seconds = |seconds: u64, most| Duration::from_secs(seconds.clamp(1, most));
        if self.bytes > 0 {
            cache.size = Size(self.bytes.clamp(1 << 20, 64 << 30));
        }
        if let Some(ttl) = self.min_ttl {
            cache.min_ttl = Duration::from_secs(ttl.min(MOST_MIN_TTL));
        }
        if let Some(ttl) = self.max_ttl {
            cache.max_ttl = seconds(ttl, WEEK);
        }
        if let Some(ttl) = self.max_negative_ttl {
            cache.max_negative_ttl = seconds(ttl, DAY);
        }
        if let Some(prefetch) = self.prefetch {
            cache.prefetch = prefetch;
        }
        let stale = &mut cache.stale;
        match self.serve_expired {
            None => {}
            // The other options then say nothing.
            Some(false) => (stale.max, stale.inner_max) = (Duration::ZERO, Duration::ZERO),
            Some(true) => {
                match self.expired_ttl {
                    None => {}
                    Some(0) => stale.max = Duration::from_secs(WEEK),
                    Some(ttl) => stale.max = seconds(ttl, WEEK),
                }
                if let Some(ttl) = self.expired_reply_ttl {
                    stale.ttl = seconds(ttl, 300);
                }
                if let Some(timeout) = self.client_timeout {
                    stale.client_response = Duration::from_millis(timeout.min(4_000));
                }
            }
        }
    }
}

const DAY: u64 = 24 * 3_600;
const WEEK: u64 = 7 * DAY;
/// The most that `cache.min_ttl` may be, in seconds.
const MOST_MIN_TTL: u64 = 300;
