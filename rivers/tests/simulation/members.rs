//! Who is among the upstreams: lists change, and the set must be what they say.

use std::collections::HashSet;

use rand::RngExt;
use rivers::{
    config::address::Address,
    decide::{Action, Id, Source},
};

use super::{
    server::Member,
    world::{LISTENER, World, address},
};

/// What each source last said, as indices of servers.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    pub(crate) seeds: Vec<usize>,
    discovered: Vec<usize>,
    cached: Vec<usize>,
    /// Ids that have been given out.
    given: HashSet<Id>,
}

impl Lists {
    pub(crate) fn new(seeds: Vec<usize>) -> Self {
        Self {
            seeds,
            ..Self::default()
        }
    }

    /// Who has to be among the upstreams, in order: seeds always, and what the cluster said last.
    fn members(&self) -> Vec<usize> {
        let hints = if self.discovered.is_empty() {
            &self.cached
        } else {
            &self.discovered
        };
        let mut members = self.seeds.clone();
        members.extend(hints.iter().filter(|index| !self.seeds.contains(index)));
        members
    }
}

impl World {
    /// A source says something else.
    pub(crate) fn change_a_list(&mut self) {
        self.seen.lists += 1;
        let actions = match self.rng.random_range(0..10) {
            0..4 => {
                let list = self.changed(&self.lists.discovered.clone());
                self.replace(Source::Discovered, list)
            }
            4 => self.replace(Source::Discovered, Vec::new()),
            5 | 6 => {
                let list = self.changed(&self.lists.cached.clone());
                self.replace(Source::Cached, list)
            }
            7 => {
                self.lists.discovered.clear();
                self.lists.cached.clear();
                self.core.forget_discovered(LISTENER, self.now)
            }
            _ => return self.reload(),
        };
        self.follow(&actions);
    }

    /// The configuration has other seeds, and sometimes another CA.
    fn reload(&mut self) {
        let mut seeds = self.changed(&self.lists.seeds.clone());
        if seeds.is_empty() {
            seeds.push(0);
        }
        if self.health.verifies() && self.rng.random() {
            self.authorities += 1;
            self.health.ca_file = Some(format!("{}.crt", self.authorities).into());
            for member in self
                .servers
                .iter_mut()
                .filter_map(|server| server.member.as_mut())
            {
                member.is_verified = false;
                member.spoken_against = Some(self.now);
            }
        }
        self.lists.seeds = seeds;
        self.listen();
    }

    /// Tells the core who the seeds are.
    pub(crate) fn listen(&mut self) {
        let seeds = addresses(&self.lists.seeds);
        let actions = self
            .core
            .listen(LISTENER, &seeds, self.health.clone(), self.now);
        self.follow(&actions);
    }

    fn replace(&mut self, source: Source, list: Vec<usize>) -> Vec<Action> {
        let addresses = addresses(&list);
        match source {
            Source::Discovered if list.is_empty() => {}
            Source::Discovered => self.lists.discovered = list,
            Source::Cached => self.lists.cached = list,
            Source::Seeds => unreachable!("they come with the configuration"),
        }
        self.core.replace(LISTENER, source, &addresses, self.now)
    }

    /// One more or one less.
    fn changed(&mut self, list: &[usize]) -> Vec<usize> {
        let index = self.rng.random_range(0..self.servers.len());
        let mut list = list.to_vec();
        match list.iter().position(|&other| other == index) {
            Some(at) => drop(list.remove(at)),
            None => list.insert(self.rng.random_range(0..=list.len()), index),
        }
        list
    }

    /// The set is what the lists say, whoever stays is who it was, and whoever comes is somebody new.
    fn follow(&mut self, actions: &[Action]) {
        self.snapshot = self.core.snapshot();
        let members = self.lists.members();
        let snapshot = self.snapshot.choices(LISTENER);
        let found: Vec<&Address> = snapshot.iter().map(|choice| &*choice.address).collect();
        let wanted = addresses(&members);
        assert_eq!(
            found,
            wanted.iter().collect::<Vec<_>>(),
            "other upstreams than the lists name"
        );

        let (mut joined, mut left) = (Vec::new(), Vec::new());
        for action in actions {
            match action {
                Action::Joined { address, .. } => joined.push((**address).clone()),
                Action::Left { address, .. } => left.push((**address).clone()),
                _ => panic!("a list changed, and more: {action:?}"),
            }
        }
        for (&index, choice) in members.iter().zip(snapshot) {
            let server = &mut self.servers[index];
            if let Some(member) = &server.member {
                assert_eq!(choice.id, member.id, "one that stayed is somebody else");
                continue;
            }
            assert!(
                self.lists.given.insert(choice.id),
                "an id was given out again"
            );
            server.member = Some(Member::new(choice.id, self.now));
            let told = joined.iter().position(|joined| *joined == *choice.address);
            joined.swap_remove(told.expect("one that joined was not told of"));
        }
        for (index, server) in self.servers.iter_mut().enumerate() {
            if let Some(member) = server.member.take_if(|_| !members.contains(&index)) {
                self.seen.left += 1;
                if let Some(Some((at, finding))) = member.probe {
                    self.stragglers.push((at, member.id, finding));
                }
                let told = left.iter().position(|left| *left == address(index));
                left.swap_remove(told.expect("one that left was not told of"));
            }
        }
        assert!(
            joined.is_empty() && left.is_empty(),
            "told of {joined:?} and {left:?}"
        );
    }
}

fn addresses(indices: &[usize]) -> Vec<Address> {
    indices.iter().map(|&index| address(index)).collect()
}
