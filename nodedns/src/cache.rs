//! The cache: answers in wire form, bounded by the bytes that they take.
//!
//! [`key`] is what an answer is kept under, [`entry`] how it is kept and for how
//! long, [`store`] what stays when memory is short. The store is cut into shards,
//! whose locks are for those who insert: a hit waits for nobody.

pub(crate) mod entry;
mod ghost;
pub(crate) mod key;
mod queue;
mod store;

use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use entry::Entry;
use foldhash::quality::RandomState;
use key::{Key, Parts};
pub(crate) use store::Share;
use store::Store;

use crate::wire::name::Name;
use crate::wire::order::{compare, is_within};

/// Shared by all workers.
#[derive(Debug)]
pub(crate) struct Cache {
    shards: Box<[Store]>,
    /// Picks the shard: who knew how could have all names fall into one.
    hasher: RandomState,
    capacity: AtomicUsize,
    evicted: AtomicU64,
}

/// How many bytes a cache may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// For all answers.
    pub(crate) bytes: usize,
    /// Of these, the hundredths that answers of inner zones have for themselves.
    pub(crate) inner_share: u8,
}

impl Capacity {
    /// Of `bytes`, what is for inner zones.
    fn inner(self, bytes: usize) -> usize {
        bytes / 100 * usize::from(self.inner_share)
    }
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
    /// An empty cache.
    pub(crate) fn new(capacity: Capacity) -> Self {
        let bytes = capacity.bytes;
        let count = (bytes / SHARD_BYTES).clamp(1, MAX_SHARDS);
        let each = for_answers(bytes) / count;
        let shard = || Store::new(each, capacity.inner(each));
        Self {
            shards: (0..count).map(|_| shard()).collect(),
            hasher: RandomState::default(),
            capacity: bytes.into(),
            evicted: AtomicU64::new(0),
        }
    }

    /// The answer kept under `key` whose time is not over at `now`.
    pub(crate) fn get(&self, key: &Key, now: Instant) -> Option<Arc<Entry>> {
        let pick = |entry: &Arc<Entry>, _| entry.is_fresh(now).then(|| Arc::clone(entry));
        self.look_up(key, pick)?
    }

    /// Shows `look` the answer kept under `key`, its time over or not, and how often
    /// it was asked for lately.
    pub(crate) fn look_up<T>(
        &self,
        key: &Key,
        look: impl FnOnce(&Arc<Entry>, u8) -> T,
    ) -> Option<T> {
        self.shard(key.parts()).get(key, look)
    }

    /// The answer kept under `key` that may be used at `now` if there is nothing newer.
    pub(crate) fn last_known(&self, key: &Key, now: Instant) -> Option<Arc<Entry>> {
        let pick = |entry: &Arc<Entry>, _| entry.is_of_use(now).then(|| Arc::clone(entry));
        self.look_up(key, pick)?
    }

    /// Keeps `entry`, unless it may not be kept at all.
    pub(crate) fn insert(&self, entry: Arc<Entry>, share: Share, now: Instant) {
        if entry.is_fresh(now) {
            let evicted = self.shard(entry.key()).insert(entry, share, now);
            self.evicted.fetch_add(evicted, Ordering::Relaxed);
        }
    }

    /// Forgets the answer under `key`.
    pub(crate) fn remove(&self, key: &Key) {
        let shard = self.shard(key.parts());
        shard.remove(shard.get(key, |entry, _| Arc::clone(entry)));
    }

    /// Forgets all answers that have anything to do with names at or below one of
    /// `tops`, and gives their number.
    pub(crate) fn forget_within(&self, tops: &[Name]) -> usize {
        let is_meant = |name: &[u8]| tops.iter().any(|top| is_within(name, top.as_wire()));
        self.forget(|entry| entry.touches(is_meant))
    }

    /// Forgets all answers that `is_meant` picks, and gives their number. Each is
    /// looked at without a lock: who inserts waits for the removal only.
    pub(crate) fn forget(&self, is_meant: impl Fn(&Entry) -> bool) -> usize {
        let forget = |shard: &Store| {
            shard.remove(shard.filter_map(|entry| is_meant(entry).then(|| Arc::clone(entry))))
        };
        self.shards.iter().map(forget).sum()
    }

    /// From now on takes so much; what has no room any more goes at once.
    pub(crate) fn resize(&self, capacity: Capacity, now: Instant) {
        self.capacity.store(capacity.bytes, Ordering::Relaxed);
        let bytes = for_answers(capacity.bytes) / self.shards.len();
        for shard in &self.shards {
            let evicted = shard.resize(bytes, capacity.inner(bytes), now);
            self.evicted.fetch_add(evicted, Ordering::Relaxed);
        }
    }

    /// What may be used at `now` of names at or below `top`, by name.
    pub(crate) fn list(&self, top: &Name, now: Instant) -> Vec<Arc<Entry>> {
        let is_meant =
            |entry: &Entry| entry.is_fresh(now) && is_within(entry.name(), top.as_wire());
        let pick = |entry: &Arc<Entry>| is_meant(entry).then(|| Arc::clone(entry));
        let shards = self.shards.iter();
        let mut found: Vec<_> = shards.flat_map(|shard| shard.filter_map(pick)).collect();
        found.sort_by(|one, other| {
            compare(one.name(), other.name()).then_with(|| one.key().cmp(&other.key()))
        });
        found
    }

    /// Bytes that it may have.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Relaxed)
    }

    /// How full it is.
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = Usage {
            evicted: self.evicted.load(Ordering::Relaxed),
            ..Usage::default()
        };
        for shard in &self.shards {
            usage.entries += shard.len();
            usage.bytes += shard.bytes();
        }
        usage
    }

    fn shard(&self, key: Parts<'_>) -> &Store {
        let hash = self.hasher.hash_one(key);
        &self.shards[hash as usize % self.shards.len()]
    }
}

/// Of the bytes that a cache may take, those that answers may: the allocator has blocks of each size ready
/// before they are used, and questions on their way have theirs, some 2 MiB however large the cache is.
fn for_answers(bytes: usize) -> usize {
    bytes - (bytes / 8).min(2 << 20)
}

/// A shard has room for many of the largest answers, 64 KiB.
const SHARD_BYTES: usize = 4 << 20;
/// Workers that insert at random then rarely meet.
const MAX_SHARDS: usize = 16;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::validate::Judged;
    use crate::wire::Rcode;
    use crate::wire::record::tests::{a, cname, response};
    use crate::wire::response::Response;
    use entry::tests::failure;
    use std::time::Duration;

    pub(crate) fn capacity(bytes: usize) -> Capacity {
        Capacity {
            bytes,
            inner_share: 25,
        }
    }

    fn cache(bytes: usize) -> Cache {
        Cache::new(capacity(bytes))
    }

    #[test]
    fn an_answer_is_found_until_its_time_is_over() {
        let cache = cache(1 << 20);
        let now = Instant::now();
        let key = Key::new(b"\x01a\0", 1, false, false);
        cache.insert(failure(&key, Rcode::SERVFAIL, 1, now), Share::Outer, now);
        assert!(cache.get(&key, now).is_some());
        assert!(cache.get(&key, now + Duration::from_secs(1)).is_none());
    }

    #[test]
    fn what_may_not_be_kept_is_not() {
        let cache = cache(1 << 20);
        let now = Instant::now();
        let key = Key::new(b"\x01a\0", 1, false, false);
        cache.insert(failure(&key, Rcode::SERVFAIL, 0, now), Share::Outer, now);
        assert_eq!(cache.usage(), Usage::default());
    }

    #[test]
    fn bytes_stay_within_the_bound() {
        let cache = cache(1 << 20);
        let now = Instant::now();
        for number in 0..20_000_u32 {
            let name = Name::from_text(&number.to_string()).unwrap();
            let key = Key::new(name.as_wire(), 1, false, false);
            cache.insert(failure(&key, Rcode::SERVFAIL, 5, now), Share::Outer, now);
        }
        let usage = cache.usage();
        assert!(usage.bytes <= 1 << 20, "{usage:?}");
        assert!(usage.bytes > 1 << 19, "{usage:?}");
        assert_eq!(usage.entries as u64 + usage.evicted, 20_000);
    }

    #[test]
    fn a_cache_that_is_made_smaller_gives_room_back_at_once() {
        let cache = cache(8 << 20);
        let now = Instant::now();
        let fill = || {
            for number in 0..40_000_u32 {
                let name = Name::from_text(&number.to_string()).unwrap();
                let key = Key::new(name.as_wire(), 1, false, false);
                cache.insert(failure(&key, Rcode::SERVFAIL, 5, now), Share::Outer, now);
            }
            cache.usage().bytes
        };
        let before = fill();
        assert!(before > 4 << 20, "{before}");
        cache.resize(capacity(1 << 20), now);
        let after = cache.usage().bytes;
        assert!(after <= 1 << 20 && after > 1 << 19, "{after}");
        cache.resize(capacity(8 << 20), now);
        assert_eq!(cache.capacity(), 8 << 20);
        assert!(fill() > 4 << 20);
    }

    #[test]
    fn what_leads_to_a_name_is_forgotten_with_it() {
        let cache = cache(1 << 20);
        let now = Instant::now();
        let name = |text| Name::from_text(text).unwrap();
        let key = |text| Key::new(name(text).as_wire(), 1, false, false);
        let limits = entry::Limits {
            positive: Duration::from_secs(60),
            least: Duration::ZERO,
            negative: Duration::from_secs(60),
            stale: Duration::ZERO,
        };
        let alias = response(|message| {
            message.add_answer(cname("www.example.", 60, "a.broken.test."));
            message.add_answer(a("a.broken.test.", 60, 1));
        });
        let alias = Judged::unchecked(Response::parse(alias).unwrap());
        let alias = Arc::new(Entry::of(&key("www.example"), alias, limits, now));
        cache.insert(alias, Share::Outer, now);
        for text in ["broken.test", "x.broken.test", "test", "unbroken.test"] {
            let entry = failure(&key(text), Rcode::SERVFAIL, 60, now);
            cache.insert(entry, Share::Outer, now);
        }
        assert_eq!(cache.forget_within(&[name("broken.test")]), 3);
        let is_known = |text| cache.get(&key(text), now).is_some();
        assert!(is_known("test") && is_known("unbroken.test"));
        assert!(!is_known("www.example") && !is_known("x.broken.test"));
        cache.remove(&key("test"));
        assert!(!is_known("test"));
        assert_eq!(cache.usage().entries, 1);
    }
}
