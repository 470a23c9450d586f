//! A simulated world against the core: servers fail in every way and come back, probes get lost, clients
//! dial, and the clock is ours.
//!
//! A run prints its seed; `SIMULATION_SEED=n` repeats it, `TEST_SCALE=n` makes it n times as long.

use std::{
    env,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use rivers::{
    config::{Balance, Health, address::Address},
    decide::{
        Action, Core, Event, Id, ListenerId, State,
        choose::{self, Candidate},
        dial_plan::{DialPlan, STAGGER, Step},
    },
};

#[test]
fn no_fault_leaves_a_client_without_a_choice_or_exiles_a_healthy_server() {
    let seed = setting("SIMULATION_SEED").unwrap_or_else(rand::random);
    let scale = setting("TEST_SCALE").unwrap_or(1);
    println!("SIMULATION_SEED={seed} TEST_SCALE={scale}");
    let mut world = World::new(seed);
    world.start();
    for _ in 0..scale * STEPS {
        world.step();
    }
    println!("{:?}", world.seen);
    assert!(world.seen.dials > 0 && world.seen.downs > 0 && world.seen.recoveries > 0);
}

fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap())
}

/// What a server does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    /// Accepts within a few milliseconds.
    Accepts,
    /// Refuses at once.
    Refuses,
    /// Never answers.
    BlackHole,
    /// Accepts half of the time.
    Flaps,
}

struct Server {
    behaviour: Behaviour,
    since: Instant,
    /// The last time something on the way (a client's dial, a lost probe) spoke against it.
    spoken_against: Option<Instant>,
    /// When the result of the probe under way comes; `Some(None)`: it is lost.
    probe: Option<Option<(Instant, bool)>>,
}

struct World {
    core: Core,
    health: Health,
    now: Instant,
    rng: SmallRng,
    servers: Vec<Server>,
    ids: Vec<Id>,
    balance: Balance,
    seen: Seen,
}

/// So that a run that exercised nothing fails.
#[derive(Debug, Default)]
struct Seen {
    dials: u64,
    failed_dials: u64,
    downs: u64,
    recoveries: u64,
    lost_probes: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let now = Instant::now();
        let count = rng.random_range(1..=7_u16);
        let addresses: Vec<Address> = (1..=count)
            .map(|n| format!("10.9.0.{n}:6443").parse().unwrap())
            .collect();
        let health = Health {
            rise: rng.random_range(1..=3),
            fall: rng.random_range(1..=3),
            ..Health::default()
        };
        let mut core = Core::new(rng.random());
        let joined = core.listen(LISTENER, &addresses, health, now);
        assert_eq!(joined.len(), addresses.len());
        let snapshot = core.snapshot();
        let ids = snapshot
            .choices(LISTENER)
            .iter()
            .map(|choice| choice.id)
            .collect();
        let servers = addresses.iter().map(|_| Server {
            behaviour: Behaviour::Accepts,
            since: now,
            spoken_against: None,
            probe: None,
        });
        Self {
            servers: servers.collect(),
            balance: Balance::ALL[rng.random_range(0..Balance::ALL.len())],
            ids,
            core,
            health,
            now,
            rng,
            seen: Seen::default(),
        }
    }

    /// Every server is probed at once.
    fn start(&mut self) {
        assert_eq!(self.core.wake(), Some(self.now));
        let actions = self.core.tick(self.now);
        assert_eq!(actions.len(), self.servers.len());
        self.take(actions);
    }

    /// The next thing that happens: time passes, then a server changes, a client dials, or nothing.
    fn step(&mut self) {
        let wake = self.core.wake().expect("there are upstreams");
        assert!(
            wake > self.now,
            "the core asks to be woken in the past: a busy loop"
        );
        self.now = self
            .next_result()
            .map_or(wake, |result| result.min(wake))
            .min(self.now + Duration::from_millis(self.rng.random_range(1..400)));
        self.deliver_results();
        let actions = self.core.tick(self.now);
        self.take(actions);
        match self.rng.random_range(0..100) {
            0 => self.change_a_server(),
            1..40 => self.dial(),
            _ => {}
        }
        self.check_beliefs();
    }

    fn next_result(&self) -> Option<Instant> {
        let results = self
            .servers
            .iter()
            .filter_map(|server| server.probe.flatten());
        results.map(|(at, _)| at).min().map(|at| at.max(self.now))
    }

    fn deliver_results(&mut self) {
        for index in 0..self.servers.len() {
            if let Some(Some((at, healthy))) = self.servers[index].probe
                && at <= self.now
            {
                self.servers[index].probe = None;
                let upstream = self.ids[index];
                let actions = self
                    .core
                    .handle(&Event::ProbeEnded { upstream, healthy }, self.now);
                self.take(actions);
            }
        }
    }

    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Probe { upstream, .. } => {
                    let index = self.index(upstream);
                    let result = self.probe_result(index);
                    let running = self.servers[index].probe.replace(result);
                    assert!(
                        !matches!(running, Some(Some(_))),
                        "two probes of one server at once"
                    );
                }
                Action::Changed { from, to, .. } => {
                    assert_ne!(from, to);
                    self.seen.downs += u64::from(to == State::Down);
                    self.seen.recoveries += u64::from(from == State::Down);
                }
                Action::Resolve { .. }
                | Action::Joined { .. }
                | Action::Left { .. }
                | Action::Moved { .. } => panic!("nobody comes, goes or has a name: {action:?}"),
            }
        }
    }

    fn index(&self, id: Id) -> usize {
        self.ids.iter().position(|&known| known == id).unwrap()
    }

    /// When and how the probe that starts now will end; one in a hundred gets lost on our side.
    fn probe_result(&mut self, index: usize) -> Option<(Instant, bool)> {
        if self.rng.random_ratio(1, 100) {
            self.seen.lost_probes += 1;
            self.servers[index].spoken_against = Some(self.now);
            return None;
        }
        let behaviour = self.servers[index].behaviour;
        Some(match self.attempt(behaviour) {
            Some((after, accepted)) => (self.now + after, accepted),
            None => (self.now + self.health.timeout, false),
        })
    }

    /// How a connection to such a server ends, if it ends.
    fn attempt(&mut self, behaviour: Behaviour) -> Option<(Duration, bool)> {
        let after = Duration::from_micros(self.rng.random_range(50..5_000));
        match behaviour {
            Behaviour::Accepts => Some((after, true)),
            Behaviour::Refuses => Some((after, false)),
            Behaviour::BlackHole => None,
            Behaviour::Flaps => Some((after, self.rng.random())),
        }
    }

    fn change_a_server(&mut self) {
        let index = self.rng.random_range(0..self.servers.len());
        self.servers[index].behaviour = match self.rng.random_range(0..6) {
            0 => Behaviour::Refuses,
            1 => Behaviour::BlackHole,
            2 => Behaviour::Flaps,
            _ => Behaviour::Accepts,
        };
        self.servers[index].since = self.now;
    }

    /// A client's dial from choice to end, on a clock of its own: dials overlap with what happens around.
    fn dial(&mut self) {
        self.seen.dials += 1;
        let snapshot = self.core.snapshot();
        let choices = snapshot.choices(LISTENER);
        let candidates: Vec<Candidate> = choices
            .iter()
            .map(|choice| Candidate {
                state: choice.state,
                dialable: choice.is_dialable(),
                load: choice.traffic.connections(),
            })
            .collect();
        let turn = usize::try_from(self.seen.dials).unwrap();
        let order = choose::order(self.balance, &candidates, turn, &mut self.rng);
        assert!(
            !order.first.is_empty(),
            "a client was left without a choice"
        );
        let reachable = order
            .first
            .iter()
            .any(|&index| self.servers[index].behaviour == Behaviour::Accepts);
        let tried = u32::try_from(order.first.len()).unwrap();

        let mut plan = DialPlan::new(order, self.now, DIAL_TIMEOUT);
        let mut clock = self.now;
        let mut ends: Vec<(Instant, usize, bool)> = Vec::new();
        let connected = loop {
            match plan.step(clock) {
                Step::Start(index) => {
                    let behaviour = self.servers[index].behaviour;
                    if let Some((after, accepted)) = self.attempt(behaviour) {
                        ends.push((clock + after, index, accepted));
                    }
                }
                Step::WaitUntil(moment) => {
                    assert!(moment > clock, "the plan asks to wait for the past");
                    ends.sort_by_key(|&(at, ..)| std::cmp::Reverse(at));
                    match ends.pop_if(|end| end.0 <= moment) {
                        Some((at, _, true)) => {
                            clock = at;
                            break true;
                        }
                        Some((at, index, false)) => {
                            clock = at;
                            plan.failed(clock);
                            self.dial_failed(index);
                        }
                        None => clock = moment,
                    }
                }
                Step::Exhausted | Step::TimedOut => break false,
            }
        };
        self.seen.failed_dials += u64::from(!connected);
        let took = clock - self.now;
        assert!(took <= DIAL_TIMEOUT);
        if reachable {
            assert!(
                connected,
                "a server that accepts was among the first choices"
            );
            let limit = STAGGER * tried + Duration::from_millis(50);
            assert!(took <= limit, "{took:?} for {tried} first choices");
        }
    }

    fn dial_failed(&mut self, index: usize) {
        self.servers[index].spoken_against = Some(self.now);
        let upstream = self.ids[index];
        let actions = self.core.handle(&Event::DialFailed { upstream }, self.now);
        self.take(actions);
    }

    /// Beliefs follow the facts within a bounded time.
    fn check_beliefs(&self) {
        let snapshot = self.core.snapshot();
        for (server, choice) in self.servers.iter().zip(snapshot.choices(LISTENER)) {
            let settled = self.now - server.since > self.time_to_notice();
            let spoken_against = server
                .spoken_against
                .is_some_and(|at| self.now - at < self.time_to_notice());
            match server.behaviour {
                Behaviour::Accepts if settled && !spoken_against => {
                    assert_eq!(choice.state, State::Up, "a healthy server is in exile");
                }
                Behaviour::Refuses | Behaviour::BlackHole if settled => {
                    assert_eq!(choice.state, State::Down, "a dead server is believed in");
                }
                _ => {}
            }
        }
    }

    /// The longest that beliefs may be behind: a probe under way to its end, then as many as it takes,
    /// each as long as it may last, with the pauses between.
    fn time_to_notice(&self) -> Duration {
        let probe =
            self.health.timeout + Duration::from_secs(1) + self.health.interval.mul_f64(1.1);
        probe * (1 + self.health.rise.max(self.health.fall))
    }
}

const LISTENER: ListenerId = ListenerId(0);
const STEPS: u64 = 100_000;
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
