//! The upstreams of one listener. Pure.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use super::upstream::{State, Upstream};
use crate::config::{Health, address::Address};

/// Names an upstream of one listener for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id(pub(super) u32);

/// All that may be dialled for one listener, and how it is judged.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) health: Health,
    pub(super) members: Vec<Member>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: Id,
    pub(super) address: Arc<Address>,
    pub(super) load: Load,
    pub(super) upstream: Upstream,
}

impl Set {
    /// The configured addresses, none of them known yet. `first_id` is the id of the first.
    pub(super) fn new(health: Health, addresses: &[Address], first_id: u32, now: Instant) -> Self {
        let members = (first_id..)
            .zip(addresses)
            .map(|(id, address)| Member {
                id: Id(id),
                address: Arc::new(address.clone()),
                load: Load::default(),
                upstream: Upstream::new(now),
            })
            .collect();
        Self { health, members }
    }

    /// What the connections of this listener choose from.
    pub(super) fn view(&self) -> Vec<Arc<Choice>> {
        self.members
            .iter()
            .map(|member| {
                Arc::new(Choice {
                    id: member.id,
                    address: Arc::clone(&member.address),
                    state: member.upstream.state(),
                    load: member.load.clone(),
                })
            })
            .collect()
    }
}

/// One upstream as connections see it.
#[derive(Debug)]
pub struct Choice {
    /// Names it in events.
    pub id: Id,
    /// Where to dial it.
    pub address: Arc<Address>,
    /// What was believed of it as the snapshot was taken.
    pub state: State,
    /// Its connections now; the same counter in every snapshot.
    pub load: Load,
}

/// Counts the connections of one upstream, over all workers.
#[derive(Clone, Debug, Default)]
pub struct Load(Arc<AtomicUsize>);

impl Load {
    /// Adds one connection for as long as the result lives.
    #[must_use]
    pub fn enter(&self) -> Loaded {
        // A count that is a moment old only makes a choice a little less even.
        self.0.fetch_add(1, Ordering::Relaxed);
        Loaded(self.clone())
    }

    /// The connections at this moment.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One connection of an upstream, dialled or still being dialled.
#[derive(Debug)]
pub struct Loaded(Load);

impl Drop for Loaded {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_counts_what_lives() {
        let load = Load::default();
        let one = load.enter();
        let other = load.enter();
        assert_eq!(load.count(), 2);
        drop((one, other));
        assert_eq!(load.count(), 0);
    }
}
