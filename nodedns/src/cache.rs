//! The cache: answers in wire form, bounded by the bytes that they take.
//!
//! [`key`] is what an answer is kept under, [`entry`] how it is kept and for how
//! long, [`store`] what stays when memory is short. The store is cut into shards,
//! each behind a lock that is held for a look-up or an insertion and never across
//! I/O, so that a hit waits for nothing slow.

pub(crate) mod entry;
pub(crate) mod key;
mod store;

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use entry::Entry;
use key::Key;
use store::Store;

/// Shared by all workers.
#[derive(Debug)]
pub(crate) struct Cache {
    shards: Box<[Mutex<Store>]>,
    hasher: RandomState,
    evicted: AtomicU64,
}

/// How full the cache is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Answers kept, those included whose time is over but whose room nobody
    /// needed yet.
    pub(crate) entries: usize,
    /// Bytes that they take, bookkeeping included.
    pub(crate) bytes: usize,
    /// Answers that had to go before their time, since the start.
    pub(crate) evicted: u64,
}

impl Cache {
    /// An empty cache of `bytes` bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let count = (bytes / SHARD_BYTES).clamp(1, MAX_SHARDS);
        Self {
            shards: (0..count)
                .map(|_| Mutex::new(Store::new(bytes / count)))
                .collect(),
            hasher: RandomState::new(),
            evicted: AtomicU64::new(0),
        }
    }

    /// The answer kept under `key` whose time is not over at `now`.
    pub(crate) fn get(&self, key: &Key, now: Instant) -> Option<Arc<Entry>> {
        let entry = self.with_shard(key, |store| store.get(key.as_bytes()))?;
        entry.is_fresh(now).then_some(entry)
    }

    /// Keeps `entry`, unless it may not be kept at all.
    pub(crate) fn insert(&self, key: &Key, entry: Arc<Entry>, now: Instant) {
        if entry.is_fresh(now) {
            let evicted = self.with_shard(key, |store| store.insert(key.as_bytes(), entry, now));
            self.evicted.fetch_add(evicted, Ordering::Relaxed);
        }
    }

    /// How full it is.
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = Usage {
            evicted: self.evicted.load(Ordering::Relaxed),
            ..Usage::default()
        };
        for shard in &self.shards {
            let store = shard.lock().unwrap_or_else(PoisonError::into_inner);
            usage.entries += store.len();
            usage.bytes += store.bytes();
        }
        usage
    }

    fn with_shard<T>(&self, key: &Key, act: impl FnOnce(&mut Store) -> T) -> T {
        let hash = self.hasher.hash_one(key.as_bytes());
        let shard = &self.shards[hash as usize % self.shards.len()];
        // A panic of another thread leaves at worst one answer unaccounted.
        act(&mut shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A shard has room for many of the largest answers, 64 KiB.
const SHARD_BYTES: usize = 4 << 20;
/// Workers that look up at random then rarely meet.
const MAX_SHARDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Rcode;
    use crate::wire::name::Name;
    use entry::tests::failure;
    use std::time::Duration;

    #[test]
    fn an_answer_is_found_until_its_time_is_over() {
        let cache = Cache::new(1 << 20);
        let now = Instant::now();
        let key = Key::new(b"\x01a\0", 1, false, false);
        cache.insert(&key, failure(&key, Rcode::SERVFAIL, 1, now), now);
        assert!(cache.get(&key, now).is_some());
        assert!(cache.get(&key, now + Duration::from_secs(1)).is_none());
    }

    #[test]
    fn what_may_not_be_kept_is_not() {
        let cache = Cache::new(1 << 20);
        let now = Instant::now();
        let key = Key::new(b"\x01a\0", 1, false, false);
        cache.insert(&key, failure(&key, Rcode::SERVFAIL, 0, now), now);
        assert_eq!(cache.usage(), Usage::default());
    }

    #[test]
    fn bytes_stay_within_the_bound() {
        let cache = Cache::new(1 << 20);
        let now = Instant::now();
        for number in 0..20_000_u32 {
            let name = Name::from_text(&number.to_string()).unwrap();
            let key = Key::new(name.as_wire(), 1, false, false);
            cache.insert(&key, failure(&key, Rcode::SERVFAIL, 5, now), now);
        }
        let usage = cache.usage();
        assert!(usage.bytes <= 1 << 20, "{usage:?}");
        assert!(usage.bytes > 1 << 19, "{usage:?}");
        assert_eq!(usage.entries as u64 + usage.evicted, 20_000);
    }
}
