//! Who or what comes most often, in constant memory whatever comes: Space-Saving (Metwally,
//! Agrawal and El Abbadi). Pure.
//!
//! There is room for so many; a newcomer takes the place, and the count, of the one that came
//! least. So a count is never too low, and too high by no more than it says; and whoever makes up
//! more than one in so many of all is there.

use std::collections::HashMap;
use std::hash::Hash;

/// Counts of those that come most often.
#[derive(Debug)]
pub(crate) struct Sketch<K, T> {
    places: Vec<Place<K, T>>,
    by_key: HashMap<K, usize>,
    room: usize,
    total: u64,
}

/// One that is counted.
#[derive(Debug, Clone)]
pub(crate) struct Place<K, T> {
    pub(crate) key: K,
    /// How often it came, or more often.
    pub(crate) count: u64,
    /// By how much `count` may be too high.
    pub(crate) excess: u64,
    /// What was last said of it.
    pub(crate) note: T,
}

impl<K: Eq + Hash + Clone, T> Sketch<K, T> {
    /// With room for so many; at least 1.
    pub(crate) fn new(room: usize) -> Self {
        Self {
            places: Vec::with_capacity(room),
            by_key: HashMap::with_capacity(room),
            room,
            total: 0,
        }
    }

    /// `key` came.
    pub(crate) fn add(&mut self, key: K, note: T) {
        self.total += 1;
        if let Some(place) = self
            .by_key
            .get(&key)
            .and_then(|at| self.places.get_mut(*at))
        {
            place.count += 1;
            place.note = note;
            return;
        }
        let (at, excess) = if self.places.len() < self.room {
            (self.places.len(), 0)
        } else {
            let places = self.places.iter().enumerate();
            let Some((at, least)) = places.min_by_key(|(_, place)| place.count) else {
                return;
            };
            self.by_key.remove(&least.key);
            (at, least.count)
        };
        self.by_key.insert(key.clone(), at);
        let place = Place {
            key,
            count: excess + 1,
            excess,
            note,
        };
        match self.places.get_mut(at) {
            Some(old) => *old = place,
            None => self.places.push(place),
        }
    }

    /// Forgets half of all that came, so that what comes now counts for more.
    pub(crate) fn fade(&mut self) {
        self.total /= 2;
        for place in &mut self.places {
            place.count /= 2;
            place.excess /= 2;
        }
        self.places.retain(|place| place.count > 0);
        self.by_key = (0..)
            .zip(&self.places)
            .map(|(at, place)| (place.key.clone(), at))
            .collect();
    }

    /// How many came.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// Those that came most often, in order.
    pub(crate) fn top(&self, count: usize) -> Vec<Place<K, T>>
    where
        T: Clone,
    {
        let mut places = self.places.clone();
        // What may be all excess is no news.
        places.sort_by_key(|place| std::cmp::Reverse(place.count - place.excess));
        places.truncate(count);
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_that_comes_often_is_found_among_millions_that_come_once() {
        let mut sketch = Sketch::new(50);
        for number in 0..100_000_u32 {
            sketch.add(number + 10, ());
            if number % 20 == 0 {
                sketch.add(1, ());
            }
        }
        let top = sketch.top(1);
        assert_eq!(top[0].key, 1);
        assert!(top[0].count >= 5_000 && top[0].count - top[0].excess <= 5_000);
    }

    #[test]
    fn what_was_fades() {
        let mut sketch = Sketch::new(10);
        for key in [1, 1, 1, 1, 2] {
            sketch.add(key, "then");
        }
        sketch.fade();
        sketch.add(3, "now");
        let top: Vec<_> = sketch
            .top(9)
            .into_iter()
            .map(|one| (one.key, one.count, one.note))
            .collect();
        assert_eq!(top, [(1, 2, "then"), (3, 1, "now")]);
        assert_eq!(sketch.total(), 3);
    }

    proptest! {
        #[test]
        fn counts_are_as_exact_as_they_say(keys in prop::collection::vec(0_u8..40, 0..600), room in 1_usize..30) {
            let mut sketch = Sketch::new(room);
            let mut exact = HashMap::new();
            for key in &keys {
                sketch.add(*key, ());
                *exact.entry(*key).or_insert(0_u64) += 1;
            }
            let top = sketch.top(usize::MAX);
            prop_assert!(top.len() <= room);
            for one in &top {
                let count = exact.get(&one.key).copied().unwrap_or(0);
                prop_assert!(one.count >= count && one.count - one.excess <= count);
                prop_assert!(one.excess <= keys.len() as u64 / room as u64);
            }
            for (key, count) in exact {
                if count > keys.len() as u64 / room as u64 {
                    prop_assert!(top.iter().any(|one| one.key == key), "{} came {} times", key, count);
                }
            }
        }
    }
}
