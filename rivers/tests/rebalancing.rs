//! A cluster of a thousand nodes and three API servers, one of which comes back: its connections drift to
//! it, evenly and slowly.
//!
//! A run prints its seed; `SIMULATION_SEED=n` repeats it.

use std::{
    env,
    time::{Duration, Instant},
};

use rand::{Rng, RngExt, SeedableRng, rngs::SmallRng};
use rivers::{
    config::{Health, Pace, address::Address},
    decide::{
        Core, Id, ListenerId,
        rebalance::{EVERY, Rebalance, Share},
    },
};

#[test]
fn ten_minutes_after_a_server_came_back_the_spread_is_even_and_few_were_moved_at_a_time() {
    let seed =
        env::var("SIMULATION_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("SIMULATION_SEED={seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let begin = Instant::now();
    let ids = ids(begin);
    let mut nodes: Vec<Node> = (0..NODES)
        .map(|_| Node::new(&ids, begin, &mut rng))
        .collect();
    // So long has nothing been owed to anybody.
    let start = begin + Duration::from_secs(3_600);
    nodes.iter_mut().for_each(|node| {
        node.notices = Some(start + Duration::from_millis(rng.random_range(0..3_000)));
    });
    let all: usize = nodes.iter().map(Node::connections).sum();

    let mut moved = Vec::new();
    for second in 1..=600 {
        let now = start + EVERY * second;
        moved.push(
            nodes
                .iter_mut()
                .filter_map(|node| node.second(now, &mut rng))
                .count(),
        );
    }

    let busiest = moved
        .windows(10)
        .map(|window| window.iter().sum::<usize>())
        .max()
        .unwrap();
    let servers: Vec<usize> = (0..SERVERS)
        .map(|server| {
            nodes
                .iter()
                .map(|node| node.shares[server].connections)
                .sum()
        })
        .collect();
    println!("{all} connections; at most {busiest} moved in ten seconds; at the end {servers:?}");
    assert!(
        busiest * 100 <= all,
        "{busiest} of {all} connections were moved within ten seconds"
    );
    let even = all / SERVERS;
    for count in servers {
        assert!(
            count.abs_diff(even) * 10 <= even,
            "{count} connections, {even} would be even"
        );
    }
}

/// One rivers. The last server has been away so long that nobody has a connection to it.
struct Node {
    shares: Vec<Share>,
    rebalance: Rebalance,
    /// When it notices that the server is back.
    notices: Option<Instant>,
}

impl Node {
    fn new(ids: &[Id], now: Instant, rng: &mut SmallRng) -> Self {
        let mut shares: Vec<Share> = ids.iter().map(|&id| Share { id, connections: 0 }).collect();
        for _ in 0..rng.random_range(1..20) {
            shares[rng.random_range(0..SERVERS - 1)].connections += 1;
        }
        Self {
            shares,
            rebalance: Rebalance::new(Pace::default(), now),
            notices: None,
        }
    }

    fn connections(&self) -> usize {
        self.shares.iter().map(|share| share.connections).sum()
    }

    /// A second passes; `Some` when a connection was moved.
    fn second(&mut self, now: Instant, rng: &mut impl Rng) -> Option<()> {
        if self.notices.is_some_and(|at| at <= now) {
            self.notices = None;
            let back = self.shares[SERVERS - 1].id;
            self.rebalance.came_back(back, &self.shares, now, rng);
        }
        self.rebalance.settle(&self.shares);
        self.rebalance.wake().filter(|&at| at <= now)?;
        let due = self.rebalance.tick(now, &self.shares)?;
        // Now and then no connection is quiet.
        if rng.random_ratio(1, 5) {
            return None;
        }
        self.rebalance.moved(due.to);
        for share in &mut self.shares {
            share.connections -= usize::from(share.id == due.from);
            share.connections += usize::from(share.id == due.to);
        }
        Some(())
    }
}

/// Only a core gives out ids.
fn ids(now: Instant) -> Vec<Id> {
    let addresses: Vec<Address> = (1..=SERVERS)
        .map(|n| format!("10.9.0.{n}:6443").parse().unwrap())
        .collect();
    let mut core = Core::new(1);
    core.listen(ListenerId(0), &addresses, Health::default(), now);
    core.snapshot()
        .choices(ListenerId(0))
        .iter()
        .map(|choice| choice.id)
        .collect()
}

const NODES: usize = 1_000;
const SERVERS: usize = 3;
