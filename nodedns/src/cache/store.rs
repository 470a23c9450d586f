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

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Instant;

use crate::cache::entry::Entry;

/// One shard of the cache. Pure: the time is an argument.
#[derive(Debug)]
pub(super) struct Store {
    items: HashMap<Arc<[u8]>, Item>,
    small: Queue,
    main: Queue,
    ghost: Ghost,
    capacity: usize,
}

#[derive(Debug)]
struct Item {
    entry: Arc<Entry>,
    /// Bytes, the key and the bookkeeping included.
    cost: usize,
    /// How often it was asked for since it was last looked at, up to [`MAX_HITS`].
    hits: u8,
    in_main: bool,
}

#[derive(Debug, Default)]
struct Queue {
    keys: VecDeque<Arc<[u8]>>,
    bytes: usize,
}

impl Store {
    /// An empty store of `capacity` bytes.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            items: HashMap::new(),
            small: Queue::default(),
            main: Queue::default(),
            ghost: Ghost::default(),
            capacity,
        }
    }

    /// What is kept under `key`, fresh or not.
    pub(super) fn get(&mut self, key: &[u8]) -> Option<Arc<Entry>> {
        let item = self.items.get_mut(key)?;
        item.hits = (item.hits + 1).min(MAX_HITS);
        Some(Arc::clone(&item.entry))
    }

    /// Keeps `entry` under `key` in place of what was there, and gives the number
    /// of other answers that had to go.
    pub(super) fn insert(&mut self, key: &[u8], entry: Arc<Entry>, now: Instant) -> u64 {
        let cost = entry.bytes() + 2 * key.len() + OVERHEAD;
        if cost > self.capacity / 8 {
            return 0;
        }
        if let Some(item) = self.items.get_mut(key) {
            let queue = if item.in_main {
                &mut self.main
            } else {
                &mut self.small
            };
            queue.bytes = queue.bytes - item.cost + cost;
            item.cost = cost;
            item.entry = entry;
        } else {
            let key: Arc<[u8]> = key.into();
            let in_main = self.ghost.take(&key);
            let queue = if in_main {
                &mut self.main
            } else {
                &mut self.small
            };
            queue.keys.push_back(Arc::clone(&key));
            queue.bytes += cost;
            let item = Item {
                entry,
                cost,
                hits: 0,
                in_main,
            };
            self.items.insert(key, item);
        }
        self.make_room(now)
    }

    /// Everything that is kept.
    pub(super) fn all(&self) -> Vec<(Arc<[u8]>, Arc<Entry>)> {
        let items = self.items.iter();
        items
            .map(|(key, item)| (Arc::clone(key), Arc::clone(&item.entry)))
            .collect()
    }

    /// Keeps only what is under a key that `stays`.
    pub(super) fn retain(&mut self, stays: impl Fn(&[u8]) -> bool) {
        for queue in [&mut self.small, &mut self.main] {
            queue.keys.retain(|key| stays(key));
        }
        self.items.retain(|key, item| {
            let stays = stays(key);
            if !stays {
                let queue = if item.in_main {
                    &mut self.main
                } else {
                    &mut self.small
                };
                queue.bytes -= item.cost;
            }
            stays
        });
    }

    /// Answers kept.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Bytes that they take.
    pub(super) const fn bytes(&self) -> usize {
        self.small.bytes + self.main.bytes
    }

    fn make_room(&mut self, now: Instant) -> u64 {
        let mut evicted = 0;
        while self.bytes() > self.capacity {
            let from_small = self.small.bytes > self.capacity / SMALL_SHARE;
            let gone = if from_small || self.main.keys.is_empty() {
                self.look_at_oldest_of_small(now)
            } else {
                self.look_at_oldest_of_main(now)
            };
            evicted += u64::from(gone);
        }
        evicted
    }

    /// Moves the oldest of the small queue on, or out. True when it is out.
    fn look_at_oldest_of_small(&mut self, now: Instant) -> bool {
        let Some(key) = self.small.keys.pop_front() else {
            return false;
        };
        let Some(item) = self.items.get_mut(&key) else {
            return false;
        };
        self.small.bytes -= item.cost;
        let fresh = item.entry.is_fresh(now);
        if fresh && item.hits > 0 {
            item.hits = 0;
            item.in_main = true;
            self.main.bytes += item.cost;
            self.main.keys.push_back(key);
            return false;
        }
        self.items.remove(&key);
        if fresh {
            self.ghost.remember(&key, self.items.len());
        }
        true
    }

    /// Gives the oldest of the main queue another round for each time it was
    /// asked for, or drops it. True when it is out.
    fn look_at_oldest_of_main(&mut self, now: Instant) -> bool {
        let Some(key) = self.main.keys.pop_front() else {
            return false;
        };
        let Some(item) = self.items.get_mut(&key) else {
            return false;
        };
        if item.hits > 0 && item.entry.is_fresh(now) {
            item.hits -= 1;
            self.main.keys.push_back(key);
            return false;
        }
        self.main.bytes -= item.cost;
        self.items.remove(&key);
        true
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
/// Map slot, queue slots, two counters of each `Arc`, a ghost: about this much
/// beside key and entry.
const OVERHEAD: usize = 128;

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
                store: Store::new(40_000),
                now: Instant::now(),
            }
        }

        fn insert(&mut self, number: u16, seconds: u64) {
            let key = key(number);
            let entry = failure(&key, Rcode::SERVFAIL, seconds, self.now);
            self.store.insert(key.as_bytes(), entry, self.now);
        }

        fn has(&mut self, number: u16) -> bool {
            self.store.get(key(number).as_bytes()).is_some()
        }
    }

    #[test]
    fn passers_by_do_not_push_out_what_is_asked_for_again() {
        let mut fixture = Fixture::new();
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
        let mut fixture = Fixture::new();
        let mut number = 0;
        while fixture.store.len() == usize::from(number) {
            fixture.insert(number, 60);
            number += 1;
        }
        let gone = (0..number).find(|number| !fixture.has(*number)).unwrap();
        fixture.insert(gone, 60);
        assert!(fixture.store.items[key(gone).as_bytes()].in_main);
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
        let mut store = Store::new(1_000);
        let now = Instant::now();
        store.insert(key.as_bytes(), failure(&key, Rcode::SERVFAIL, 1, now), now);
        assert_eq!(store.len(), 0);
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
                    fixture.insert(number, seconds);
                    fixture.now += Duration::from_millis(10);
                }
            }
            if kept < 128 {
                fixture.store.retain(|key| key[1] != kept);
            }
            let store = &fixture.store;
            prop_assert!(store.bytes() <= store.capacity);
            let cost = |main| store.items.values().filter(|item| item.in_main == main).map(|item| item.cost).sum::<usize>();
            prop_assert_eq!(store.small.bytes, cost(false));
            prop_assert_eq!(store.main.bytes, cost(true));
            prop_assert_eq!(store.small.keys.len() + store.main.keys.len(), store.items.len());
            prop_assert!(store.ghost.order.len() <= store.items.len().max(1) + 400);
        }
    }
}
