//! How many connections there may be, over all workers and listeners.

use std::sync::{
    Arc,
    atomic::{AtomicIsize, AtomicUsize, Ordering},
};

/// The slots. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Only whoever resizes looks at it.
    all: AtomicUsize,
    /// Less than none while there are more connections than there may be since it was resized.
    free: AtomicIsize,
}

impl Slots {
    /// So many.
    pub(crate) fn new(count: usize) -> Self {
        let slots = Self::default();
        slots.resize(count);
        slots
    }

    /// There may be so many connections from now on. Those that are beyond it stay; further clients wait until
    /// there are fewer. To be called by one thread at a time.
    pub(crate) fn resize(&self, count: usize) {
        let count = count.min(isize::MAX.cast_unsigned());
        let before = self.0.all.swap(count, Ordering::Relaxed);
        let more = count.cast_signed() - before.cast_signed();
        self.0.free.fetch_add(more, Ordering::Relaxed);
    }

    /// Takes one, if there is one, for as long as the result lives.
    pub(crate) fn take(&self) -> Option<Slot> {
        let taken = self
            .0
            .free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
                (free > 0).then(|| free - 1)
            });
        taken.is_ok().then(|| Slot(self.clone()))
    }

    /// Takes one for a connection that is there already, even if there are too many then.
    pub(crate) fn take_anyway(&self) -> Slot {
        self.0.free.fetch_sub(1, Ordering::Relaxed);
        Slot(self.clone())
    }

    /// Whether one could be had at this moment.
    pub(crate) fn are_free(&self) -> bool {
        self.0.free.load(Ordering::Relaxed) > 0
    }
}

/// One slot.
#[derive(Debug)]
pub(crate) struct Slot(Slots);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.0.free.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_there_may_be_and_they_come_back() {
        let slots = Slots::new(1);
        let slot = slots.take().unwrap();
        assert!(slots.take().is_none() && !slots.are_free());
        drop(slot);
        assert!(slots.are_free() && slots.take().is_some());
    }

    #[test]
    fn who_is_there_already_gets_one_and_the_next_waits_for_two_to_leave() {
        let slots = Slots::new(1);
        let both = (slots.take_anyway(), slots.take_anyway());
        drop(both.0);
        assert!(slots.take().is_none());
        drop(both.1);
        assert!(slots.take().is_some());
    }

    #[test]
    fn with_fewer_than_are_taken_nobody_gets_one_until_enough_have_come_back() {
        let slots = Slots::new(3);
        let mut taken: Vec<_> = std::iter::from_fn(|| slots.take()).collect();
        assert_eq!(taken.len(), 3);
        slots.resize(1);
        for _ in 0..2 {
            taken.pop();
            assert!(slots.take().is_none());
        }
        taken.pop();
        let _one = slots.take().unwrap();
        assert!(slots.take().is_none());
        slots.resize(2);
        assert!(slots.are_free());
    }
}
