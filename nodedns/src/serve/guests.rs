//! The TCP connections at one address: how many each client has, and who leaves when all places
//! are taken and one more comes: who has had nothing to do for longest among those of the client
//! that has the most (RFC 7766 §6.2.3 has a server that runs short close idle ones).
//!
//! So many clients may flood together: whoever comes next finds a place, and who has one
//! connection keeps it as long as others have two.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::client::Client;

/// The connections of all clients. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Guests(Arc<Seats>);

#[derive(Debug)]
struct Seats {
    by_client: Mutex<HashMap<Client, Vec<Arc<Place>>>>,
    taken: AtomicUsize,
    room: usize,
    start: Instant,
}

#[derive(Debug)]
struct Place {
    /// Nanoseconds from the start to when something was asked last; those that wait for answers
    /// come after all others.
    used: AtomicU64,
    lost: Notify,
}

/// The place of one connection; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    guests: Guests,
    client: Client,
    place: Arc<Place>,
}

impl Guests {
    /// With so many places, at least one.
    pub(super) fn new(room: usize) -> Self {
        Self(Arc::new(Seats {
            by_client: Mutex::default(),
            taken: AtomicUsize::new(0),
            room,
            start: Instant::now(),
        }))
    }

    /// A place for one more connection of `client`, which may have so many. If need be others
    /// lose theirs.
    pub(super) fn seat(&self, client: Client, most: usize, now: Instant) -> Option<Seat> {
        let mut guests = self.lock();
        if guests.get(&client).map_or(0, Vec::len) >= most {
            return None;
        }
        if self.taken() >= self.0.room {
            self.clear(&mut guests);
        }
        let place = Arc::new(Place {
            used: AtomicU64::new(self.time(now)),
            lost: Notify::new(),
        });
        guests.entry(client).or_default().push(Arc::clone(&place));
        self.0.taken.fetch_add(1, Ordering::Relaxed);
        Some(Seat {
            guests: self.clone(),
            client,
            place,
        })
    }

    /// Takes some of their places away, as if all were taken.
    pub(super) fn make_room(&self) {
        self.clear(&mut self.lock());
    }

    fn clear(&self, guests: &mut HashMap<Client, Vec<Arc<Place>>>) {
        let most = guests.values().map(Vec::len).max().unwrap_or(0);
        let mut candidates: Vec<_> = guests
            .iter()
            .filter(|(_, places)| places.len() == most)
            .flat_map(|(client, places)| places.iter().map(|place| (*client, Arc::clone(place))))
            .collect();
        // Some at once, for looking at all takes a while.
        let enough = candidates.len().div_ceil(2).min(AT_ONCE);
        candidates.sort_unstable_by_key(|(_, place)| place.used.load(Ordering::Relaxed));
        for (client, place) in candidates.iter().take(enough) {
            self.free(guests, *client, place);
            place.lost.notify_one();
        }
    }

    /// Frees a place, unless it is free already.
    fn free(
        &self,
        guests: &mut HashMap<Client, Vec<Arc<Place>>>,
        client: Client,
        place: &Arc<Place>,
    ) {
        let Entry::Occupied(mut places) = guests.entry(client) else {
            return;
        };
        let Some(at) = places.get().iter().position(|one| Arc::ptr_eq(one, place)) else {
            return;
        };
        places.get_mut().swap_remove(at);
        if places.get().is_empty() {
            places.remove();
        }
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many places are taken.
    fn taken(&self) -> usize {
        self.0.taken.load(Ordering::Relaxed)
    }

    fn time(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.0.start);
        u64::try_from(since.as_nanos()).map_or(WAITS - 1, |time| time.min(WAITS - 1))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Client, Vec<Arc<Place>>>> {
        self.0
            .by_client
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Whether at least three of four places are taken, by whomever.
    pub(super) fn is_crowded(&self) -> bool {
        self.guests.taken() >= self.guests.0.room / 4 * 3
    }

    /// When something was asked last, and whether an answer is still to come.
    pub(super) fn used(&self, at: Instant, waits: bool) {
        let waits = if waits { WAITS } else { 0 };
        let used = self.guests.time(at) | waits;
        self.place.used.store(used, Ordering::Relaxed);
    }

    /// Resolves once the place is another's. Cancel safe.
    pub(super) fn lost(&self) -> impl Future<Output = ()> + Send + use<> {
        let place = Arc::clone(&self.place);
        async move { place.lost.notified().await }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut guests = self.guests.lock();
        self.guests.free(&mut guests, self.client, &self.place);
    }
}

/// So many leave at once, or half of those among whom is chosen.
const AT_ONCE: usize = 64;
/// The bit of those that wait for answers; all others are time.
const WAITS: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    fn client(number: u32) -> Client {
        Client::of(Ipv4Addr::from(number).into())
    }

    async fn is_lost(seat: &Seat) -> bool {
        tokio::time::timeout(Duration::ZERO, seat.lost())
            .await
            .is_ok()
    }

    #[test]
    fn each_client_has_its_own_count_and_those_who_go_make_room() {
        let now = Instant::now();
        let guests = Guests::new(4);
        let first = guests.seat(client(1), 2, now).unwrap();
        let _second = guests.seat(client(1), 2, now).unwrap();
        assert!(guests.seat(client(1), 2, now).is_none());
        let other = guests.seat(client(2), 1, now).unwrap();
        assert!(other.is_crowded());
        drop(first);
        assert!(!other.is_crowded());
        assert!(guests.seat(client(1), 2, now).is_some());
        drop(other);
        assert_eq!(guests.lock().len(), 1, "who has gone is forgotten");
    }

    #[tokio::test]
    async fn who_has_the_most_loses_those_that_are_idle_for_longest() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let guests = Guests::new(5);
        let single = guests.seat(client(1), 9, at(0)).unwrap();
        let many: Vec<_> = (1..5)
            .map(|second| guests.seat(client(2), 9, at(second)).unwrap())
            .collect();
        many[0].used(at(0), true);
        many[1].used(at(9), false);
        let next = guests.seat(client(3), 9, at(9)).unwrap();
        let mut lost = Vec::new();
        for seat in &many {
            lost.push(is_lost(seat).await);
        }
        assert_eq!(lost, [false, false, true, true]);
        assert!(!is_lost(&single).await && !is_lost(&next).await);
        drop(many);
        assert_eq!(guests.taken(), 2, "no place is given back twice");
    }

    #[tokio::test]
    async fn among_many_with_one_each_the_newest_stay() {
        let start = Instant::now();
        let guests = Guests::new(1_000);
        let mut seats = Vec::new();
        for number in 0..3_000 {
            let now = start + Duration::from_millis(number.into());
            seats.push(guests.seat(client(number), 1, now).unwrap());
        }
        for seat in &seats[3_000 - 900..] {
            assert!(!is_lost(seat).await);
        }
        for seat in &seats[..1_900] {
            assert!(is_lost(seat).await);
        }
    }

    proptest! {
        #[test]
        fn there_is_a_place_for_whoever_comes_and_never_more_than_there_are(
            steps in prop::collection::vec((0_u32..6, 0_usize..20, any::<bool>()), 0..200)
        ) {
            let guests = Guests::new(12);
            let now = Instant::now();
            let mut seats = Vec::new();
            for (who, at, leaves) in steps {
                if leaves {
                    if at < seats.len() {
                        seats.swap_remove(at);
                    }
                } else {
                    let had = guests.lock().get(&client(who)).map_or(0, Vec::len);
                    let seat = guests.seat(client(who), 5, now);
                    prop_assert_eq!(seat.is_some(), had < 5);
                    seats.extend(seat);
                }
                let open: usize = guests.lock().values().map(Vec::len).sum();
                prop_assert_eq!(open, guests.taken());
                prop_assert!(open <= 12);
            }
            drop(seats);
            prop_assert_eq!(guests.taken(), 0);
            prop_assert!(guests.lock().is_empty());
        }
    }
}
