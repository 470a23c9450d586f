//! What is known of zones, from the top down: which names are zones of their
//! own, and with which keys. Whether a name must be signed is decided from this
//! alone, never from what an answer happens to carry.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::anchors::Trusted;
use crate::validate::key::Key;
use crate::validate::verdict::{Fault, Insecure};
use crate::wire::name::Name;
use crate::wire::order::is_within;

/// What is known of a name.
///
/// ```text
///            DS ──► Signed ──DNSKEY──► Secure
/// unknown ──┤          └─────────────► Bogus
///            └────► Inside | Insecure | Bogus
/// ```
#[derive(Debug, Clone)]
pub(super) enum Cut {
    /// It is a zone, and these are the keys that its parent means.
    Signed(Arc<[Trusted]>),
    /// It is a zone, and these are its keys.
    Secure(Arc<[Key]>),
    /// It is no zone of its own.
    Inside {
        /// Nothing is below it, or only what a wildcard stands for.
        is_empty: bool,
    },
    /// It need not be signed, nor need anything below.
    Insecure(Insecure),
    /// It must be signed, and is not rightly so.
    Bogus(Fault),
}

/// The cache. Shared by all workers; a lock is held for a look-up only.
#[derive(Debug, Default)]
pub(super) struct Zones {
    by_name: Mutex<HashMap<Box<[u8]>, Held>>,
}

#[derive(Debug)]
struct Held {
    cut: Cut,
    until: Instant,
}

impl Zones {
    /// What is known of `name` at `now`.
    pub(super) fn get(&self, name: &[u8], now: Instant) -> Option<Cut> {
        let held = self.lock();
        held.get(name)
            .filter(|held| now < held.until)
            .map(|held| held.cut.clone())
    }

    /// Remembers it for `seconds`; what is bogus only briefly, so that it is seen
    /// when it is mended (RFC 4035 §4.7).
    pub(super) fn insert(&self, name: &Name, cut: Cut, seconds: u32, now: Instant) {
        let most = if matches!(cut, Cut::Bogus(_)) {
            BOGUS
        } else {
            LONGEST
        };
        let lifetime = Duration::from_secs(seconds.into()).clamp(SHORTEST, most);
        let held = Held {
            cut,
            until: now + lifetime,
        };
        let mut by_name = self.lock();
        if by_name.len() >= MAX_NAMES {
            by_name.retain(|_, held| now < held.until);
        }
        if by_name.len() >= MAX_NAMES {
            // A flood: whatever comes first. It is asked for again.
            let some: Vec<_> = by_name.keys().take(MAX_NAMES / 4).cloned().collect();
            for name in some {
                by_name.remove(&name);
            }
        }
        by_name.insert(name.as_wire().into(), held);
    }

    /// Forgets these names and all below them.
    pub(super) fn forget_within(&self, tops: &[Name]) {
        let is_within = |name: &[u8]| tops.iter().any(|top| is_within(name, top.as_wire()));
        self.lock().retain(|name, _| !is_within(name));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, Held>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names that are remembered: some 1.5 KiB each when they have keys.
const MAX_NAMES: usize = 16_384;
/// What was asked for must be there when it is looked at, even with a TTL of zero.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 3_600);
const BOGUS: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    const INSIDE: Cut = Cut::Inside { is_empty: false };

    fn name(number: usize) -> Name {
        Name::from_text(&format!("n{number}")).unwrap()
    }

    #[test]
    fn it_is_remembered_for_its_time() {
        let (zones, now) = (Zones::default(), Instant::now());
        zones.insert(&name(1), INSIDE, 10, now);
        let at = |second| zones.get(name(1).as_wire(), now + Duration::from_secs(second));
        assert!(at(9).is_some() && at(10).is_none());
        zones.insert(&name(1), INSIDE, 0, now);
        assert!(at(0).is_some() && at(1).is_none());
    }

    #[test]
    fn what_is_bogus_is_soon_tried_again() {
        let (zones, now) = (Zones::default(), Instant::now());
        let fault = Fault {
            name: name(1),
            rtype: 1,
            kind: crate::validate::verdict::FaultKind::Signature,
        };
        zones.insert(&name(1), Cut::Bogus(fault), 3_600, now);
        assert!(zones.get(name(1).as_wire(), now + BOGUS).is_none());
    }

    #[test]
    fn it_is_forgotten_with_all_below_it() {
        let (zones, now) = (Zones::default(), Instant::now());
        let names = ["a", "www.a", "ba", "."].map(|text| Name::from_text(text).unwrap());
        for name in &names {
            zones.insert(name, INSIDE, 10, now);
        }
        zones.forget_within(&names[..1]);
        let known = names.map(|name| zones.get(name.as_wire(), now).is_some());
        assert_eq!(known, [false, false, true, true]);
    }

    #[test]
    fn a_flood_of_names_takes_bounded_memory() {
        let (zones, now) = (Zones::default(), Instant::now());
        for number in 0..2 * MAX_NAMES {
            zones.insert(&name(number), INSIDE, 10, now);
        }
        assert!(zones.lock().len() <= MAX_NAMES);
        assert!(zones.get(name(2 * MAX_NAMES - 1).as_wire(), now).is_some());
    }
}
