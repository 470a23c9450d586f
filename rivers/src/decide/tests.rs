//! The core as its director meets it; faults by the million are in `tests/simulation/`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;

use super::*;

const LISTENER: ListenerId = ListenerId(7);

fn core(seeds: &[&str], now: Instant) -> Core {
    let mut core = Core::new(1);
    let seeds: Vec<Address> = seeds.iter().map(|seed| seed.parse().unwrap()).collect();
    core.listen(LISTENER, &seeds, Health::default(), now);
    core
}

fn words(actions: &[Action]) -> Vec<String> {
    let word = |action: &Action| match action {
        Action::Probe { address, .. } => format!("probe {address}"),
        Action::Resolve { address, .. } => format!("resolve {address}"),
        Action::Changed { address, to, .. } => format!("{address} is {to}"),
        Action::Joined { address, .. } => format!("{address} joined"),
        Action::Left { address, .. } => format!("{address} left"),
        Action::Moved {
            address, sockets, ..
        } => format!("{address} is at {sockets:?}"),
        Action::Trust {
            address,
            is_trusted,
            ..
        } => format!("{address} is trusted: {is_trusted}"),
        Action::Severed { address, .. } => format!("close those of {address}"),
        Action::Drifts {
            address,
            connections,
            ..
        } => format!("{connections} drift to {address}"),
        Action::Drifted { address, .. } => format!("{address} has its share"),
        Action::Move { from, to, .. } => format!("move one from {} to {}", from.0, to.0),
    };
    actions.iter().map(word).collect()
}

fn found(upstream: Id, finding: Finding) -> Event {
    Event::Found {
        upstream,
        finding,
        reason: Some("a reason".into()),
    }
}

#[test]
fn a_name_is_looked_up_before_it_is_probed_and_an_address_at_once() {
    let now = Instant::now();
    let mut core = core(&["api.example:6443", "10.9.0.3:6443"], now);
    let actions = core.tick(now);
    assert_eq!(
        words(&actions),
        ["resolve api.example:6443", "probe 10.9.0.3:6443"]
    );
    let Action::Resolve { upstream, .. } = actions[0] else {
        panic!("{actions:?}")
    };
    assert!(core.snapshot().choices(LISTENER)[0].sockets.is_empty());

    let sockets = Some(["10.9.0.2:6443".parse().unwrap()].into());
    let actions = core.handle(&Event::Resolved { upstream, sockets }, now);
    assert_eq!(words(&actions), ["api.example:6443 is at [10.9.0.2:6443]"]);
    assert_eq!(core.snapshot().choices(LISTENER)[0].sockets.len(), 1);
    assert_eq!(words(&core.tick(now)), ["probe api.example:6443"]);
}

#[test]
fn a_name_that_is_not_found_is_probed_all_the_same_so_that_it_is_down() {
    let now = Instant::now();
    let mut core = core(&["api.example:6443"], now);
    let Action::Resolve { upstream, .. } = core.tick(now)[0] else {
        panic!("a name is looked up first")
    };
    let sockets = None;
    core.handle(&Event::Resolved { upstream, sockets }, now);
    let probes = core.tick(now);
    assert!(
        matches!(&probes[..], [Action::Probe { sockets, .. }] if sockets.is_empty()),
        "{probes:?}"
    );
}

#[test]
fn a_listener_that_is_gone_leaves_nothing_to_do() {
    let now = Instant::now();
    let mut core = core(&["10.9.0.2:6443", "10.9.0.3:6443"], now);
    assert_eq!(
        words(&core.stop(LISTENER)),
        ["10.9.0.2:6443 left", "10.9.0.3:6443 left"]
    );
    assert_eq!(core.wake(), None);
    assert!(core.snapshot().choices(LISTENER).is_empty());
    let late = core.replace(LISTENER, Source::Discovered, &["a:1".parse().unwrap()], now);
    assert!(late.is_empty());
}

#[test]
fn listening_again_keeps_what_is_known_of_those_that_stay() {
    let now = Instant::now();
    let mut core = core(&["10.9.0.2:6443", "10.9.0.3:6443"], now);
    let Action::Probe { upstream, .. } = core.tick(now)[1] else {
        panic!("addresses are probed at once")
    };
    core.handle(&found(upstream, Finding::Ready), now);

    let seeds = ["10.9.0.3:6443", "10.9.0.4:6443"].map(|seed| seed.parse().unwrap());
    let actions = core.listen(LISTENER, &seeds, Health::default(), now);
    assert_eq!(
        words(&actions),
        ["10.9.0.2:6443 left", "10.9.0.4:6443 joined"]
    );
    let snapshot = core.snapshot();
    let choices = snapshot.choices(LISTENER);
    assert_eq!((choices[0].id, choices[0].state), (upstream, State::Up));
    assert_eq!(choices[1].state, State::Unknown);
}

/// One change of the world around the core.
#[derive(Clone, Debug)]
enum Change {
    Listen(BTreeSet<u8>),
    Stop,
    Replace(Source, BTreeSet<u8>),
    Forget,
    Pass(u64),
    LookedUp(Option<u8>),
}

fn any_change() -> impl Strategy<Value = Change> {
    let hosts = || proptest::collection::btree_set(0..8_u8, 0..6);
    let seeds = proptest::collection::btree_set(0..8_u8, 1..6);
    let source = proptest::sample::select(vec![Source::Discovered, Source::Cached]);
    prop_oneof![
        3 => seeds.prop_map(Change::Listen),
        1 => Just(Change::Stop),
        6 => (source, hosts()).prop_map(|(source, hosts)| Change::Replace(source, hosts)),
        1 => Just(Change::Forget),
        4 => (0..40_000_u64).prop_map(Change::Pass),
        4 => proptest::option::of(0..4_u8).prop_map(Change::LookedUp),
    ]
}

/// Even hosts are IP addresses, odd ones names.
fn address(host: u8) -> Address {
    let text = match host % 2 {
        0 => format!("10.9.0.{host}:6443"),
        _ => format!("host-{host}.example:6443"),
    };
    text.parse().unwrap()
}

/// The core beside what it ought to know.
#[derive(Default)]
struct Model {
    /// `None` while there is no listener.
    seeds: Option<BTreeSet<u8>>,
    discovered: BTreeSet<u8>,
    cached: BTreeSet<u8>,
    /// Members and their ids at the last look.
    ids: BTreeMap<String, Id>,
    ever: BTreeSet<Id>,
    /// Lookups under way.
    lookups: Vec<Id>,
    /// Those that once had an address to dial.
    found: BTreeSet<Id>,
}

impl Model {
    fn apply(&mut self, core: &mut Core, change: Change, now: &mut Instant) -> Vec<Action> {
        let addresses =
            |hosts: &BTreeSet<u8>| hosts.iter().copied().map(address).collect::<Vec<_>>();
        match change {
            Change::Listen(seeds) => {
                let actions = core.listen(LISTENER, &addresses(&seeds), Health::default(), *now);
                self.seeds = Some(seeds);
                actions
            }
            Change::Stop => {
                *self = Self {
                    ever: std::mem::take(&mut self.ever),
                    ids: std::mem::take(&mut self.ids),
                    ..Self::default()
                };
                core.stop(LISTENER)
            }
            Change::Replace(source, hosts) => {
                let actions = core.replace(LISTENER, source, &addresses(&hosts), *now);
                match source {
                    _ if self.seeds.is_none() => {}
                    Source::Cached => self.cached = hosts,
                    _ if hosts.is_empty() => {}
                    _ => self.discovered = hosts,
                }
                actions
            }
            Change::Forget => {
                self.discovered.clear();
                self.cached.clear();
                core.forget_discovered(LISTENER, *now)
            }
            Change::Pass(milliseconds) => {
                *now += Duration::from_millis(milliseconds);
                core.tick(*now)
            }
            Change::LookedUp(found) => {
                let Some(upstream) = self.lookups.pop() else {
                    return Vec::new();
                };
                let sockets = found.map(|last| [([10, 8, 0, last], 6443).into()].into());
                core.handle(&Event::Resolved { upstream, sockets }, *now)
            }
        }
    }

    fn wanted(&self) -> BTreeSet<String> {
        let hints = if self.discovered.is_empty() {
            &self.cached
        } else {
            &self.discovered
        };
        let seeds = self.seeds.iter().flatten();
        let hints = hints.iter().filter(|_| self.seeds.is_some());
        let hosts = seeds.chain(hints);
        hosts.map(|&host| address(host).to_string()).collect()
    }

    /// What has to hold after every change.
    fn check(&mut self, core: &Core, actions: &[Action]) {
        let snapshot = core.snapshot();
        let choices = snapshot.choices(LISTENER);
        let ids: BTreeMap<String, Id> = choices
            .iter()
            .map(|choice| (choice.address.to_string(), choice.id))
            .collect();
        assert_eq!(ids.len(), choices.len(), "one server is there twice");
        assert_eq!(ids.keys().cloned().collect::<BTreeSet<_>>(), self.wanted());
        for (address, id) in &ids {
            let before = self.ids.get(address);
            if before != Some(id) {
                assert_eq!(before, None, "{address} got another id while it stayed");
                assert!(
                    self.ever.insert(*id),
                    "{address} got the id of somebody gone"
                );
            }
        }
        for action in actions {
            if let Action::Probe { upstream, .. } | Action::Resolve { upstream, .. } = action {
                assert!(
                    ids.values().any(|id| id == upstream),
                    "{action:?} of nobody"
                );
            }
            if let Action::Resolve { upstream, .. } = action {
                self.lookups.push(*upstream);
            }
        }
        for choice in choices {
            let is_known = !choice.sockets.is_empty();
            assert!(
                is_known || !self.found.contains(&choice.id),
                "what was known of {} is lost",
                choice.address
            );
            if is_known {
                self.found.insert(choice.id);
            }
        }
        self.ids = ids;
    }
}

proptest! {
    #[test]
    fn whatever_changes_the_set_is_what_its_sources_say_and_ids_are_never_used_again(
        changes in proptest::collection::vec(any_change(), 1..60),
    ) {
        let mut now = Instant::now();
        let mut core = Core::new(1);
        let mut model = Model::default();
        for change in changes {
            let actions = model.apply(&mut core, change, &mut now);
            model.check(&core, &actions);
        }
    }
}

/// A core with a CA and two upstreams, and their ids.
fn verifying(now: Instant) -> (Core, [Id; 2]) {
    let mut core = Core::new(1);
    let seeds = ["10.9.0.2:6443", "10.9.0.3:6443"].map(|seed| seed.parse().unwrap());
    let health = Health {
        ca_file: Some("ca.crt".into()),
        ..Health::default()
    };
    core.listen(LISTENER, &seeds, health, now);
    let snapshot = core.snapshot();
    let ids = [0, 1].map(|index| snapshot.choices(LISTENER)[index].id);
    (core, ids)
}

fn verified(upstream: Id, last: u8, is_verified: bool) -> Event {
    Event::Verified {
        upstream,
        socket: ([10, 9, 0, last], 6443).into(),
        is_verified,
    }
}

#[test]
fn with_a_ca_only_those_whose_certificate_verified_may_be_dialled() {
    let now = Instant::now();
    let (mut core, [first, second]) = verifying(now);
    let dialable = |core: &Core| -> Vec<bool> {
        let snapshot = core.snapshot();
        let choices = snapshot.choices(LISTENER).iter();
        choices.map(|choice| choice.is_dialable()).collect()
    };
    core.handle(&found(first, Finding::Ready), now);
    assert_eq!(dialable(&core), [false, false]);
    let actions = core.handle(&verified(first, 2, true), now);
    assert_eq!(words(&actions), ["10.9.0.2:6443 is trusted: true"]);
    assert_eq!(dialable(&core), [true, false]);

    // Where it is not, a certificate is worth nothing.
    core.handle(&verified(second, 9, true), now);
    assert_eq!(dialable(&core), [true, false]);

    for _ in 0..2 {
        core.handle(&found(first, Finding::Silent), now);
    }
    assert_eq!(dialable(&core), [true, false], "being down is no lie");
    let actions = core.handle(&verified(first, 2, false), now);
    assert_eq!(words(&actions), ["10.9.0.2:6443 is trusted: false"]);
    assert_eq!(dialable(&core), [false, false]);
}

#[test]
fn another_ca_file_takes_all_trust_back_and_none_gives_it() {
    let now = Instant::now();
    let (mut core, [first, _]) = verifying(now);
    core.handle(&verified(first, 2, true), now);
    let seeds = ["10.9.0.2:6443", "10.9.0.3:6443"].map(|seed| seed.parse().unwrap());
    let health = |ca_file: Option<&str>| Health {
        ca_file: ca_file.map(Into::into),
        ..Health::default()
    };
    let trusted = |core: &Core| core.snapshot().choices(LISTENER)[0].trusted;
    core.listen(LISTENER, &seeds, health(Some("ca.crt")), now);
    assert!(trusted(&core), "a reload of the same is no news");
    core.listen(LISTENER, &seeds, health(Some("other.crt")), now);
    assert!(!trusted(&core));
    core.listen(LISTENER, &seeds, health(None), now);
    assert!(trusted(&core));
}

#[test]
fn connections_of_a_hung_upstream_are_closed_once_it_and_they_have_been_silent() {
    let mut now = Instant::now();
    let mut core = core(&["10.9.0.2:6443", "10.9.0.3:6443"], now);
    let snapshot = core.snapshot();
    let [hung, other] = [0, 1].map(|index| snapshot.choices(LISTENER)[index].clone());
    let _entered = hung.traffic.enter();
    core.handle(&found(hung.id, Finding::Ready), now);
    for _ in 0..2 {
        core.handle(&found(hung.id, Finding::Silent), now);
    }

    // Nobody else is known to be up.
    now += SILENCE;
    assert!(!words(&core.tick(now)).contains(&"close those of 10.9.0.2:6443".to_owned()));

    // It still delivers.
    hung.traffic.hear(now);
    core.handle(&found(other.id, Finding::Ready), now);
    let epoch = |core: &Core| core.snapshot().choices(LISTENER)[0].epoch;
    assert_eq!(epoch(&core), hung.epoch);

    now += SILENCE;
    assert!(core.wake() <= Some(now));
    assert!(words(&core.tick(now)).contains(&"close those of 10.9.0.2:6443".to_owned()));
    assert_eq!(epoch(&core), hung.epoch + 1);
    core.tick(now + Duration::from_millis(1));
    assert_eq!(epoch(&core), hung.epoch + 1, "once is enough");
}

#[test]
fn the_last_word_against_an_upstream_is_kept_until_it_is_well() {
    let now = Instant::now();
    let mut core = core(&["10.9.0.2:6443"], now);
    let id = core.snapshot().choices(LISTENER)[0].id;
    let reason = |core: &Core| core.snapshot().choices(LISTENER)[0].reason.clone();
    for (finding, is_kept) in [
        (Finding::Draining, true),
        (Finding::Alive, true),
        (Finding::Ready, false),
        (Finding::Silent, true),
        (Finding::Alive, false),
    ] {
        core.handle(&found(id, finding), now);
        assert_eq!(reason(&core).is_some(), is_kept, "{finding:?}");
    }
}

#[test]
fn one_that_has_no_word_for_us_is_up_once_those_that_had_one_have_left() {
    let now = Instant::now();
    let mut core = core(&["10.9.0.2:6443", "10.9.0.3:6443"], now);
    let probes = core.tick(now);
    let ids: Vec<Id> = probes
        .iter()
        .map(|action| match action {
            Action::Probe { upstream, .. } => *upstream,
            other => panic!("{other:?}"),
        })
        .collect();
    core.handle(&found(ids[1], Finding::Ready), now);
    let actions = core.handle(&found(ids[0], Finding::Unsaid), now);
    assert_eq!(words(&actions), ["10.9.0.2:6443 is draining"]);

    let rest: Vec<Address> = vec!["10.9.0.2:6443".parse().unwrap()];
    core.listen(LISTENER, &rest, Health::default(), now);
    let actions = core.handle(&found(ids[0], Finding::Unsaid), now);
    assert_eq!(words(&actions), ["10.9.0.2:6443 is up"]);

    // It has not started since, whoever comes and has a word.
    let later = now + UNSAID;
    let both = ["10.9.0.2:6443", "10.9.0.4:6443"].map(|seed| seed.parse().unwrap());
    core.listen(LISTENER, &both, Health::default(), later);
    let newcomer = core.snapshot().choices(LISTENER)[1].id;
    core.handle(&found(newcomer, Finding::Ready), later);
    let actions = core.handle(&found(ids[0], Finding::Unsaid), later);
    assert_eq!(words(&actions), [""; 0]);
}

/// Three upstreams that are up, of a listener whose connections drift.
fn drifting(now: Instant) -> (Core, [Id; 3]) {
    let mut core = core(&["10.9.0.2:6443", "10.9.0.3:6443", "10.9.0.4:6443"], now);
    core.rebalance(LISTENER, Some(Pace::default()), now);
    let ids = [0, 1, 2].map(|index| core.snapshot().choices(LISTENER)[index].id);
    for id in ids {
        let actions = words(&core.handle(&found(id, Finding::Ready), now));
        assert!(
            !actions.iter().any(|it| it.contains("drift")),
            "{actions:?}"
        );
    }
    (core, ids)
}

fn entered(core: &Core, index: usize, count: usize) -> Vec<Entered> {
    let snapshot = core.snapshot();
    let traffic = &snapshot.choices(LISTENER)[index].traffic;
    (0..count).map(|_| traffic.enter()).collect()
}

/// Lets time pass until the core asks for a move, at most ten minutes.
fn next_move(core: &mut Core, now: &mut Instant) -> Option<(Id, Id)> {
    for _ in 0..600 {
        *now += rebalance::EVERY;
        for action in core.tick(*now) {
            match action {
                Action::Move { from, to, .. } => return Some((from, to)),
                Action::Probe { upstream, .. } => {
                    core.handle(&found(upstream, Finding::Ready), *now);
                }
                _ => {}
            }
        }
    }
    None
}

#[test]
fn connections_drift_to_one_that_was_down_and_is_back_until_it_has_its_share() {
    let mut now = Instant::now();
    let (mut core, ids) = drifting(now);
    for _ in 0..2 {
        core.handle(&found(ids[2], Finding::Failed), now);
    }
    let mut busiest = entered(&core, 0, 4);
    let _other = entered(&core, 1, 2);
    core.handle(&found(ids[2], Finding::Ready), now);
    let actions = words(&core.handle(&found(ids[2], Finding::Ready), now));
    assert!(
        actions.contains(&"2 drift to 10.9.0.4:6443".to_owned()),
        "{actions:?}"
    );

    let mut back = Vec::new();
    let upstream = ids[2];
    for is_last in [false, true] {
        let due = next_move(&mut core, &mut now);
        assert_eq!(due, Some((ids[0], upstream)));
        busiest.pop();
        back.extend(entered(&core, 2, 1));
        let actions = words(&core.handle(&Event::Rebalanced { upstream }, now));
        let has_its_share = actions.contains(&"10.9.0.4:6443 has its share".to_owned());
        assert_eq!(has_its_share, is_last, "{actions:?}");
    }
    assert_eq!(next_move(&mut core, &mut now), None);
}

#[test]
fn nothing_drifts_unless_the_listener_wants_it() {
    let mut now = Instant::now();
    let (mut core, ids) = drifting(now);
    core.rebalance(LISTENER, None, now);
    for _ in 0..2 {
        core.handle(&found(ids[2], Finding::Failed), now);
    }
    let _busy = entered(&core, 0, 6);
    for _ in 0..2 {
        core.handle(&found(ids[2], Finding::Ready), now);
    }
    assert_eq!(next_move(&mut core, &mut now), None);
}
