//! What stays when memory is short: S3-FIFO (Yang et al., SOSP 2023), counted in
//! bytes.
//!
//! ```text
//!  new ──► small (a tenth) ──asked again──► main ──asked again──► main, at its end
//!             │ not asked again               │ not asked again
//!             ▼                               ▼
//!          ghost (keys only) ──comes back──► main
//! ```
//!
//! Most names are asked for once: they pass through the small queue and cannot
//! push out the ones that matter. A hit only raises a counter; nothing moves.
//!
//! There are queues of each kind for names of inner zones and for all others: whichever
//! takes more than its share goes first, so that no flood of the world's names takes the
//! cluster's. What one does not use the other may.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use papaya::HashMap;

use crate::cache::entry::{COUNTERS, Entry, block};

/// One shard of the cache. Who looks up takes no lock; who inserts takes the one on
/// the order in which answers go. The time is an argument.
#[derive(Debug)]
pub(super) struct Store {
    items: HashMap<Arc<[u8]>, Item>,
    order: Mutex<Order>,
    capacity: AtomicUsize,
    /// Of the capacity, what names of inner zones have for themselves.
    inner: AtomicUsize,
}

/// Whose room an answer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// That of zones other than the root.
    Inner,
    /// That of all others.
    Outer,
}

#[derive(Debug)]
struct Item {
    entry: Arc<Entry>,
    /// Bytes, the key and the bookkeeping included.
    cost: u32,
    /// How often it was asked for since it was last looked at, up to [`MAX_HITS`].
    hits: AtomicU8,
    in_main: AtomicBool,
    share: Share,
}

/// Who goes next.
#[derive(Debug, Default)]
struct Order {
    inner: Queues,
    outer: Queues,
}

/// Who goes next of one share.
#[derive(Debug, Default)]
struct Queues {
    small: Queue,
    main: Queue,
    ghost: Ghost,
}

#[derive(Debug, Default)]
struct Queue {
    keys: VecDeque<Arc<[u8]>>,
    bytes: usize,
}

impl Store {
    /// An empty store of `capacity` bytes, of which `inner` are for inner zones.
    pub(super) fn new(capacity: usize, inner: usize) -> Self {
        Self {
            items: HashMap::new(),
            order: Mutex::default(),
            capacity: capacity.into(),
            inner: inner.into(),
        }
    }

    /// Shows `look` what is kept under `key`, fresh or not, and how often it was asked
    /// for since it was last looked at, this time included: up to [`MAX_HITS`].
    pub(super) fn get<T>(&self, key: &[u8], look: impl FnOnce(&Arc<Entry>, u8) -> T) -> Option<T> {
        let items = self.items.pin();
        let item = items.get(key)?;
        // Most answers that are asked for have been before: then nothing is written.
        // What two threads add at once may count as one.
        let mut hits = item.hits.load(Ordering::Relaxed);
        if hits < MAX_HITS {
            hits += 1;
            item.hits.store(hits, Ordering::Relaxed);
        }
        Some(look(&item.entry, hits))
    }

    /// Keeps `entry` under `key` in place of what was there, and gives the number
    /// of other answers that had to go.
    pub(super) fn insert(&self, key: &[u8], entry: Arc<Entry>, share: Share, now: Instant) -> u64 {
        let cost = entry.bytes() + block(COUNTERS + key.len()) + OVERHEAD;
        if cost > self.capacity() / 8 {
            return 0;
        }
        let mut order = self.order();
        let items = self.items.pin();
        let before = items.get_key_value(key);
        let (key, hits, in_main, share) = match before {
            Some((key, item)) => {
                let in_main = item.in_main.load(Ordering::Relaxed);
                order.of(item.share).queue(in_main).bytes -= item.cost as usize;
                // Whether the newer one is wanted as well is to be seen.
                let hits = item.hits.load(Ordering::Relaxed).min(1);
                (Arc::clone(key), hits, in_main, item.share)
            }
            None => {
                let key: Arc<[u8]> = key.into();
                let queues = order.of(share);
                let in_main = queues.ghost.take(&key);
                queues.queue(in_main).keys.push_back(Arc::clone(&key));
                (key, 0, in_main, share)
            }
        };
        order.of(share).queue(in_main).bytes += cost;
        let item = Item {
            entry,
            cost: u32::try_from(cost).unwrap_or(u32::MAX),
            hits: hits.into(),
            in_main: in_main.into(),
            share,
        };
        items.insert(key, item);
        self.make_room(&mut order, now)
    }

    /// What `pick` makes of each that is kept, fresh or not, where it makes something.
    pub(super) fn filter_map<T>(
        &self,
        pick: impl Fn(&Arc<[u8]>, &Arc<Entry>) -> Option<T>,
    ) -> Vec<T> {
        let items = self.items.pin();
        let all = items.iter();
        all.filter_map(|(key, item)| pick(key, &item.entry))
            .collect()
    }

    /// Forgets what is under these keys; gives their number.
    pub(super) fn remove(&self, keys: &HashSet<Arc<[u8]>>) -> usize {
        let mut order = self.order();
        let items = self.items.pin();
        let mut gone = 0;
        for key in keys {
            if let Some(item) = items.remove(key) {
                gone += 1;
                let in_main = item.in_main.load(Ordering::Relaxed);
                order.of(item.share).queue(in_main).bytes -= item.cost as usize;
            }
        }
        if gone > 0 {
            for queue in order.queues() {
                queue.keys.retain(|key| !keys.contains(key));
            }
        }
        gone
    }

    /// From now on holds `capacity` bytes, of which `inner` are for inner zones; gives the
    /// number of answers that had to go.
    pub(super) fn resize(&self, capacity: usize, inner: usize, now: Instant) -> u64 {
        let mut order = self.order();
        self.capacity.store(capacity, Ordering::Relaxed);
        self.inner.store(inner, Ordering::Relaxed);
        self.make_room(&mut order, now)
    }

    fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Relaxed)
    }

    /// Answers kept.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.order().bytes()
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        // A panic of another thread leaves at worst one answer unaccounted.
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make_room(&self, order: &mut Order, now: Instant) -> u64 {
        let mut evicted = 0;
        let capacity = self.capacity();
        let others = capacity - self.inner.load(Ordering::Relaxed).min(capacity);
        while order.bytes() > capacity {
            // One of them has more than its share.
            let queues = if order.outer.bytes() > others {
                &mut order.outer
            } else {
                &mut order.inner
            };
            let from_small = queues.small.bytes > queues.bytes() / SMALL_SHARE;
            let gone = if from_small || queues.main.keys.is_empty() {
                self.look_at_oldest_of_small(queues, now)
            } else {
                self.look_at_oldest_of_main(queues, now)
            };
            evicted += u64::from(gone);
        }
        evicted
    }

    /// Moves the oldest of the small queue on, or out. True when it is out.
    fn look_at_oldest_of_small(&self, queues: &mut Queues, now: Instant) -> bool {
        let items = self.items.pin();
        let Some(key) = queues.small.keys.pop_front() else {
            return false;
        };
        let Some(item) = items.get(&key) else {
            return false;
        };
        let cost = item.cost as usize;
        queues.small.bytes -= cost;
        let is_of_use = item.entry.is_of_use(now);
        if is_of_use && item.hits.load(Ordering::Relaxed) > 0 {
            item.hits.store(0, Ordering::Relaxed);
            item.in_main.store(true, Ordering::Relaxed);
            queues.main.bytes += cost;
            queues.main.keys.push_back(key);
            return false;
        }
        items.remove(&key);
        if is_of_use {
            let kept = queues.small.keys.len() + queues.main.keys.len();
            queues.ghost.remember(&key, kept);
        }
        true
    }

    /// Gives the oldest of the main queue another round for each time it was
    /// asked for, or drops it. True when it is out.
    fn look_at_oldest_of_main(&self, queues: &mut Queues, now: Instant) -> bool {
        let items = self.items.pin();
        let Some(key) = queues.main.keys.pop_front() else {
            return false;
        };
        let Some(item) = items.get(&key) else {
            return false;
        };
        let hits = item.hits.load(Ordering::Relaxed);
        if hits > 0 && item.entry.is_of_use(now) {
            item.hits.store(hits - 1, Ordering::Relaxed);
            queues.main.keys.push_back(key);
            return false;
        }
        queues.main.bytes -= item.cost as usize;
        items.remove(&key);
        true
    }
}

impl Order {
    const fn of(&mut self, share: Share) -> &mut Queues {
        match share {
            Share::Inner => &mut self.inner,
            Share::Outer => &mut self.outer,
        }
    }

    fn queues(&mut self) -> [&mut Queue; 4] {
        let Self { inner, outer } = self;
        [
            &mut inner.small,
            &mut inner.main,
            &mut outer.small,
            &mut outer.main,
        ]
    }

    const fn bytes(&self) -> usize {
        self.inner.bytes() + self.outer.bytes()
    }
}

impl Queues {
    const fn queue(&mut self, is_main: bool) -> &mut Queue {
        if is_main {
            &mut self.main
        } else {
            &mut self.small
        }
    }

    const fn bytes(&self) -> usize {
        self.small.bytes + self.main.bytes
    }
}

/// The keys, as hashes, of those that lately went from the small queue: when one
/// comes back, it was no passer-by.
#[derive(Debug, Default)]
struct Ghost {
    hasher: RandomState,
    order: VecDeque<u64>,
    known: HashSet<u64>,
}

impl Ghost {
    fn remember(&mut self, key: &[u8], most: usize) {
        let hash = self.hasher.hash_one(key);
        if self.known.insert(hash) {
            self.order.push_back(hash);
        }
        while self.order.len() > most.max(1) {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    /// Whether `key` was remembered. Its hash stays in line until its turn, so
    /// that nothing has to be searched.
    fn take(&self, key: &[u8]) -> bool {
        self.known.contains(&self.hasher.hash_one(key))
    }
}

/// The share of the small queue, one part in ten as in the paper.
const SMALL_SHARE: usize = 10;
/// Rounds that a popular answer can earn, as in the paper.
const MAX_HITS: u8 = 3;
/// What the map has for each (key and value in a block), and its share of the tables of the
/// map (9 bytes a place), the queues (16) and the ghosts (8 and 9), which double when they are full:
/// measured, with full caches.
const OVERHEAD: usize = block(size_of::<(Arc<[u8]>, Item)>()) + 80;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::entry::tests::failure;
    use crate::cache::key::Key;
    use crate::wire::Rcode;
    use crate::wire::name::Name;
    use proptest::prelude::*;
    use std::time::Duration;

    fn key(number: u16) -> Key {
        let name = Name::from_text(&number.to_string()).unwrap();
        Key::new(name.as_wire(), 1, false, false)
    }

    struct Fixture {
        store: Store,
        now: Instant,
    }

    impl Fixture {
        fn new() -> Self {
            Self {
                store: Store::new(40_000, 10_000),
                now: Instant::now(),
            }
        }

        fn insert(&self, number: u16, seconds: u64) {
            self.insert_of(Share::Outer, number, seconds);
        }

        fn insert_of(&self, share: Share, number: u16, seconds: u64) {
            let key = key(number);
            let entry = failure(&key, Rcode::SERVFAIL, seconds, self.now);
            self.store.insert(key.as_bytes(), entry, share, self.now);
        }

        fn has(&self, number: u16) -> bool {
            self.store.get(key(number).as_bytes(), |_, _| ()).is_some()
        }
    }

    #[test]
    fn passers_by_do_not_push_out_what_is_asked_for_again() {
        let fixture = Fixture::new();
        for number in 0..20 {
            fixture.insert(number, 60);
            assert!(fixture.has(number));
        }
        for number in 100..5_000 {
            fixture.insert(number, 60);
        }
        let kept = (0..20).filter(|number| fixture.has(*number)).count();
        assert_eq!(kept, 20);
    }

    #[test]
    fn what_comes_back_is_no_passer_by() {
        let fixture = Fixture::new();
        let mut number = 0;
        while fixture.store.len() == usize::from(number) {
            fixture.insert(number, 60);
            number += 1;
        }
        let gone = (0..number).find(|number| !fixture.has(*number)).unwrap();
        fixture.insert(gone, 60);
        let items = fixture.store.items.pin();
        let item = items.get(key(gone).as_bytes()).unwrap();
        assert!(item.in_main.load(Ordering::Relaxed));
    }

    #[test]
    fn what_is_over_goes_however_popular() {
        let mut fixture = Fixture::new();
        fixture.insert(0, 1);
        assert!(fixture.has(0));
        fixture.now += Duration::from_secs(2);
        for number in 100..5_000 {
            fixture.insert(number, 60);
        }
        assert!(!fixture.has(0));
    }

    #[test]
    fn an_answer_too_large_for_the_store_is_not_kept() {
        let key = key(1);
        let store = Store::new(1_000, 0);
        let now = Instant::now();
        let entry = failure(&key, Rcode::SERVFAIL, 1, now);
        store.insert(key.as_bytes(), entry, Share::Outer, now);
        assert_eq!(store.len(), 0);
    }

    #[test]
    fn a_flood_of_other_names_leaves_inner_zones_their_share() {
        let fixture = Fixture::new();
        // Nobody asks for them again: they would be the first to go.
        for number in 0..25 {
            fixture.insert_of(Share::Inner, number, 60);
        }
        for number in 100..5_000 {
            fixture.insert(number, 60);
            fixture.has(number);
        }
        let kept = (0..25).filter(|number| fixture.has(*number)).count();
        assert_eq!(kept, 25);
        // Nor do they take more than that when others want it.
        for number in 5_000..9_000 {
            fixture.insert_of(Share::Inner, number, 60);
        }
        let order = fixture.store.order();
        assert!(order.inner.bytes() <= 12_000, "{}", order.inner.bytes());
        assert!(order.outer.bytes() >= 28_000, "{}", order.outer.bytes());
    }

    #[test]
    fn names_that_are_wanted_stay_whatever_passes_by() {
        let fixture = Fixture::new();
        let (mut asked, mut missed) = (0, 0);
        for round in 0..30_000_u32 {
            let passing = 1_000 + (round % 50_000) as u16;
            fixture.insert(passing, 60);
            let wanted = (round % 40) as u16;
            asked += 1;
            if !fixture.has(wanted) {
                missed += 1;
                fixture.insert(wanted, 600);
            }
        }
        // But for the first time of each.
        assert!(missed - 40 < asked / 100, "{missed} of {asked}");
    }

    proptest! {
        #[test]
        fn the_books_always_balance(
            steps in prop::collection::vec((0_u16..400, any::<bool>(), 0_u64..3), 0..2_000),
            kept in any::<u8>(),
        ) {
            let mut fixture = Fixture::new();
            for (number, look, seconds) in steps {
                if look {
                    fixture.has(number);
                } else {
                    let share = if number % 3 == 0 { Share::Inner } else { Share::Outer };
                    fixture.insert_of(share, number, seconds);
                    fixture.now += Duration::from_millis(10);
                }
            }
            let store = &fixture.store;
            if kept < 128 {
                let gone = store.filter_map(|key, _| (key[1] == kept).then(|| Arc::clone(key)));
                let gone = gone.into_iter().collect();
                store.remove(&gone);
            }
            let order = store.order();
            let items = store.items.pin();
            prop_assert!(order.bytes() <= store.capacity());
            for (share, queues) in [(Share::Inner, &order.inner), (Share::Outer, &order.outer)] {
                let cost = |main| {
                    let items = items.values().filter(|item| item.share == share);
                    let items = items.filter(|item| item.in_main.load(Ordering::Relaxed) == main);
                    items.map(|item| item.cost as usize).sum::<usize>()
                };
                prop_assert_eq!(queues.small.bytes, cost(false));
                prop_assert_eq!(queues.main.bytes, cost(true));
                prop_assert!(queues.ghost.order.len() <= items.len().max(1) + 400);
            }
            let keys = [&order.inner.small, &order.inner.main, &order.outer.small, &order.outer.main];
            let keys: usize = keys.iter().map(|queue| queue.keys.len()).sum();
            prop_assert_eq!(keys, items.len());
        }
    }
}
