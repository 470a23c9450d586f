//! The table of the live connections of one worker, and the tokens by which the kernel names their sockets.
//!
//! The kernel may tell of a socket that was closed earlier in the same turn of the loop. A place in the
//! table is given out again, but never under the same [`Key`]: each time it has another generation.

use std::fmt;

/// Names a connection for as long as it lives, and nothing afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

/// What the kernel tells something of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Somebody wants the worker to look at snapshot and commands.
    Bell,
    /// A listening socket, by a number that the worker gave it.
    Listener(u32),
    /// One of the sockets of a connection.
    Socket(Key, u8),
}

// 63        32 31         8 7       0
// ┌───────────┬────────────┬─────────┐
// │generation │ index      │ socket  │   index 2²⁴-1: not a connection
// └───────────┴────────────┴─────────┘
impl Source {
    /// Packs it into what epoll keeps for us.
    pub(crate) fn token(self) -> u64 {
        let (generation, index, socket) = match self {
            Self::Bell => (0, OTHERS, 0),
            Self::Listener(number) => (number, OTHERS, 1),
            Self::Socket(key, socket) => (key.generation, key.index, socket),
        };
        u64::from(generation) << 32 | u64::from(index) << 8 | u64::from(socket)
    }

    /// What a token was made of.
    pub(crate) fn of(token: u64) -> Self {
        let [g3, g2, g1, g0, i2, i1, i0, socket] = token.to_be_bytes();
        let generation = u32::from_be_bytes([g3, g2, g1, g0]);
        match (u32::from_be_bytes([0, i2, i1, i0]), socket) {
            (OTHERS, 0) => Self::Bell,
            (OTHERS, _) => Self::Listener(generation),
            (index, _) => Self::Socket(Key { index, generation }, socket),
        }
    }
}

/// The table.
pub(crate) struct Connections<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

struct Place<T> {
    generation: u32,
    occupant: Option<T>,
}

impl<T> Connections<T> {
    pub(crate) const fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }

    /// The key that the next connection will have; `None` when the table is full.
    pub(crate) fn next_key(&self) -> Option<Key> {
        let index = match self.free.last() {
            Some(&index) => index,
            None => u32::try_from(self.places.len()).ok()?,
        };
        let place = self.places.get(index as usize);
        let generation = place.map_or(0, |place| place.generation);
        (index < OTHERS).then_some(Key { index, generation })
    }

    /// Adds a connection under the [`next_key`](Self::next_key).
    pub(crate) fn insert(&mut self, key: Key, connection: T) {
        debug_assert_eq!(Some(key), self.next_key());
        match self.free.pop() {
            Some(index) => self.places[index as usize].occupant = Some(connection),
            None => self.places.push(Place {
                generation: key.generation,
                occupant: Some(connection),
            }),
        }
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation == key.generation {
            place.occupant.as_mut()
        } else {
            None
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation != key.generation {
            return None;
        }
        let connection = place.occupant.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.index);
        Some(connection)
    }

    /// All that live.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let places = self.places.iter();
        places.filter_map(|place| place.occupant.as_ref())
    }

    /// The keys of all that live.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let places = (0..).zip(&self.places);
        places
            .filter(|(_, place)| place.occupant.is_some())
            .map(|(index, place)| Key {
                index,
                generation: place.generation,
            })
            .collect()
    }
}

impl<T> fmt::Debug for Connections<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let live = self.places.len() - self.free.len();
        f.debug_struct("Connections").field("live", &live).finish()
    }
}

/// Where the index of a connection would be in tokens of everything else: 16,777,215 connections a worker.
const OTHERS: u32 = 0x00ff_ffff;

#[cfg(test)]
mod tests {
    use super::*;

    fn add(table: &mut Connections<&'static str>, name: &'static str) -> Key {
        let key = table.next_key().unwrap();
        table.insert(key, name);
        key
    }

    #[test]
    fn a_place_that_is_given_out_again_has_another_key() {
        let mut table = Connections::new();
        let (first, second) = (add(&mut table, "first"), add(&mut table, "second"));
        assert_eq!(table.remove(first), Some("first"));
        assert_eq!(table.remove(first), None);
        let third = add(&mut table, "third");
        assert_eq!(third.index, first.index);
        assert_eq!(table.get_mut(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.get_mut(third), Some(&mut "third"));
        assert_eq!(table.keys(), [third, second]);
    }

    #[test]
    fn the_table_is_empty_when_all_are_gone() {
        let mut table = Connections::new();
        assert!(table.is_empty());
        let keys = [add(&mut table, "a"), add(&mut table, "b")];
        assert!(!table.is_empty());
        for key in keys {
            table.remove(key);
        }
        assert!(table.is_empty());
    }

    #[test]
    fn tokens_carry_their_source_there_and_back() {
        let key = Key {
            index: OTHERS - 1,
            generation: u32::MAX,
        };
        for source in [
            Source::Bell,
            Source::Listener(0),
            Source::Listener(u32::MAX),
            Source::Socket(key, 0),
            Source::Socket(key, u8::MAX),
        ] {
            assert_eq!(Source::of(source.token()), source);
        }
    }
}
