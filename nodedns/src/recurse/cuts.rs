//! The delegations that are known, by zone. Bounded: what is lost is asked for
//! again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::recurse::delegation::Delegation;
use crate::wire::name::suffixes;
use crate::wire::order::label_count;

/// The cache. Shared by all workers; a lock is held for a look-up only.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    by_zone: Mutex<HashMap<Box<[u8]>, Arc<Delegation>>>,
}

impl Cuts {
    /// The deepest zone at or above `name` whose servers are known at `now`.
    pub(super) fn closest(&self, name: &[u8], now: Instant) -> Option<Arc<Delegation>> {
        let by_zone = self.lock();
        suffixes(name)
            .filter_map(|suffix| by_zone.get(suffix))
            .find(|delegation| delegation.is_fresh(now))
            .cloned()
    }

    /// Remembers it.
    pub(super) fn insert(&self, delegation: Arc<Delegation>, now: Instant) {
        let mut by_zone = self.lock();
        if by_zone.len() >= MAX_ZONES {
            by_zone.retain(|_, delegation| delegation.is_fresh(now));
        }
        if by_zone.len() >= MAX_ZONES {
            // A flood: whatever comes first, but no top-level domain, which all need.
            let deep = by_zone.keys().filter(|zone| label_count(zone) > 1);
            let some: Vec<_> = deep.take(MAX_ZONES / 4).cloned().collect();
            for zone in some {
                by_zone.remove(&zone);
            }
        }
        if by_zone.len() < MAX_ZONES {
            by_zone.insert(delegation.zone.as_wire().into(), delegation);
        }
    }

    /// Forgets this very delegation, if it is still the one that is known.
    pub(super) fn forget(&self, delegation: &Arc<Delegation>) {
        let mut by_zone = self.lock();
        let zone = delegation.zone.as_wire();
        if by_zone
            .get(zone)
            .is_some_and(|known| Arc::ptr_eq(known, delegation))
        {
            by_zone.remove(zone);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, Arc<Delegation>>> {
        self.by_zone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Zones that are remembered, each with eight servers of some 1 KiB at most.
const MAX_ZONES: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recurse::delegation::tests::delegation;
    use crate::wire::name::Name;
    use std::time::Duration;

    fn known(cuts: &Cuts, name: &str, now: Instant) -> Option<String> {
        let name = Name::from_text(name).unwrap();
        let closest = cuts.closest(name.as_wire(), now);
        closest.map(|delegation| delegation.zone.to_string())
    }

    #[tokio::test]
    async fn the_deepest_that_is_fresh_is_the_closest() {
        let (cuts, now) = (Cuts::default(), Instant::now());
        for (zone, seconds) in [(".", 100), ("example.", 50), ("a.example.", 10)] {
            cuts.insert(Arc::new(delegation(zone, seconds, now)), now);
        }
        let at = |seconds| now + Duration::from_secs(seconds);
        let closest = |seconds| known(&cuts, "www.a.example.", at(seconds));
        assert_eq!(closest(9).as_deref(), Some("a.example."));
        assert_eq!(closest(10).as_deref(), Some("example."));
        assert_eq!(closest(50).as_deref(), Some("."));
        assert_eq!(closest(100), None);
    }

    #[tokio::test]
    async fn only_what_was_looked_at_is_forgotten() {
        let (cuts, now) = (Cuts::default(), Instant::now());
        let old = Arc::new(delegation("example.", 50, now));
        cuts.insert(Arc::clone(&old), now);
        cuts.insert(Arc::new(delegation("example.", 50, now)), now);
        cuts.forget(&old);
        assert!(known(&cuts, "example.", now).is_some());
    }

    #[tokio::test]
    async fn a_flood_of_zones_takes_bounded_memory_and_no_top_level_domain() {
        let (cuts, now) = (Cuts::default(), Instant::now());
        cuts.insert(Arc::new(delegation("example.", 50, now)), now);
        for number in 0..2 * MAX_ZONES {
            let zone = format!("n{number}.example.");
            cuts.insert(Arc::new(delegation(&zone, 50, now)), now);
        }
        assert!(cuts.lock().len() <= MAX_ZONES);
        assert!(known(&cuts, "x.example.", now).is_some());
    }
}
