//! Simulated worlds against the core: servers fail in every way and come back, upstreams come and go,
//! probes get lost, clients dial, and the clock is ours.
//!
//! A million steps in [`WORLDS`] worlds. The seed of a world that fails is printed; `SIMULATION_SEED=n`
//! repeats that world alone, `TEST_SCALE=n` makes each n times as long.
//!
//! What it would find was tried. These faults, planted in `decide` one at a time, each failed it:
//!
//! - `choose`: states do not order the candidates; those that are down are among the first choices while others
//!   live; nobody is left when all are down; one without a verified certificate is a candidate.
//! - `dial_plan`: a refusal does not start the next attempt; all attempts start at once.
//! - `upstream`: one that is down never collects `rise` answers; one that drained never stops doing so; one
//!   that is suspect never falls; one that never tells whether it takes clients drains for ever.
//! - `set`: one that left stays; a certificate that is no good any more stays trusted; bytes heard do not
//!   count as life.
//! - `sever`: connections are closed although no other upstream is up.

mod beliefs;
mod client;
mod members;
mod server;
mod world;

use std::{env, panic, thread};

use self::world::{Seen, World};

#[test]
fn no_fault_leaves_a_client_without_a_choice_exiles_a_healthy_server_or_brings_a_removed_one_back()
{
    let steps = STEPS * setting("TEST_SCALE").unwrap_or(1);
    if let Some(seed) = setting("SIMULATION_SEED") {
        println!("{:?}", run(seed, steps));
        return;
    }
    let first: u64 = rand::random();
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let runs = thread::scope(|scope| {
        let runs: Vec<_> = (0..threads)
            .map(|thread| {
                let worlds = (thread..WORLDS).step_by(usize::try_from(threads).unwrap());
                scope.spawn(move || {
                    let seeds = worlds.map(|world| first.wrapping_add(world));
                    seeds.map(|seed| run(seed, steps)).sum::<Seen>()
                })
            })
            .collect();
        runs.into_iter()
            .map(|run| run.join())
            .collect::<Result<Vec<_>, _>>()
    });
    let seen: Seen = runs
        .unwrap_or_else(|panic| panic::resume_unwind(panic))
        .into_iter()
        .sum();
    println!("{seen:?}");
    seen.assert_something_of_everything();
}

/// One world from begin to end; tells the seed if it fails.
fn run(seed: u64, steps: u64) -> Seen {
    let mut world = World::new(seed);
    let outcome = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        world.start();
        for _ in 0..steps {
            world.step();
        }
    }));
    if let Err(failure) = outcome {
        eprintln!(
            "it failed at {:?}: repeat it with SIMULATION_SEED={seed}",
            world.seen
        );
        panic::resume_unwind(failure);
    }
    world.seen
}

fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap())
}

const WORLDS: u64 = 100;
/// Of one world; together a million.
const STEPS: u64 = 10_000;
