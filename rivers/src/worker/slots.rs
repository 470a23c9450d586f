//! How many connections there may be, over all workers and listeners.

use std::sync::{
    Arc,
    atomic::{AtomicIsize, Ordering},
};

/// The slots. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Slots(Arc<AtomicIsize>);

impl Slots {
    pub(crate) fn new(count: usize) -> Self {
        let count = isize::try_from(count).unwrap_or(isize::MAX);
        Self(Arc::new(AtomicIsize::new(count)))
    }

    /// Takes one, if there is one, for as long as the result lives.
    pub(crate) fn take(&self) -> Option<Slot> {
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
                (free > 0).then(|| free - 1)
            });
        taken.is_ok().then(|| Slot(self.clone()))
    }

    /// Takes one for a connection that is there already, even if there are too many then.
    pub(crate) fn take_anyway(&self) -> Slot {
        self.0.fetch_sub(1, Ordering::Relaxed);
        Slot(self.clone())
    }

    /// Whether one could be had at this moment.
    pub(crate) fn are_free(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// One slot.
#[derive(Debug)]
pub(crate) struct Slot(Slots);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
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
}
