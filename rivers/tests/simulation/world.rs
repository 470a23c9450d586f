//! The world: servers, the network between, and the core that has to make sense of them.

use std::{
    iter::Sum,
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use rivers::{
    config::{Balance, Health, address::Address},
    decide::{Action, Ask, Core, Event, Finding, Id, ListenerId, SILENCE, Snapshot, State},
};

use super::{
    members::Lists,
    server::{Behaviour, Member, Server},
};

pub(crate) struct World {
    pub(crate) core: Core,
    pub(crate) snapshot: Snapshot,
    pub(crate) health: Health,
    pub(crate) now: Instant,
    pub(crate) rng: SmallRng,
    pub(crate) servers: Vec<Server>,
    pub(crate) lists: Lists,
    /// Findings about upstreams that are gone, still on their way.
    pub(crate) stragglers: Vec<(Instant, Id, Finding)>,
    /// How many CAs there have been.
    pub(crate) authorities: u32,
    pub(crate) balance: Balance,
    pub(crate) seen: Seen,
    /// The last choice by turns: the turn, among whom, and who was first.
    pub(crate) last_turn: Option<(usize, Vec<usize>, usize)>,
}

/// So that runs that exercised nothing fail.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) dials: u64,
    pub(crate) failed_dials: u64,
    downs: u64,
    recoveries: u64,
    lost_probes: u64,
    drains: u64,
    severed: u64,
    pub(crate) lists: u64,
    pub(crate) left: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let now = Instant::now();
        let count = rng.random_range(1..=7);
        let health = Health {
            ca_file: rng.random::<bool>().then(|| "ca.crt".into()),
            rise: rng.random_range(1..=3),
            fall: rng.random_range(1..=3),
            ..Health::default()
        };
        let servers = (0..count).map(|_| Server {
            behaviour: Behaviour::Accepts,
            since: now,
            member: None,
        });
        Self {
            core: Core::new(rng.random()),
            snapshot: Snapshot::default(),
            servers: servers.collect(),
            balance: Balance::ALL[rng.random_range(0..Balance::ALL.len())],
            lists: Lists::new((0..rng.random_range(1..=count)).collect()),
            stragglers: Vec::new(),
            authorities: 0,
            health,
            now,
            rng,
            seen: Seen::default(),
            last_turn: None,
        }
    }

    /// Every seed is probed at once.
    pub(crate) fn start(&mut self) {
        self.listen();
        assert_eq!(self.core.wake(), Some(self.now));
        let actions = self.core.tick(self.now);
        assert_eq!(actions.len(), self.lists.seeds.len());
        self.take(actions);
    }

    /// The next thing that happens: time passes, then a server or a list changes, a client dials, or nothing.
    pub(crate) fn step(&mut self) {
        let wake = self.core.wake().expect("there are upstreams");
        self.now = self
            .next_result()
            .map_or(wake, |result| result.min(wake))
            .min(self.now + Duration::from_millis(self.rng.random_range(1..400)))
            .max(self.now);
        self.deliver_bytes();
        self.deliver_results();
        let actions = self.core.tick(self.now);
        self.take(actions);
        assert!(
            self.core.wake() > Some(self.now),
            "the core asks to be woken in the past: a busy loop"
        );
        match self.rng.random_range(0..400) {
            0..4 => self.change_a_server(),
            4..8 => self.lose_a_connection(),
            8 => self.change_a_list(),
            9..120 => self.dial(),
            _ => {}
        }
        self.check_beliefs();
    }

    fn next_result(&self) -> Option<Instant> {
        let members = self
            .servers
            .iter()
            .filter_map(|server| server.member.as_ref());
        let results = members.filter_map(|member| member.probe.flatten());
        let results = results.map(|(at, _)| at);
        let stragglers = self.stragglers.iter().map(|&(at, ..)| at);
        results.chain(stragglers).min().map(|at| at.max(self.now))
    }

    fn deliver_results(&mut self) {
        for index in 0..self.servers.len() {
            let now = self.now;
            if let Some(member) = &mut self.servers[index].member
                && let Some(Some((_, finding))) = member
                    .probe
                    .take_if(|probe| probe.is_some_and(|(at, _)| at <= now))
            {
                if finding != Finding::Silent && self.health.verifies() {
                    self.show_certificate(index, finding);
                }
                self.tell(index, finding);
            }
        }
        let due = self.stragglers.extract_if(.., |(at, ..)| *at <= self.now);
        for (_, upstream, finding) in due.collect::<Vec<_>>() {
            self.handle_stale(&found(upstream, finding));
        }
    }

    /// A handshake went before the answer, or the refusal to go on with it.
    fn show_certificate(&mut self, index: usize, finding: Finding) {
        let is_verified = self.servers[index].behaviour != Behaviour::IsAnother;
        if is_verified && finding == Finding::Failed {
            return;
        }
        let member = self.member(index);
        member.is_verified = is_verified;
        let event = Event::Verified {
            upstream: member.id,
            socket: socket(index),
            is_verified,
        };
        let actions = self.core.handle(&event, self.now);
        self.take(actions);
    }

    fn tell(&mut self, index: usize, finding: Finding) {
        let event = found(self.member(index).id, finding);
        let actions = self.core.handle(&event, self.now);
        self.take(actions);
    }

    /// What is said of one that is gone is about nobody else.
    pub(crate) fn handle_stale(&mut self, event: &Event) {
        let actions = self.core.handle(event, self.now);
        let closes = |action: &Action| matches!(action, Action::Severed { .. });
        assert!(actions.iter().all(closes), "{event:?} led to {actions:?}");
        self.take(actions);
    }

    /// The connection that probes keep open breaks, for no reason.
    fn lose_a_connection(&mut self) {
        let index = self.rng.random_range(0..self.servers.len());
        let now = self.now;
        if let Some(member) = &mut self.servers[index].member
            && member.probe.is_none()
        {
            member.spoken_against = Some(now);
            self.tell(index, Finding::Lost);
        }
    }

    /// Those that serve deliver a byte at least each 400 ms to each of their clients.
    fn deliver_bytes(&mut self) {
        for choice in self.snapshot.choices(LISTENER) {
            let server = &mut self.servers[index(&choice.address)];
            let delivers = server.behaviour.delivers();
            if let Some(member) = &mut server.member
                && delivers
                && !member.connections.is_empty()
            {
                choice.traffic.hear(self.now);
                member.delivered = Some(self.now);
            }
        }
    }

    /// Connections are closed: rightly so?
    fn sever(&mut self, address: &Address) {
        let choices = self.snapshot.choices(LISTENER);
        let choice = choices.iter().find(|choice| *choice.address == *address);
        let choice = choice.expect("one that left was severed");
        assert_eq!(choice.state, State::Down, "a server that lives was severed");
        let is_up = |state: State, is_dialable: bool| state == State::Up && is_dialable;
        assert!(
            choices
                .iter()
                .any(|choice| is_up(choice.state, choice.is_dialable())),
            "there was nowhere to go"
        );
        let epoch = choice.epoch;
        let now = self.now;
        let member = self.member(index(address));
        if let Some(delivered) = member.delivered {
            let silence = now - delivered + Duration::from_millis(1);
            assert!(silence >= SILENCE, "severed while it delivered");
        }
        assert!(!member.connections.is_empty(), "there was nothing to close");
        member
            .connections
            .retain(|&(_, dialled, _)| dialled >= epoch);
        assert!(member.connections.is_empty(), "the epoch did not rise");
        self.seen.severed += 1;
    }

    /// Does what the core says, as the director: a new snapshot whenever it says that the last one is out of
    /// date.
    pub(crate) fn take(&mut self, actions: Vec<Action>) {
        if actions
            .iter()
            .any(|action| !matches!(action, Action::Probe { .. }))
        {
            self.snapshot = self.core.snapshot();
        }
        for action in actions {
            match action {
                Action::Probe { upstream, ask, .. } => {
                    let is_it = |server: &Server| {
                        server
                            .member
                            .as_ref()
                            .is_some_and(|member| member.id == upstream)
                    };
                    let index = self.servers.iter().position(is_it);
                    let index = index.expect("one that left is probed");
                    let result = self.probe_result(index, ask);
                    let running = self.member(index).probe.replace(result);
                    assert!(
                        !matches!(running, Some(Some(_))),
                        "two probes of one server at once"
                    );
                }
                Action::Changed { from, to, .. } => {
                    assert_ne!(from, to);
                    self.seen.downs += u64::from(to == State::Down);
                    self.seen.recoveries += u64::from(from == State::Down);
                    self.seen.drains += u64::from(to == State::Draining);
                }
                Action::Trust { .. } => assert!(self.health.verifies()),
                Action::Severed { address, .. } => self.sever(&address),
                Action::Resolve { .. }
                | Action::Drifts { .. }
                | Action::Drifted { .. }
                | Action::Move { .. }
                | Action::Joined { .. }
                | Action::Left { .. }
                | Action::Moved { .. } => {
                    panic!("no list changed, nobody has a name, nothing drifts: {action:?}")
                }
            }
        }
    }

    /// When and how the probe that starts now will end; one in a hundred gets lost on our side.
    fn probe_result(&mut self, index: usize, ask: Ask) -> Option<(Instant, Finding)> {
        let now = self.now;
        if self.rng.random_ratio(1, 100) {
            self.seen.lost_probes += 1;
            self.member(index).spoken_against = Some(now);
            return None;
        }
        let behaviour = self.servers[index].behaviour;
        let is_late = match behaviour {
            Behaviour::Hangs => true,
            Behaviour::IsSlow => self.rng.random_ratio(2, 3),
            _ => false,
        };
        Some(match behaviour.attempt(&mut self.rng) {
            _ if is_late => (now + self.health.timeout, Finding::Silent),
            None => (now + self.health.timeout, Finding::Silent),
            Some((after, false)) => (now + after, Finding::Failed),
            Some((after, true)) => {
                let finding = match (behaviour, ask) {
                    (Behaviour::IsAnother, _) if self.health.verifies() => Finding::Failed,
                    (_, Ask::Alive) => Finding::Alive,
                    (Behaviour::Drains, Ask::Ready) => Finding::Draining,
                    (Behaviour::Denies, Ask::Ready) => Finding::Unsaid,
                    (_, Ask::Ready) => Finding::Ready,
                };
                (now + after, finding)
            }
        })
    }

    fn change_a_server(&mut self) {
        let index = self.rng.random_range(0..self.servers.len());
        let server = &mut self.servers[index];
        server.behaviour = Behaviour::any(&mut self.rng);
        server.since = self.now;
        if let Some(member) = &mut server.member
            && server.behaviour == Behaviour::Refuses
        {
            // Its process has ended, and its connections with it.
            member.connections.clear();
        }
    }

    pub(crate) fn member(&mut self, index: usize) -> &mut Member {
        let member = self.servers[index].member.as_mut();
        member.expect("it is among the upstreams")
    }
}

fn found(upstream: Id, finding: Finding) -> Event {
    Event::Found {
        upstream,
        finding,
        reason: None,
    }
}

impl Seen {
    pub(crate) fn assert_something_of_everything(&self) {
        let all = [
            self.dials,
            self.failed_dials,
            self.downs,
            self.recoveries,
            self.lost_probes,
            self.drains,
            self.severed,
            self.lists,
            self.left,
        ];
        assert!(!all.contains(&0), "{self:?}");
    }
}

impl Sum for Seen {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            dials: sum.dials + one.dials,
            failed_dials: sum.failed_dials + one.failed_dials,
            downs: sum.downs + one.downs,
            recoveries: sum.recoveries + one.recoveries,
            lost_probes: sum.lost_probes + one.lost_probes,
            drains: sum.drains + one.drains,
            severed: sum.severed + one.severed,
            lists: sum.lists + one.lists,
            left: sum.left + one.left,
        })
    }
}

/// Where a server is.
pub(crate) fn socket(index: usize) -> SocketAddr {
    let last = u8::try_from(index + 1).unwrap();
    SocketAddr::from(([10, 9, 0, last], 6443))
}

pub(crate) fn address(index: usize) -> Address {
    socket(index).into()
}

/// Whose address it is.
pub(crate) fn index(address: &Address) -> usize {
    (0..MOST)
        .find(|&index| self::address(index) == *address)
        .expect("an address of this world")
}

pub(crate) const LISTENER: ListenerId = ListenerId(0);
const MOST: usize = 7;
