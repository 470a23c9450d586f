//! A simulated world against the core: servers fail in every way and come back, probes get lost, clients
//! dial, and the clock is ours.
//!
//! A run prints its seed; `SIMULATION_SEED=n` repeats it, `TEST_SCALE=n` makes it n times as long.

use std::{
    env,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use rivers::{
    config::{Balance, Health, address::Address},
    decide::{
        Action, Ask, Choice, Core, Entered, Event, Finding, Id, ListenerId, SILENCE, State,
        choose::{self, Candidate},
        dial_plan::{DialPlan, Order, PATIENCE, ROUND, STAGGER, Step},
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
    let seen = &world.seen;
    assert!(seen.dials > 0 && seen.downs > 0 && seen.recoveries > 0 && seen.drains > 0);
    assert!(seen.severed > 0 || world.servers.len() == 1);
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
    /// Its kernel accepts, and nothing answers.
    Hangs,
    /// Serves, but answers most probes too late.
    IsSlow,
    /// Serves, and says that it wants no new clients.
    Drains,
    /// Serves, with a certificate of another CA.
    IsAnother,
}

impl Behaviour {
    /// Whether a TCP connection to it succeeds at once.
    fn accepts(self) -> bool {
        !matches!(self, Self::Refuses | Self::BlackHole | Self::Flaps)
    }

    /// Whether bytes come over its connections.
    fn delivers(self) -> bool {
        !matches!(self, Self::BlackHole | Self::Hangs)
    }
}

struct Server {
    behaviour: Behaviour,
    since: Instant,
    /// The last time something on the way (a client's dial, a lost probe) spoke against it.
    spoken_against: Option<Instant>,
    /// When the finding of the probe under way comes; `Some(None)`: it is lost.
    probe: Option<Option<(Instant, Finding)>>,
    /// What the core was last told of its certificate.
    verified: bool,
    /// Established connections, with the epoch and time of their dial.
    connections: Vec<(Entered, u32, Instant)>,
    /// When a byte last came over one of them.
    delivered: Option<Instant>,
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
    drains: u64,
    severed: u64,
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
            ca_file: rng.random::<bool>().then(|| "ca.crt".into()),
            rise: rng.random_range(1..=3),
            fall: rng.random_range(1..=3),
            ..Health::default()
        };
        let mut core = Core::new(rng.random());
        let joined = core.listen(LISTENER, &addresses, health.clone(), now);
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
            verified: false,
            connections: Vec::new(),
            delivered: None,
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
        match self.rng.random_range(0..100) {
            0 => self.change_a_server(),
            1 => self.lose_a_connection(),
            2..40 => self.dial(),
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
            if let Some(Some((at, finding))) = self.servers[index].probe
                && at <= self.now
            {
                self.servers[index].probe = None;
                if finding != Finding::Silent && self.health.verifies() {
                    self.show_certificate(index, finding);
                }
                self.tell(index, finding);
            }
        }
    }

    /// A handshake went before the answer, or the refusal to go on with it.
    fn show_certificate(&mut self, index: usize, finding: Finding) {
        let is_verified = self.servers[index].behaviour != Behaviour::IsAnother;
        if is_verified && finding == Finding::Failed {
            return;
        }
        self.servers[index].verified = is_verified;
        let event = Event::Verified {
            upstream: self.ids[index],
            socket: socket(index),
            is_verified,
        };
        let actions = self.core.handle(&event, self.now);
        self.take(actions);
    }

    fn tell(&mut self, index: usize, finding: Finding) {
        let event = Event::Found {
            upstream: self.ids[index],
            finding,
            reason: None,
        };
        let actions = self.core.handle(&event, self.now);
        self.take(actions);
    }

    /// The connection that probes keep open breaks, for no reason.
    fn lose_a_connection(&mut self) {
        let index = self.rng.random_range(0..self.servers.len());
        if self.servers[index].probe.is_none() {
            self.servers[index].spoken_against = Some(self.now);
            self.tell(index, Finding::Lost);
        }
    }

    /// Those that serve deliver a byte at least each 400 ms to each of their clients.
    fn deliver_bytes(&mut self) {
        let snapshot = self.core.snapshot();
        for (server, choice) in self.servers.iter_mut().zip(snapshot.choices(LISTENER)) {
            if server.behaviour.delivers() && !server.connections.is_empty() {
                choice.traffic.hear(self.now);
                server.delivered = Some(self.now);
            }
        }
    }

    /// Connections are closed: rightly so?
    fn sever(&mut self, address: &Address) {
        let snapshot = self.core.snapshot();
        let choices = snapshot.choices(LISTENER);
        let index = choices
            .iter()
            .position(|choice| *choice.address == *address)
            .unwrap();
        let choice = &choices[index];
        assert_eq!(choice.state, State::Down, "a server that lives was severed");
        let is_up = |choice: &Arc<Choice>| choice.state == State::Up && choice.is_dialable();
        assert!(choices.iter().any(is_up), "there was nowhere to go");
        let server = &mut self.servers[index];
        if let Some(delivered) = server.delivered {
            let silence = self.now - delivered + Duration::from_millis(1);
            assert!(silence >= SILENCE, "severed while it delivered");
        }
        assert!(!server.connections.is_empty(), "there was nothing to close");
        server
            .connections
            .retain(|&(_, epoch, _)| epoch >= choice.epoch);
        assert!(server.connections.is_empty(), "the epoch did not rise");
        self.seen.severed += 1;
    }

    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Probe { upstream, ask, .. } => {
                    let index = self.index(upstream);
                    let result = self.probe_result(index, ask);
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
                    self.seen.drains += u64::from(to == State::Draining);
                }
                Action::Trust { .. } => assert!(self.health.verifies()),
                Action::Severed { address, .. } => self.sever(&address),
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
    fn probe_result(&mut self, index: usize, ask: Ask) -> Option<(Instant, Finding)> {
        if self.rng.random_ratio(1, 100) {
            self.seen.lost_probes += 1;
            self.servers[index].spoken_against = Some(self.now);
            return None;
        }
        let behaviour = self.servers[index].behaviour;
        let is_late = match behaviour {
            Behaviour::Hangs => true,
            Behaviour::IsSlow => self.rng.random_ratio(2, 3),
            _ => false,
        };
        Some(match self.attempt(behaviour) {
            _ if is_late => (self.now + self.health.timeout, Finding::Silent),
            None => (self.now + self.health.timeout, Finding::Silent),
            Some((after, false)) => (self.now + after, Finding::Failed),
            Some((after, true)) => {
                let finding = match (behaviour, ask) {
                    (Behaviour::IsAnother, _) if self.health.verifies() => Finding::Failed,
                    (_, Ask::Alive) => Finding::Alive,
                    (Behaviour::Drains, Ask::Ready) => Finding::Draining,
                    (_, Ask::Ready) => Finding::Ready,
                };
                (self.now + after, finding)
            }
        })
    }

    /// How a connection to such a server ends, if it ends.
    fn attempt(&mut self, behaviour: Behaviour) -> Option<(Duration, bool)> {
        let after = Duration::from_micros(self.rng.random_range(50..5_000));
        match behaviour {
            Behaviour::Accepts
            | Behaviour::Hangs
            | Behaviour::IsSlow
            | Behaviour::Drains
            | Behaviour::IsAnother => Some((after, true)),
            Behaviour::Refuses => Some((after, false)),
            Behaviour::BlackHole => None,
            Behaviour::Flaps => Some((after, self.rng.random())),
        }
    }

    fn change_a_server(&mut self) {
        let index = self.rng.random_range(0..self.servers.len());
        self.servers[index].behaviour = match self.rng.random_range(0..14) {
            0 => Behaviour::Refuses,
            1 => Behaviour::BlackHole,
            2 => Behaviour::Flaps,
            3 | 4 => Behaviour::Hangs,
            5 => Behaviour::IsSlow,
            6 => Behaviour::Drains,
            7 => Behaviour::IsAnother,
            _ => Behaviour::Accepts,
        };
        if self.servers[index].behaviour == Behaviour::Refuses {
            // Its process has ended, and its connections with it.
            self.servers[index].connections.clear();
        }
        self.servers[index].since = self.now;
    }

    /// A client's dial from choice to end, on a clock of its own: dials overlap with what happens around.
    fn dial(&mut self) {
        self.seen.dials += 1;
        let order = self.order();
        let reachable = order
            .first
            .iter()
            .any(|&index| self.servers[index].behaviour.accepts());
        let tried = u32::try_from(order.first.len()).unwrap();

        let trusting = !self.health.verifies();
        let served = |server: &Server| server.behaviour.accepts() && (trusting || server.verified);
        let anybody = self.servers.iter().any(served);

        let mut plan = DialPlan::in_rounds(order, self.now, DIAL_TIMEOUT);
        let mut clock = self.now;
        let mut told = vec![false; self.servers.len()];
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
                        Some((at, index, true)) => {
                            clock = at;
                            self.connect(index);
                            break true;
                        }
                        Some((at, index, false)) => {
                            clock = at;
                            plan.failed(clock);
                            // As a worker does: what is known is not told in each round.
                            if !std::mem::replace(&mut told[index], true) {
                                self.dial_failed(index);
                            }
                        }
                        None => clock = moment,
                    }
                }
                Step::Choose => plan.again(self.order(), clock),
                Step::Exhausted => unreachable!("a dial in rounds goes on"),
                Step::TimedOut => break false,
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
        if anybody {
            assert!(
                connected,
                "a server that accepts was not tried in any round"
            );
            let limit = PATIENCE + STAGGER * tried + ROUND;
            assert!(took <= limit, "{took:?} until the last resort was tried");
        }
    }

    /// Whom a client may dial now, best first.
    fn order(&mut self) -> Order<usize> {
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
        let mut dialled = order.first.iter().chain(&order.last_resort);
        assert!(
            !self.health.verifies() || dialled.all(|&index| self.servers[index].verified),
            "a server was dialled whose certificate is no good"
        );
        assert_eq!(
            order.first.is_empty(),
            self.health.verifies() && self.servers.iter().all(|server| !server.verified),
            "a client was left without a choice"
        );
        order
    }

    /// A client stays connected, or is gone at once.
    fn connect(&mut self, index: usize) {
        let server = &mut self.servers[index];
        if server.connections.len() < MAX_CONNECTIONS && self.rng.random_ratio(1, 4) {
            let snapshot = self.core.snapshot();
            let choice = &snapshot.choices(LISTENER)[index];
            let entered = choice.traffic.enter();
            server.connections.push((entered, choice.epoch, self.now));
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
                Behaviour::Refuses | Behaviour::BlackHole | Behaviour::Hangs if settled => {
                    assert_eq!(choice.state, State::Down, "a dead server is believed in");
                }
                Behaviour::Drains if settled && !spoken_against => {
                    assert_eq!(choice.state, State::Draining);
                }
                _ => {}
            }
        }
        self.check_connections();
    }

    /// Nobody stays with a dead server while another one is well.
    fn check_connections(&self) {
        let is_well = |server: &Server| {
            server.behaviour == Behaviour::Accepts && self.now - server.since > self.time_to_close()
        };
        if !self.servers.iter().any(is_well) {
            return;
        }
        for server in &self.servers {
            let is_dead = matches!(server.behaviour, Behaviour::Hangs | Behaviour::BlackHole);
            if is_dead && self.now - server.since > self.time_to_close() {
                for (_, _, opened) in &server.connections {
                    let age = self.now - *opened;
                    assert!(age <= self.time_to_close(), "it stayed for {age:?}");
                }
            }
        }
    }

    fn time_to_close(&self) -> Duration {
        self.time_to_notice() + SILENCE + Duration::from_secs(1)
    }

    /// The longest that beliefs may be behind: a probe under way to its end, then as many as it takes,
    /// each as long as it may last, with the pauses between.
    fn time_to_notice(&self) -> Duration {
        let probe =
            self.health.timeout + Duration::from_secs(1) + self.health.interval.mul_f64(1.1);
        // A word about readiness is asked for again that much later.
        probe * (1 + self.health.rise.max(self.health.fall)) + self.health.readyz_interval
    }
}

const LISTENER: ListenerId = ListenerId(0);
fn socket(index: usize) -> SocketAddr {
    format!("10.9.0.{}:6443", index + 1).parse().unwrap()
}

const STEPS: u64 = 100_000;
const MAX_CONNECTIONS: usize = 4;
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
