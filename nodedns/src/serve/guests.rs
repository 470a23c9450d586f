//! How many TCP connections each client has at one address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::client::Client;

/// The connections of all clients. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Guests(Arc<Seats>);

#[derive(Debug, Default)]
struct Seats {
    by_client: Mutex<HashMap<Client, usize>>,
    all: AtomicUsize,
}

/// The place of one connection; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    guests: Guests,
    client: Client,
}

impl Guests {
    /// A place for one more connection of `client`, which may have so many.
    pub(super) fn seat(&self, client: Client, most: usize) -> Option<Seat> {
        let mut guests = self.lock();
        match guests.entry(client) {
            Entry::Occupied(mut count) if *count.get() < most => *count.get_mut() += 1,
            Entry::Occupied(_) => return None,
            Entry::Vacant(count) => {
                count.insert(1);
            }
        }
        self.0.all.fetch_add(1, Ordering::Relaxed);
        Some(Seat {
            guests: self.clone(),
            client,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Client, usize>> {
        self.0
            .by_client
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// How many places are taken, by whomever.
    pub(super) fn all(&self) -> usize {
        self.guests.0.all.load(Ordering::Relaxed)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.guests.0.all.fetch_sub(1, Ordering::Relaxed);
        let mut guests = self.guests.lock();
        if let Entry::Occupied(mut count) = guests.entry(self.client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn each_client_has_its_own_count_and_those_who_go_make_room() {
        let client = |number: u32| Client::of(Ipv4Addr::from(number).into());
        let guests = Guests::default();
        let first = guests.seat(client(1), 2).unwrap();
        let _second = guests.seat(client(1), 2).unwrap();
        assert!(guests.seat(client(1), 2).is_none());
        let other = guests.seat(client(2), 1).unwrap();
        assert_eq!(other.all(), 3);
        drop(first);
        assert!(guests.seat(client(1), 2).is_some());
        drop(other);
        assert_eq!(guests.lock().len(), 1, "who has gone is forgotten");
    }
}
