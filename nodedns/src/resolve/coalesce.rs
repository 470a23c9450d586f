//! One question on its way at a time: whoever asks the same meanwhile waits for
//! that answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::cache::entry::Entry;
use crate::cache::key::Key;

type Landed = Option<Arc<Entry>>;

/// The questions on their way. As many as tasks that ask, hence bounded by them.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    open: Mutex<HashMap<Key, watch::Receiver<Landed>>>,
}

/// A place on the flight of a question.
pub(crate) enum Seat<'a> {
    /// Nobody asks it yet: whoever holds this has to.
    Pilot(Flight<'a>),
    /// Somebody asks it already.
    Passenger(Passage),
}

impl Flights {
    /// Takes a place on the flight of `key`.
    pub(crate) fn board<'a>(&'a self, key: &'a Key) -> Seat<'a> {
        match self.lock().entry(key.clone()) {
            Slot::Occupied(slot) => Seat::Passenger(Passage(slot.get().clone())),
            Slot::Vacant(slot) => {
                let (sender, receiver) = watch::channel(None);
                slot.insert(receiver);
                Seat::Pilot(Flight {
                    flights: self,
                    key,
                    sender,
                })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, watch::Receiver<Landed>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The duty to ask. Dropped without [`land`](Self::land), it lets all who wait
/// know that nothing will come.
pub(crate) struct Flight<'a> {
    flights: &'a Flights,
    key: &'a Key,
    sender: watch::Sender<Landed>,
}

impl Flight<'_> {
    /// Gives the answer to all who wait.
    pub(crate) fn land(self, entry: &Arc<Entry>) {
        self.sender.send_replace(Some(Arc::clone(entry)));
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.flights.lock().remove(self.key);
    }
}

/// The wait for an answer that another asks for.
pub(crate) struct Passage(watch::Receiver<Landed>);

impl Passage {
    /// The answer; none when the pilot was lost.
    pub(crate) async fn landed(mut self) -> Option<Arc<Entry>> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::entry::tests::failure;
    use crate::wire::Rcode;
    use std::time::Instant;

    fn key() -> Key {
        Key::new(b"\x01a\0", 1, false, false)
    }

    #[tokio::test]
    async fn the_second_gets_the_answer_of_the_first() {
        let (flights, key) = (Flights::default(), key());
        let Seat::Pilot(flight) = flights.board(&key) else {
            panic!("the first has to ask");
        };
        let Seat::Passenger(passage) = flights.board(&key) else {
            panic!("the second has to wait");
        };
        let entry = failure(&key, Rcode::SERVFAIL, 1, Instant::now());
        flight.land(&entry);
        assert!(Arc::ptr_eq(&passage.landed().await.unwrap(), &entry));
        assert!(matches!(flights.board(&key), Seat::Pilot(_)));
    }

    #[tokio::test]
    async fn a_lost_pilot_leaves_nobody_waiting() {
        let (flights, key) = (Flights::default(), key());
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
