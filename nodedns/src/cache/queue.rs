//! Answers in the order in which they came, each at a place that it knows.
//!
//! A newer answer takes the place of the one before it, so that nothing is kept longer than
//! it is of use; one that is forgotten leaves its place empty.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::cache::entry::Entry;

/// Answers from the oldest to the newest.
#[derive(Debug, Default)]
pub(super) struct Queue {
    places: VecDeque<Option<Arc<Entry>>>,
    /// The number of the oldest place; those after it have the next ones, modulo 2^32.
    first: u32,
    /// Places with nothing in them.
    empty: usize,
    /// Those of its answers.
    bytes: usize,
}

impl Queue {
    /// Adds an answer as the newest, and gives its place.
    pub(super) fn push(&mut self, entry: Arc<Entry>) -> u32 {
        let place = self.first.wrapping_add(self.places.len() as u32);
        self.bytes += entry.bytes();
        self.places.push_back(Some(entry));
        place
    }

    /// Takes the oldest answer out.
    pub(super) fn pop(&mut self) -> Option<Arc<Entry>> {
        loop {
            let oldest = self.places.pop_front()?;
            self.first = self.first.wrapping_add(1);
            match oldest {
                None => self.empty -= 1,
                Some(entry) => {
                    self.bytes -= entry.bytes();
                    return Some(entry);
                }
            }
        }
    }

    /// Puts `entry` where another answer is.
    pub(super) fn replace(&mut self, place: u32, entry: Arc<Entry>) {
        self.bytes += entry.bytes();
        if let Some(before) = self.at(place).and_then(|at| at.replace(entry)) {
            self.bytes -= before.bytes();
        }
    }

    /// Leaves empty where an answer is.
    pub(super) fn clear(&mut self, place: u32) {
        if let Some(gone) = self.at(place).and_then(Option::take) {
            self.bytes -= gone.bytes();
            self.empty += 1;
        }
    }

    /// Closes the gaps once they are the greater part; `moved` learns the new place of each answer.
    pub(super) fn close_gaps(&mut self, moved: impl Fn(&Entry, u32)) {
        if 2 * self.empty <= self.places.len() {
            return;
        }
        self.places.retain(Option::is_some);
        self.empty = 0;
        for (entry, number) in self.places.iter().flatten().zip(0..) {
            moved(entry, self.first.wrapping_add(number));
        }
    }

    /// Answers in it.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.empty
    }

    /// Bytes that they take.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is at a place.
    #[cfg(test)]
    pub(super) fn get(&self, place: u32) -> Option<&Arc<Entry>> {
        let at = place.wrapping_sub(self.first) as usize;
        self.places.get(at)?.as_ref()
    }

    fn at(&mut self, place: u32) -> Option<&mut Option<Arc<Entry>>> {
        self.places.get_mut(place.wrapping_sub(self.first) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::entry::tests::failure;
    use crate::cache::key::Key;
    use crate::wire::Rcode;
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::time::Instant;

    fn entry(number: u8) -> Arc<Entry> {
        let key = Key::new(&[1, number, 0], 1, false, false);
        failure(&key, Rcode::SERVFAIL, 60, Instant::now())
    }

    fn number(entry: &Entry) -> u8 {
        entry.name()[1]
    }

    fn drained(queue: &mut Queue) -> Vec<u8> {
        std::iter::from_fn(|| queue.pop().map(|entry| number(&entry))).collect()
    }

    #[test]
    fn the_oldest_goes_first_and_a_newer_answer_has_the_place_of_the_older() {
        let mut queue = Queue::default();
        let places = [1, 2, 3].map(|number| queue.push(entry(number)));
        assert_eq!(queue.pop().map(|entry| number(&entry)), Some(1));
        queue.replace(places[1], entry(12));
        assert_eq!(drained(&mut queue), [12, 3]);
    }

    #[test]
    fn places_are_right_when_their_numbers_begin_anew() {
        let mut queue = Queue {
            first: u32::MAX,
            ..Queue::default()
        };
        let places = [1, 2, 3].map(|number| queue.push(entry(number)));
        assert_eq!(places, [u32::MAX, 0, 1]);
        queue.clear(places[2]);
        queue.pop();
        queue.replace(places[1], entry(12));
        assert_eq!(queue.len(), 1);
        assert_eq!(drained(&mut queue), [12]);
    }

    #[test]
    fn gaps_are_closed_before_they_are_many() {
        let mut queue = Queue::default();
        let places: Vec<u32> = (0..10).map(|number| queue.push(entry(number))).collect();
        let moved = RefCell::new(HashMap::new());
        let note = |entry: &Entry, place| {
            moved.borrow_mut().insert(number(entry), place);
        };
        for place in &places[2..7] {
            queue.clear(*place);
            queue.clear(*place);
        }
        queue.close_gaps(note);
        assert!(moved.borrow().is_empty(), "they are the half");
        queue.clear(places[8]);
        queue.close_gaps(note);
        assert_eq!(queue.places.len(), 4);
        let now = moved.take();
        queue.clear(now[&1]);
        queue.replace(now[&7], entry(17));
        assert_eq!(drained(&mut queue), [0, 17, 9]);
    }
}
