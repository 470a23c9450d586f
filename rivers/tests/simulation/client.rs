//! A client's dial from choice to end.

use std::time::{Duration, Instant};

use rand::RngExt;
use rivers::{
    config::Balance,
    decide::{
        Action, Event, Id, State,
        choose::{self, Candidate},
        dial_plan::{DialPlan, Order, PATIENCE, ROUND, STAGGER, Step},
    },
};

use super::{
    server::{Behaviour, Server},
    world::{LISTENER, World, index},
};

/// Whom a client tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pick {
    server: usize,
    id: Id,
}

/// The attempts of one dial, and what may be tried yet.
struct Attempts {
    begin: Instant,
    /// When the current round began.
    round: Instant,
    is_first_round: bool,
    first: Vec<Pick>,
    last_resort: Vec<Pick>,
    /// First choices that may still answer.
    waiting: Vec<Pick>,
    in_flight: u32,
    ends: Vec<(Instant, Pick, bool)>,
}

impl Attempts {
    fn new(order: &Order<Pick>, now: Instant) -> Self {
        Self {
            begin: now,
            round: now,
            is_first_round: true,
            first: order.first.clone(),
            last_resort: order.last_resort.clone(),
            waiting: Vec::new(),
            in_flight: 0,
            ends: Vec::new(),
        }
    }

    fn again(&mut self, order: &Order<Pick>, now: Instant) {
        assert!(
            now - self.round >= ROUND,
            "rounds follow each other too fast"
        );
        let is_late = self.round - self.begin >= PATIENCE;
        assert!(
            self.first.is_empty() && (!is_late || self.last_resort.is_empty()),
            "a round ended before everybody was tried"
        );
        self.round = now;
        self.is_first_round = false;
        self.first.clone_from(&order.first);
        self.last_resort.clone_from(&order.last_resort);
    }

    /// Each that was chosen is tried once a round, in time, and nobody else.
    fn start(&mut self, pick: Pick, now: Instant) {
        if let Some(at) = self.first.iter().position(|&other| other == pick) {
            self.first.remove(at);
            self.waiting.push(pick);
        } else {
            let at = self.last_resort.iter().position(|&other| other == pick);
            let at = at.expect("one was tried that was not chosen, or twice");
            self.last_resort.remove(at);
            assert!(
                self.waiting.is_empty() || now - self.begin >= PATIENCE,
                "the last resort was tried before its time"
            );
        }
        self.in_flight += 1;
        assert!(
            !self.is_first_round || now - self.begin >= STAGGER * (self.in_flight - 1),
            "attempts were not staggered"
        );
    }

    fn failed(&mut self, pick: Pick) {
        self.in_flight -= 1;
        if let Some(at) = self.waiting.iter().position(|&other| other == pick) {
            self.waiting.remove(at);
        }
    }
}

impl World {
    /// A client's dial, on a clock of its own: dials overlap with what happens around.
    pub(crate) fn dial(&mut self) {
        self.seen.dials += 1;
        let order = self.order();
        let behaviours = order
            .first
            .iter()
            .map(|pick| self.servers[pick.server].behaviour);
        let behaviours: Vec<_> = behaviours.collect();
        let reachable = behaviours.iter().any(|behaviour| behaviour.accepts());
        let holes = behaviours
            .iter()
            .filter(|&&behaviour| behaviour == Behaviour::BlackHole);
        let holes = u32::try_from(holes.count()).unwrap();
        let tried = u32::try_from(order.first.len()).unwrap();
        let anybody = self.servers.iter().any(|server| self.serves(server));
        let lists = self.seen.lists;

        let mut attempts = Attempts::new(&order, self.now);
        let mut plan = DialPlan::in_rounds(order, self.now, DIAL_TIMEOUT);
        let mut clock = self.now;
        let mut told = Vec::new();
        let connected = loop {
            match plan.step(clock) {
                Step::Start(pick) => {
                    attempts.start(pick, clock);
                    let behaviour = self.servers[pick.server].behaviour;
                    if let Some((after, accepted)) = behaviour.attempt(&mut self.rng) {
                        attempts.ends.push((clock + after, pick, accepted));
                    }
                }
                Step::WaitUntil(moment) => {
                    assert!(moment > clock, "the plan asks to wait for the past");
                    attempts.ends.sort_by_key(|&(at, ..)| std::cmp::Reverse(at));
                    match attempts.ends.pop_if(|end| end.0 <= moment) {
                        Some((at, pick, true)) => {
                            clock = at;
                            self.connect(pick);
                            break true;
                        }
                        Some((at, pick, false)) => {
                            clock = at;
                            attempts.failed(pick);
                            plan.failed(clock);
                            // As a worker does: what is known is not told in each round.
                            if !told.contains(&pick.id) {
                                told.push(pick.id);
                                self.dial_failed(pick);
                            }
                        }
                        None => clock = moment,
                    }
                }
                Step::Choose => {
                    if self.rng.random_ratio(1, 50) {
                        self.change_a_list();
                    }
                    let order = self.order();
                    attempts.again(&order, clock);
                    plan.again(order, clock, ROUND);
                }
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
            let limit = STAGGER * holes + Duration::from_millis(50);
            assert!(took <= limit, "{took:?} for {holes} black holes");
        }
        if anybody && self.seen.lists == lists {
            assert!(
                connected,
                "a server that accepts was not tried in any round"
            );
            let limit = PATIENCE + STAGGER * tried + ROUND;
            assert!(took <= limit, "{took:?} until the last resort was tried");
        }
    }

    /// Whether a client's connection to it succeeds, if it is tried.
    fn serves(&self, server: &Server) -> bool {
        server.behaviour.accepts() && self.may_be_dialled(server)
    }

    fn may_be_dialled(&self, server: &Server) -> bool {
        let member = server.member.as_ref();
        member.is_some_and(|member| member.is_verified || !self.health.verifies())
    }

    /// Whom a client may dial now, best first.
    fn order(&mut self) -> Order<Pick> {
        let choices = self.snapshot.choices(LISTENER);
        let candidates: Vec<Candidate> = choices.iter().map(|choice| choice.candidate()).collect();
        let turn = usize::try_from(self.seen.dials).unwrap();
        let order = choose::order(self.balance, &candidates, turn, &mut self.rng);
        let pick = |&at: &usize| Pick {
            server: index(&choices[at].address),
            id: choices[at].id,
        };
        let picks = Order {
            first: order.first.iter().map(pick).collect(),
            last_resort: order.last_resort.iter().map(pick).collect(),
        };
        let is_down = |&at: &usize| candidates[at].state == State::Down;
        assert!(
            order.first.iter().all(is_down) || !order.first.iter().any(is_down),
            "one that is down was among the first choices"
        );
        self.check_order(&picks);
        if let Some(&head) = order.first.first() {
            self.check_balance(head, &candidates, turn);
        }
        picks
    }

    /// It has all that may be dialled and nobody else, and those that are well come first.
    fn check_order(&self, order: &Order<Pick>) {
        let all = order.first.iter().chain(&order.last_resort);
        let mut chosen: Vec<usize> = all.map(|pick| pick.server).collect();
        chosen.sort_unstable();
        let dialable = |&index: &usize| self.may_be_dialled(&self.servers[index]);
        let wanted: Vec<usize> = (0..self.servers.len()).filter(dialable).collect();
        assert_eq!(chosen, wanted, "others were chosen than may be dialled");
        assert_eq!(
            order.first.is_empty(),
            wanted.is_empty(),
            "a client was left without a choice"
        );

        let is_well = |server: &Server| {
            server.behaviour == Behaviour::Accepts && self.is_quiet(server) && self.serves(server)
        };
        if self.servers.iter().any(is_well) {
            let head = &self.servers[order.first[0].server];
            let is_bad = head.behaviour.is_dead() || head.behaviour == Behaviour::Drains;
            assert!(
                !is_bad || !self.is_quiet(head),
                "{:?} was preferred to one that is well",
                head.behaviour
            );
        }
    }

    /// Among equals the head is whom the balance wants.
    fn check_balance(&mut self, head: usize, candidates: &[Candidate], turn: usize) {
        let is_equal =
            |candidate: &Candidate| candidate.dialable && candidate.state == candidates[head].state;
        let equals = candidates
            .iter()
            .enumerate()
            .filter(|(_, candidate)| is_equal(candidate));
        let equals: Vec<usize> = equals.map(|(at, _)| at).collect();
        if equals.len() == 1 {
            return;
        }
        match self.balance {
            Balance::LeastLoaded => {
                let others = equals.iter().filter(|&&at| at != head);
                let most = others.map(|&at| candidates[at].load).max();
                assert!(
                    Some(candidates[head].load) <= most,
                    "the most loaded was chosen"
                );
            }
            Balance::RoundRobin => {
                let now = (turn, equals, head);
                if let Some((turn, equals, head)) = self.last_turn.replace(now.clone())
                    && turn + 1 == now.0
                    && equals == now.1
                {
                    assert_ne!(head, now.2, "it was the turn of another one");
                }
            }
            Balance::Random => {}
        }
    }

    /// A client stays connected, or is gone at once.
    fn connect(&mut self, pick: Pick) {
        let stays = self.rng.random_ratio(1, 4);
        let choices = self.snapshot.choices(LISTENER);
        let choice = choices.iter().find(|choice| choice.id == pick.id);
        if let Some(choice) = choice.filter(|_| stays) {
            let connection = (choice.traffic.enter(), choice.epoch, self.now);
            let member = self.member(pick.server);
            if member.connections.len() < MAX_CONNECTIONS {
                member.connections.push(connection);
            }
        }
    }

    fn dial_failed(&mut self, pick: Pick) {
        let event = Event::DialFailed { upstream: pick.id };
        let now = self.now;
        let member = self.servers[pick.server].member.as_mut();
        let Some(member) = member.filter(|member| member.id == pick.id) else {
            return self.handle_stale(&event);
        };
        member.spoken_against = Some(now);
        let actions = self.core.handle(&event, now);
        let is_judged = |action: &Action| {
            matches!(
                action,
                Action::Changed {
                    to: State::Down,
                    ..
                }
            )
        };
        assert!(
            !actions.iter().any(is_judged),
            "a client's dial was taken for a probe"
        );
        self.take(actions);
    }
}

const MAX_CONNECTIONS: usize = 4;
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
