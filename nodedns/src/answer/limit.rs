//! How often each client may ask, in constant memory whoever asks: a table of token
//! buckets, two for each client. Others may fall into one of them, hardly ever into both,
//! and a client has to find both empty to be refused.
//!
//! A bucket is one number, the time at which it will be full again (the generic cell rate
//! algorithm): taking from it is one addition.

use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;

use crate::client::Client;

/// The buckets. All workers share them.
#[derive(Debug)]
pub(super) struct Rates {
    rows: [Box<[AtomicU64]>; 2],
    /// A key that nobody knows: who wants to fall into another's buckets cannot choose.
    hasher: RandomState,
    start: Instant,
    /// Nanoseconds for one token.
    token: u64,
}

impl Rates {
    /// Buckets that take `per_second` tokens a second, and hold that many.
    pub(super) fn new(per_second: u32, start: Instant) -> Self {
        let row = || (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self {
            rows: [row(), row()],
            hasher: RandomState::default(),
            start,
            token: SECOND / u64::from(per_second.max(1)),
        }
    }

    /// Takes a token of `client`, if it has one.
    pub(super) fn take(&self, client: Client, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.start);
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let hash = self.hasher.hash_one(client);
        let places = [hash as usize, (hash >> 32) as usize];
        let mut taken = false;
        for (row, place) in self.rows.iter().zip(places) {
            let Some(bucket) = row.get(place % BUCKETS) else {
                continue;
            };
            let kept = bucket.load(Ordering::Relaxed);
            let full_at = kept.max(now);
            if full_at - now < SECOND {
                // Where another worker was faster, its client has one more.
                let _ = bucket.compare_exchange(
                    kept,
                    full_at + self.token,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                taken = true;
            }
        }
        taken
    }

    /// The time in which a client gets so many tokens as are worth waking up for.
    pub(super) const PAUSE: Duration = Duration::from_millis(5);
}

/// In each of two rows: 128 KiB in all.
const BUCKETS: usize = 8_192;
/// In nanoseconds. A bucket is as deep as a second's tokens.
const SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn client(number: u32) -> Client {
        Client::of(Ipv4Addr::from(number).into())
    }

    /// How many of `tries` at that moment are let through.
    fn taken(rates: &Rates, client: Client, now: Instant, tries: usize) -> usize {
        (0..tries).filter(|_| rates.take(client, now)).count()
    }

    #[test]
    fn a_client_has_a_seconds_tokens_and_then_its_rate() {
        let start = Instant::now();
        let rates = Rates::new(100, start);
        assert_eq!(taken(&rates, client(1), start, 1_000), 100);
        let later = start + Duration::from_millis(500);
        assert_eq!(taken(&rates, client(1), later, 1_000), 50);
        let rested = later + Duration::from_secs(3_600);
        assert_eq!(taken(&rates, client(1), rested, 1_000), 100);
    }

    #[test]
    fn one_that_asks_too_much_costs_the_others_nothing() {
        let start = Instant::now();
        let rates = Rates::new(100, start);
        for hog in 0..50 {
            taken(&rates, client(hog), start, 200);
        }
        // Both buckets of a client lie in those of 50 once in 27,000 times, those of five of a
        // thousand once in a billion runs.
        let asked: usize = (1_000..2_000)
            .map(|other| taken(&rates, client(other), start, 1))
            .sum();
        assert!(asked > 995, "{asked} of 1000");
    }

    #[test]
    fn a_clock_that_stands_before_the_start_is_survived() {
        let start = Instant::now();
        let rates = Rates::new(1, start);
        assert!(rates.take(
            client(1),
            start.checked_sub(Duration::from_secs(1)).unwrap()
        ));
    }
}
