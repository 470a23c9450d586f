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

use std::hash::{BuildHasher as _, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use foldhash::quality::RandomState;
use papaya::{Equivalent, HashMap};

use crate::cache::entry::{Entry, block};
use crate::cache::ghost::Ghost;
use crate::cache::key::{Key, Parts};
use crate::cache::queue::Queue;

/// One shard of the cache. Who looks up takes no lock; who inserts takes the one on
/// the order in which answers go. The time is an argument.
#[derive(Debug)]
pub(super) struct Store {
    items: HashMap<Kept, Item, RandomState>,
    hasher: RandomState,
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

/// An answer, found by what it is the answer to: its key is nowhere else.
#[derive(Debug)]
struct Kept(Arc<Entry>);

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.0.key() == other.0.key()
    }
}

impl Eq for Kept {}

impl Hash for Kept {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key().hash(state);
    }
}

impl Equivalent<Kept> for Parts<'_> {
    fn equivalent(&self, kept: &Kept) -> bool {
        *self == kept.0.key()
    }
}

/// What is known of an answer. There are as many as answers: it is small.
#[derive(Debug)]
struct Item {
    /// Where it stands in its queue. Of whoever holds the lock on the order.
    place: AtomicU32,
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

impl Store {
    /// An empty store of `capacity` bytes, of which `inner` are for inner zones.
    pub(super) fn new(capacity: usize, inner: usize) -> Self {
        let hasher = RandomState::default();
        Self {
            items: HashMap::with_hasher(hasher.clone()),
            hasher,
            order: Mutex::default(),
            capacity: capacity.into(),
            inner: inner.into(),
        }
    }

    /// Shows `look` what is kept under `key`, fresh or not, and how often it was asked
    /// for since it was last looked at, this time included: up to [`MAX_HITS`].
    pub(super) fn get<T>(&self, key: &Key, look: impl FnOnce(&Arc<Entry>, u8) -> T) -> Option<T> {
        let items = self.items.pin();
        let (Kept(entry), item) = items.get_key_value(&key.parts())?;
        // Most answers that are asked for have been before: then nothing is written.
        // What two threads add at once may count as one.
        let mut hits = item.hits.load(Ordering::Relaxed);
        if hits < MAX_HITS {
            hits += 1;
            item.hits.store(hits, Ordering::Relaxed);
        }
        Some(look(entry, hits))
    }

    /// Keeps `entry` in place of what was there, and gives the number of other answers that
    /// had to go.
    pub(super) fn insert(&self, entry: Arc<Entry>, share: Share, now: Instant) -> u64 {
        if entry.bytes() + OVERHEAD > self.capacity() / 8 {
            return 0;
        }
        let mut order = self.order();
        let items = self.items.pin();
        let kept = Kept(entry);
        let item = match items.get(&kept) {
            Some(item) => {
                let (place, in_main) = (item.place(), item.in_main());
                let queue = order.of(item.share).queue(in_main);
                queue.replace(place, Arc::clone(&kept.0));
                Item {
                    place: place.into(),
                    // Whether the newer one is wanted as well is to be seen.
                    hits: item.hits.load(Ordering::Relaxed).min(1).into(),
                    in_main: in_main.into(),
                    share: item.share,
                }
            }
            None => {
                let queues = order.of(share);
                let in_main = queues.ghost.has(self.hash(&kept));
                let queue = queues.queue(in_main);
                Item {
                    place: queue.push(Arc::clone(&kept.0)).into(),
                    hits: 0.into(),
                    in_main: in_main.into(),
                    share,
                }
            }
        };
        items.insert(kept, item);
        self.make_room(&mut order, now)
    }

    /// What `pick` makes of each that is kept, fresh or not, where it makes something.
    pub(super) fn filter_map<T>(&self, pick: impl Fn(&Arc<Entry>) -> Option<T>) -> Vec<T> {
        let items = self.items.pin();
        items.keys().filter_map(|Kept(entry)| pick(entry)).collect()
    }

    /// Forgets these, or what has taken their places meanwhile; gives their number.
    pub(super) fn remove(&self, meant: impl IntoIterator<Item = Arc<Entry>>) -> usize {
        let mut order = self.order();
        let items = self.items.pin();
        let mut gone = 0;
        for entry in meant {
            if let Some(item) = items.remove(&entry.key()) {
                gone += 1;
                let queue = order.of(item.share).queue(item.in_main());
                queue.clear(item.place());
            }
        }
        let moved = |entry: &Entry, place| {
            if let Some(item) = items.get(&entry.key()) {
                item.place.store(place, Ordering::Relaxed);
            }
        };
        for queue in order.queues() {
            queue.close_gaps(moved);
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

    fn hash(&self, kept: &Kept) -> u64 {
        self.hasher.hash_one(kept)
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
            let from_small = taken(&queues.small) > queues.bytes() / SMALL_SHARE;
            let gone = if from_small || queues.main.len() == 0 {
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
        let Some(oldest) = queues.small.pop().map(Kept) else {
            return false;
        };
        let Some(item) = items.get(&oldest) else {
            return false;
        };
        let is_of_use = oldest.0.is_of_use(now);
        if is_of_use && item.hits.load(Ordering::Relaxed) > 0 {
            item.hits.store(0, Ordering::Relaxed);
            item.in_main.store(true, Ordering::Relaxed);
            item.place
                .store(queues.main.push(oldest.0), Ordering::Relaxed);
            return false;
        }
        items.remove(&oldest);
        if is_of_use {
            let kept = queues.small.len() + queues.main.len();
            queues.ghost.remember(self.hash(&oldest), kept);
        }
        true
    }

    /// Gives the oldest of the main queue another round for each time it was
    /// asked for, or drops it. True when it is out.
    fn look_at_oldest_of_main(&self, queues: &mut Queues, now: Instant) -> bool {
        let items = self.items.pin();
        let Some(oldest) = queues.main.pop().map(Kept) else {
            return false;
        };
        let Some(item) = items.get(&oldest) else {
            return false;
        };
        let hits = item.hits.load(Ordering::Relaxed);
        if hits > 0 && oldest.0.is_of_use(now) {
            item.hits.store(hits - 1, Ordering::Relaxed);
            item.place
                .store(queues.main.push(oldest.0), Ordering::Relaxed);
            return false;
        }
        items.remove(&oldest);
        true
    }
}

impl Item {
    fn place(&self) -> u32 {
        self.place.load(Ordering::Relaxed)
    }

    fn in_main(&self) -> bool {
        self.in_main.load(Ordering::Relaxed)
    }
}

impl Order {
    const fn of(&mut self, share: Share) -> &mut Queues {
        match share {
            Share::Inner => &mut self.inner,
            Share::Outer => &mut self.outer,
        }
    }

    const fn queues(&mut self) -> [&mut Queue; 4] {
        let Self { inner, outer } = self;
        [
            &mut inner.small,
            &mut inner.main,
            &mut outer.small,
            &mut outer.main,
        ]
    }

    fn bytes(&self) -> usize {
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

    fn bytes(&self) -> usize {
        taken(&self.small) + taken(&self.main)
    }
}

/// Bytes that the answers in a queue take, the bookkeeping included.
fn taken(queue: &Queue) -> usize {
    queue.bytes() + queue.len() * OVERHEAD
}

/// The share of the small queue, one part in ten as in the paper.
const SMALL_SHARE: usize = 10;
/// Rounds that a popular answer can earn, as in the paper.
const MAX_HITS: u8 = 3;
/// What the map has for each (key and value in a block), and its share of the tables of the
/// map (9 bytes a place), the queues (8) and the ghosts (8 and 9), which double when they are full:
/// measured, with full caches.
const OVERHEAD: usize = block(size_of::<(Kept, Item)>()) + 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::entry::tests::failure;
    use crate::cache::key::Key;
    use crate::wire::Rcode;
    use crate::wire::name::Name;
    use proptest::prelude::*;
    use std::collections::HashMap;
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
            self.store.insert(entry, share, self.now);
        }

        fn has(&self, number: u16) -> bool {
            self.store.get(&key(number), |_, _| ()).is_some()
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
        let item = items.get(&key(gone).parts()).unwrap();
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
        store.insert(entry, Share::Outer, now);
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

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Ask(u16),
        Keep(u16, u64),
        /// All whose names end so.
        Forget(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            40 => (0_u16..400).prop_map(Step::Ask),
            40 => (0_u16..400, 0_u64..3).prop_map(|(number, seconds)| Step::Keep(number, seconds)),
            1 => (b'0'..=b'9').prop_map(Step::Forget),
        ]
    }

    proptest! {
        #[test]
        fn the_books_always_balance(steps in prop::collection::vec(step(), 0..2_000)) {
            let mut fixture = Fixture::new();
            for step in steps {
                match step {
                    Step::Ask(number) => {
                        fixture.has(number);
                    }
                    Step::Keep(number, seconds) => {
                        let share = if number % 3 == 0 { Share::Inner } else { Share::Outer };
                        fixture.insert_of(share, number, seconds);
                        fixture.now += Duration::from_millis(10);
                    }
                    Step::Forget(digit) => {
                        let store = &fixture.store;
                        let is_meant = |entry: &Entry| entry.name().iter().rev().nth(1) == Some(&digit);
                        let meant = store.filter_map(|entry| is_meant(entry).then(|| Arc::clone(entry)));
                        let count = meant.len();
                        prop_assert_eq!(store.remove(meant), count);
                    }
                }
            }
            let store = &fixture.store;
            let (mut order, items) = (store.order(), store.items.pin());
            prop_assert!(order.bytes() <= store.capacity());
            for share in [Share::Inner, Share::Outer] {
                let queues = order.of(share);
                prop_assert!(queues.ghost.len() <= items.len().max(1) + 400);
                for in_main in [false, true] {
                    let is_here = |item: &Item| item.share == share && item.in_main() == in_main;
                    let (mut bytes, mut places) = (0, HashMap::new());
                    for (Kept(entry), item) in items.iter().filter(|(_, item)| is_here(item)) {
                        bytes += entry.bytes() + OVERHEAD;
                        places.insert(item.place(), Arc::clone(entry));
                    }
                    let queue = queues.queue(in_main);
                    prop_assert_eq!((taken(queue), queue.len()), (bytes, places.len()));
                    for (place, entry) in &places {
                        prop_assert!(queue.get(*place).is_some_and(|other| Arc::ptr_eq(other, entry)));
                    }
                }
            }
        }
    }
}
