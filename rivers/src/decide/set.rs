//! The upstreams of one listener: who is among them, and where that is known from. Pure.
//!
//! ```text
//! seeds (the configuration)                       always members
//! discovered (an EndpointSlice)                   members; an empty list changes nothing
//! cached (the last discovered ones, from disk)    members until the first list is discovered
//! ```
//!
//! Who stays keeps id, state and load. Who leaves takes its id along: nobody gets it again.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use super::{
    resolution::Resolution,
    upstream::{State, Upstream},
};
use crate::config::{Health, address::Address};

/// Names a listener for the life of the process, however often it is reloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u32);

/// Names an upstream of one listener for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(u32);

/// Gives out ids, each once.
#[derive(Debug, Default)]
pub(super) struct Ids(u32);

impl Ids {
    fn next(&mut self) -> Id {
        let id = Id(self.0);
        // Four thousand million upstreams later it stays at the last one.
        self.0 = self.0.saturating_add(1);
        id
    }
}

/// Where a list of upstreams is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The configuration.
    Seeds,
    /// The cluster says so now.
    Discovered,
    /// The cluster said so before this process began: a hint.
    Cached,
}

/// All that may be dialled for one listener, and how it is judged.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) health: Health,
    pub(super) members: Vec<Member>,
    seeds: Vec<Arc<Address>>,
    discovered: Vec<Arc<Address>>,
    cached: Vec<Arc<Address>>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: Id,
    pub(super) address: Arc<Address>,
    pub(super) load: Load,
    pub(super) upstream: Upstream,
    pub(super) resolution: Resolution,
}

/// Who came and who went.
#[derive(Debug, Default)]
pub(super) struct Moves {
    pub(super) joined: Vec<Arc<Address>>,
    pub(super) left: Vec<Arc<Address>>,
}

impl Set {
    /// Nobody yet.
    pub(super) const fn new(health: Health) -> Self {
        Self {
            health,
            members: Vec::new(),
            seeds: Vec::new(),
            discovered: Vec::new(),
            cached: Vec::new(),
        }
    }

    /// Takes the list of one source in place of what that source said before.
    pub(super) fn replace(
        &mut self,
        source: Source,
        addresses: &[Address],
        ids: &mut Ids,
        now: Instant,
    ) -> Moves {
        let list = match source {
            Source::Seeds => &mut self.seeds,
            Source::Discovered if addresses.is_empty() => return Moves::default(),
            Source::Discovered => &mut self.discovered,
            Source::Cached => &mut self.cached,
        };
        *list = addresses.iter().cloned().map(Arc::new).collect();
        self.rebuild(ids, now)
    }

    /// Forgets whatever was discovered and cached: only seeds are left.
    pub(super) fn forget_discovered(&mut self, ids: &mut Ids, now: Instant) -> Moves {
        self.discovered.clear();
        self.cached.clear();
        self.rebuild(ids, now)
    }

    /// Members again from the lists, in their order.
    fn rebuild(&mut self, ids: &mut Ids, now: Instant) -> Moves {
        let hints = if self.discovered.is_empty() {
            &self.cached
        } else {
            &self.discovered
        };
        let mut moves = Moves::default();
        let mut before = std::mem::take(&mut self.members);
        let mut seen = HashSet::new();
        for address in self.seeds.iter().chain(hints) {
            if !seen.insert(address) {
                continue;
            }
            let known = before.iter().position(|member| member.address == *address);
            let member = known.map_or_else(
                || {
                    moves.joined.push(Arc::clone(address));
                    Member::new(ids.next(), address, now)
                },
                |at| before.swap_remove(at),
            );
            self.members.push(member);
        }
        moves.left = before.into_iter().map(|member| member.address).collect();
        moves
    }

    /// What the connections of this listener choose from.
    pub(super) fn view(&self) -> Vec<Arc<Choice>> {
        self.members
            .iter()
            .map(|member| {
                Arc::new(Choice {
                    id: member.id,
                    address: Arc::clone(&member.address),
                    sockets: Arc::clone(member.resolution.sockets()),
                    state: member.upstream.state(),
                    load: member.load.clone(),
                })
            })
            .collect()
    }
}

impl Member {
    fn new(id: Id, address: &Arc<Address>, now: Instant) -> Self {
        Self {
            id,
            address: Arc::clone(address),
            load: Load::default(),
            upstream: Upstream::new(now),
            resolution: Resolution::new(address, now),
        }
    }
}

/// One upstream as connections see it.
#[derive(Debug)]
pub struct Choice {
    /// Names it in events.
    pub id: Id,
    /// What it is called, in logs and metrics.
    pub address: Arc<Address>,
    /// Where to dial it, in this order; empty until its name has been found.
    pub sockets: Arc<[SocketAddr]>,
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

    /// A set with these seeds, and who changes it.
    struct Case {
        set: Set,
        ids: Ids,
    }

    impl Case {
        fn new(seeds: &[&str]) -> Self {
            let mut case = Self {
                set: Set::new(Health::default()),
                ids: Ids::default(),
            };
            case.replace(Source::Seeds, seeds);
            case
        }

        /// Gives who joined and who left, by name.
        fn replace(&mut self, source: Source, names: &[&str]) -> (Vec<String>, Vec<String>) {
            let addresses: Vec<Address> = names
                .iter()
                .map(|name| format!("{name}:6443").parse().unwrap())
                .collect();
            let moves = self
                .set
                .replace(source, &addresses, &mut self.ids, Instant::now());
            let names =
                |moved: Vec<Arc<Address>>| moved.iter().map(|address| name(address)).collect();
            (names(moves.joined), names(moves.left))
        }

        fn members(&self) -> Vec<String> {
            let members = self.set.members.iter();
            members.map(|member| name(&member.address)).collect()
        }

        fn id(&self, wanted: &str) -> Id {
            let mut members = self.set.members.iter();
            let found = members.find(|member| name(&member.address) == wanted);
            found.unwrap().id
        }
    }

    fn name(address: &Address) -> String {
        address.to_string().trim_end_matches(":6443").to_owned()
    }

    #[test]
    fn seeds_stay_whatever_is_discovered() {
        let mut case = Case::new(&["a", "b"]);
        let (joined, left) = case.replace(Source::Discovered, &["b", "c"]);
        assert_eq!((joined.as_slice(), left.len()), (&["c".to_owned()][..], 0));
        assert_eq!(case.members(), ["a", "b", "c"]);
        case.replace(Source::Discovered, &["d"]);
        assert_eq!(case.members(), ["a", "b", "d"]);
    }

    #[test]
    fn an_empty_list_discovered_changes_nothing() {
        let mut case = Case::new(&["a"]);
        case.replace(Source::Discovered, &["b"]);
        case.replace(Source::Discovered, &[]);
        assert_eq!(case.members(), ["a", "b"]);
    }

    #[test]
    fn the_cache_is_a_hint_until_something_is_discovered() {
        let mut case = Case::new(&["a"]);
        case.replace(Source::Cached, &["old", "b"]);
        assert_eq!(case.members(), ["a", "old", "b"]);
        let (joined, left) = case.replace(Source::Discovered, &["b", "c"]);
        assert_eq!(
            (joined, left),
            (vec!["c".to_owned()], vec!["old".to_owned()])
        );
    }

    #[test]
    fn who_stays_keeps_id_state_and_load_and_who_returns_gets_another_id() {
        let mut case = Case::new(&["a"]);
        case.replace(Source::Discovered, &["b", "c"]);
        let (b, c) = (case.id("b"), case.id("c"));
        let load = case.set.members[1].load.enter();
        case.replace(Source::Discovered, &["c", "b"]);
        assert_eq!((case.id("b"), case.id("c")), (b, c));
        case.replace(Source::Discovered, &["b"]);
        assert_eq!(case.set.members[1].load.count(), 1);
        case.replace(Source::Discovered, &["b", "c"]);
        assert_ne!(case.id("c"), c);
        drop(load);
    }

    #[test]
    fn a_reload_that_drops_a_seed_keeps_it_while_it_is_discovered() {
        let mut case = Case::new(&["a", "b"]);
        case.replace(Source::Discovered, &["b"]);
        let b = case.id("b");
        case.replace(Source::Seeds, &["a"]);
        assert_eq!(case.id("b"), b);
        let moves = case.set.forget_discovered(&mut case.ids, Instant::now());
        assert_eq!(moves.left, [Arc::new("b:6443".parse().unwrap())]);
        assert_eq!(case.members(), ["a"]);
    }

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
