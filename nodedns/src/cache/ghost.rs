//! Who lately went, and may come back.

use std::collections::{HashSet, VecDeque};

/// The keys, as hashes, of those that lately went from the small queue: when one
/// comes back, it was no passer-by.
#[derive(Debug, Default)]
pub(super) struct Ghost {
    order: VecDeque<u64>,
    known: HashSet<u64, foldhash::fast::RandomState>,
}

impl Ghost {
    /// Remembers one of this hash, and `most` of the last in all.
    pub(super) fn remember(&mut self, hash: u64, most: usize) {
        if self.known.insert(hash) {
            self.order.push_back(hash);
        }
        while self.order.len() > most.max(1) {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    /// Whether one of this hash is remembered. It stays in line until its turn, so that nothing
    /// has to be searched.
    pub(super) fn has(&self, hash: u64) -> bool {
        self.known.contains(&hash)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}
