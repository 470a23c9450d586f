//! The upstreams of one listener: who is among them, and where that is known from. Pure.
//!
//! ```text
//! seeds (the configuration)                       always members
//! discovered (an EndpointSlice)                   members; an empty list changes nothing
//! cached (the last discovered ones, from disk)    members until the first list is discovered
//! ```
//!
//! Who stays keeps id, state and traffic. Who leaves takes its id along: nobody gets it again.

use std::{collections::HashSet, net::SocketAddr, sync::Arc, time::Instant};

use super::{
    choose::Candidate,
    rebalance::Rebalance,
    resolution::Resolution,
    sever::Facts,
    traffic::Traffic,
    upstream::{State, Upstream},
};
use crate::config::{Health, address::Address};

/// Names a listener for the life of the process, however often it is reloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u32);

/// Names an upstream of one listener for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub(super) u32);

impl Id {
    /// Of those that are not in any set; it is never given out.
    const DEPARTED: Self = Self(u32::MAX);
}

/// Whether an upstream takes connections, as far as drifting goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Nothing is known of it yet.
    New,
    /// It takes them, or is in doubt.
    There,
    /// It does not.
    Away,
}

/// Gives out ids, each once.
#[derive(Debug, Default)]
pub(super) struct Ids(u32);

impl Ids {
    fn next(&mut self) -> Id {
        let id = Id(self.0);
        // Four thousand million upstreams later it stays at the last one.
        self.0 = self.0.saturating_add(1).min(Id::DEPARTED.0 - 1);
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
    /// What drifts to those that came back; `None`: nothing does.
    pub(super) rebalance: Option<Rebalance>,
    seeds: Vec<Arc<Address>>,
    discovered: Vec<Arc<Address>>,
    cached: Vec<Arc<Address>>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: Id,
    pub(super) address: Arc<Address>,
    pub(super) traffic: Traffic,
    /// Where its certificate has been verified.
    pub(super) verified: Vec<SocketAddr>,
    pub(super) epoch: u32,
    /// When it joined, or its connections were last closed.
    pub(super) severed: Instant,
    pub(super) upstream: Upstream,
    pub(super) presence: Presence,
    /// What was last said against it, until it is well again.
    pub(super) reason: Option<Arc<str>>,
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
            rebalance: None,
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
        if let Some(rebalance) = &mut self.rebalance {
            before.iter().for_each(|gone| rebalance.went_away(gone.id));
        }
        moves.left = before.into_iter().map(|member| member.address).collect();
        moves
    }

    /// Whether this is one of them, and some `/readyz` of theirs tells us whether its server takes clients.
    pub(super) fn says_of(&self, upstream: Id) -> bool {
        let members = || self.members.iter();
        members().any(|member| member.id == upstream)
            && members().any(|member| member.upstream.has_said())
    }

    /// Whether there is somewhere to go for the clients of one that is down.
    pub(super) fn has_one_up(&self) -> bool {
        self.members
            .iter()
            .any(|member| member.upstream.state() == State::Up && member.is_trusted(&self.health))
    }

    /// Closes the established connections of those that are dead: gives who they are.
    pub(super) fn sever(&mut self, now: Instant) -> Vec<Arc<Address>> {
        let is_replaceable = self.has_one_up();
        let mut severed = Vec::new();
        for member in &mut self.members {
            if member
                .facts(is_replaceable)
                .due()
                .is_some_and(|at| at <= now)
            {
                member.epoch = member.epoch.wrapping_add(1);
                member.severed = now;
                severed.push(Arc::clone(&member.address));
            }
        }
        severed
    }

    /// When [`sever`](Self::sever) has something to do.
    pub(super) fn sever_at(&self) -> Option<Instant> {
        let is_replaceable = self.has_one_up();
        let members = self.members.iter();
        let dues = members.filter_map(|member| member.facts(is_replaceable).due());
        dues.min()
    }

    /// What the connections of this listener choose from.
    pub(super) fn view(&self) -> Vec<Arc<Choice>> {
        self.members
            .iter()
            .map(|member| {
                Arc::new(Choice {
                    id: member.id,
                    address: Arc::clone(&member.address),
                    sockets: member.dialable_sockets(&self.health),
                    state: member.upstream.state(),
                    trusted: member.is_trusted(&self.health),
                    reason: member.reason.clone(),
                    epoch: member.epoch,
                    traffic: member.traffic.clone(),
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
            traffic: Traffic::new(now),
            verified: Vec::new(),
            epoch: 0,
            severed: now,
            upstream: Upstream::new(now),
            presence: Presence::New,
            resolution: Resolution::new(address, now),
            reason: None,
        }
    }

    /// Whether it may be dialled as far as certificates go. Trust survives being down: whoever answers there
    /// again is verified before it counts as up.
    pub(super) fn is_trusted(&self, health: &Health) -> bool {
        !health.verifies() || !self.verified.is_empty()
    }

    /// Without a CA all of them; else those that have shown a good certificate.
    fn dialable_sockets(&self, health: &Health) -> Arc<[SocketAddr]> {
        let sockets = self.resolution.sockets();
        if !health.verifies() || sockets.iter().all(|socket| self.verified.contains(socket)) {
            return Arc::clone(sockets);
        }
        self.verified.as_slice().into()
    }

    /// Its certificate was verified there, or was not.
    pub(super) fn verified(&mut self, socket: SocketAddr, is_verified: bool) {
        self.verified.retain(|&other| other != socket);
        if is_verified {
            self.verified.push(socket);
        }
        self.forget_old_sockets();
    }

    /// Trust goes with the place: one where it is not any more counts no longer.
    pub(super) fn forget_old_sockets(&mut self) {
        let sockets = self.resolution.sockets();
        self.verified.retain(|socket| sockets.contains(socket));
    }

    /// What decides about its established connections.
    pub(super) fn facts(&self, is_replaceable: bool) -> Facts {
        let signs = [self.upstream.answered(), self.traffic.heard()];
        Facts {
            is_hung: self.upstream.is_hung(),
            has_connections: self.traffic.connections() > 0,
            is_replaceable,
            last: signs.into_iter().flatten().fold(self.severed, Instant::max),
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
    /// Where to dial it, in this order; empty until its name has been found, and without trust.
    pub sockets: Arc<[SocketAddr]>,
    /// What was believed of it as the snapshot was taken.
    pub state: State,
    /// What was last said against it, for people; `None` when it is well.
    pub reason: Option<Arc<str>>,
    /// Whether it may be dialled: when a CA is given, its certificate has been verified.
    pub trusted: bool,
    /// Raised each time that its established connections have to be closed. One that was dialled under a
    /// lower epoch is closed; those of an upstream that is merely gone from the snapshot stay.
    pub epoch: u32,
    /// What the workers tell of it.
    pub traffic: Traffic,
}

impl Choice {
    /// One that cannot be chosen any more, for a connection that has it.
    pub(crate) fn departed(address: Address, now: Instant) -> Self {
        Self {
            id: Id::DEPARTED,
            address: Arc::new(address),
            sockets: Arc::new([]),
            state: State::Unknown,
            trusted: true,
            epoch: 0,
            reason: None,
            traffic: Traffic::new(now),
        }
    }

    /// What a choice among several sees of it.
    #[must_use]
    pub fn candidate(&self) -> Candidate {
        Candidate {
            state: self.state,
            dialable: self.is_dialable(),
            load: self.traffic.connections(),
        }
    }

    /// Whether it may be dialled at all: it is trusted, and it is known where it is.
    #[must_use]
    pub fn is_dialable(&self) -> bool {
        self.trusted && !self.sockets.is_empty()
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
    fn who_stays_keeps_id_state_and_traffic_and_who_returns_gets_another_id() {
        let mut case = Case::new(&["a"]);
        case.replace(Source::Discovered, &["b", "c"]);
        let (b, c) = (case.id("b"), case.id("c"));
        let entered = case.set.members[1].traffic.enter();
        case.replace(Source::Discovered, &["c", "b"]);
        assert_eq!((case.id("b"), case.id("c")), (b, c));
        case.replace(Source::Discovered, &["b"]);
        assert_eq!(case.set.members[1].traffic.connections(), 1);
        case.replace(Source::Discovered, &["b", "c"]);
        assert_ne!(case.id("c"), c);
        drop(entered);
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
}
