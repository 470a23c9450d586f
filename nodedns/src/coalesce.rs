//! One question on its way at a time: whoever asks the same meanwhile waits for
//! that answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::quality::RandomState;
use tokio::sync::oneshot;

use crate::cache::key::Key;

/// The questions on their way to a `T`. As many as tasks that ask, hence bounded
/// by them.
#[derive(Debug)]
pub(crate) struct Flights<T> {
    open: Mutex<Open<T>>,
}

/// Who waits for each: most often nobody.
type Open<T> = HashMap<Key, Vec<oneshot::Sender<Arc<T>>>, RandomState>;

/// A place on the flight of a question.
pub(crate) enum Seat<'a, T> {
    /// Nobody asks it yet: whoever holds this has to.
    Pilot(Flight<'a, T>),
    /// Somebody asks it already.
    Passenger(Passage<T>),
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self {
            open: Mutex::default(),
        }
    }
}

impl<T> Flights<T> {
    /// Takes a place on the flight of `key`.
    pub(crate) fn board<'a>(&'a self, key: &'a Key) -> Seat<'a, T> {
        match self.lock().entry(key.clone()) {
            Slot::Occupied(mut slot) => {
                let (sender, landed) = oneshot::channel();
                slot.get_mut().push(sender);
                Seat::Passenger(Passage(landed))
            }
            Slot::Vacant(slot) => {
                slot.insert(Vec::new());
                Seat::Pilot(Flight { flights: self, key })
            }
        }
    }

    /// Ends the flight of `key`; gives who waited for it.
    fn close(&self, key: &Key) -> Vec<oneshot::Sender<Arc<T>>> {
        self.lock().remove(key).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Open<T>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The duty to ask. Dropped without [`land`](Self::land), it lets all who wait
/// know that nothing will come.
pub(crate) struct Flight<'a, T> {
    flights: &'a Flights<T>,
    key: &'a Key,
}

impl<T> Flight<'_, T> {
    /// Gives the answer to all who wait.
    pub(crate) fn land(self, answer: &Arc<T>) {
        for passenger in self.flights.close(self.key) {
            // He may have got off.
            let _ = passenger.send(Arc::clone(answer));
        }
        // There is nothing to give up any more.
        std::mem::forget(self);
    }
}

impl<T> Drop for Flight<'_, T> {
    fn drop(&mut self) {
        self.flights.close(self.key);
    }
}

/// The wait for an answer that another asks for.
pub(crate) struct Passage<T>(oneshot::Receiver<Arc<T>>);

impl<T> Passage<T> {
    /// The answer; none when the pilot was lost.
    pub(crate) async fn landed(self) -> Option<Arc<T>> {
        self.0.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::new(b"\x01a\0", 1, false, false)
    }

    #[tokio::test]
    async fn the_second_gets_the_answer_of_the_first() {
        let (flights, key) = (Flights::<u8>::default(), key());
        let Seat::Pilot(flight) = flights.board(&key) else {
            panic!("the first has to ask");
        };
        let Seat::Passenger(passage) = flights.board(&key) else {
            panic!("the second has to wait");
        };
        flight.land(&Arc::new(7));
        assert_eq!(*passage.landed().await.unwrap(), 7);
        assert!(matches!(flights.board(&key), Seat::Pilot(_)));
    }

    #[tokio::test]
    async fn a_lost_pilot_leaves_nobody_waiting() {
        let (flights, key) = (Flights::<u8>::default(), key());
        let Seat::Pilot(flight) = flights.board(&key) else {
            panic!("the first has to ask");
        };
        let Seat::Passenger(passage) = flights.board(&key) else {
            panic!("the second has to wait");
        };
        drop(flight);
        assert!(passage.landed().await.is_none());
        assert!(matches!(flights.board(&key), Seat::Pilot(_)));
    }
}
