//! The core as its director meets it; faults by the million are in `tests/simulation.rs`.

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
    };
    actions.iter().map(word).collect()
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
    let healthy = true;
    core.handle(&Event::ProbeEnded { upstream, healthy }, now);

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
