//! What deciding costs a connection: the order of three upstreams, and a plan that a refusal moves on.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rivers::config::Balance;
use rivers::decide::State;
use rivers::decide::choose::{Candidate, order};
use rivers::decide::dial_plan::{DialPlan, Step};

fn dial_plan(criterion: &mut Criterion) {
    let candidates = [7, 5, 9].map(|load| Candidate {
        state: State::Up,
        dialable: true,
        load,
    });
    let now = Instant::now();
    let mut rng = SmallRng::seed_from_u64(1);
    criterion.bench_function(
        "choose among three, and dial past one that refuses",
        |bencher| {
            bencher.iter(|| {
                let order = order(Balance::LeastLoaded, black_box(&candidates), 0, &mut rng);
                let mut plan = DialPlan::new(order, now, Duration::from_secs(10));
                let first = plan.step(now);
                plan.failed(now);
                assert!(matches!(first, Step::Start(_)));
                black_box(plan.step(now))
            });
        },
    );
}

criterion_group!(benches, dial_plan);
criterion_main!(benches);
