//! What the steps to an answer cost nodedns: reading a query, finding its answer among 100,000 and fitting it to the
//! query, keeping an answer, and validating one.

use std::fs;
use std::hint::black_box;
use std::path::Path;

use bench::dns::questions::{answer, question};
use criterion::{Criterion, criterion_group, criterion_main};
use nodedns::measured::{Answers, Chain, parse};

fn hits(criterion: &mut Criterion) {
    let answers = Answers::new(256 << 20);
    let packets: Vec<_> = (0..NAMES).map(|number| packet(number, false)).collect();
    for packet in &packets {
        answers.insert(packet, &answer(packet)).expect("an answer");
    }
    // Not the same one again and again, of which all is in the processor's cache.
    let mut next = packets.iter().step_by(7).cycle();
    criterion.bench_function("parse a query", |bencher| {
        bencher.iter(|| assert!(parse(black_box(&packets[1]))));
    });
    criterion.bench_function("parse, and look up among 100,000", |bencher| {
        bencher.iter(|| assert!(answers.look_up(next.next().expect("a cycle"))));
    });
    let mut out = Vec::with_capacity(512);
    criterion.bench_function("parse, look up, and patch: a hit", |bencher| {
        bencher.iter(|| {
            let packet = next.next().expect("a cycle");
            answers.answer(&mut out, packet).expect("a hit");
            black_box(&out);
        });
    });
}

fn inserts(criterion: &mut Criterion) {
    let packets: Vec<_> = (0..NAMES)
        .map(|number| {
            let packet = packet(number, false);
            (answer(&packet), packet)
        })
        .collect();
    let mut next = packets.iter().cycle();
    for (name, bytes) in [
        ("insert", 256 << 20),
        ("insert into a cache that is full", 4 << 20),
    ] {
        let answers = Answers::new(bytes);
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                let (answer, packet) = next.next().expect("a cycle");
                answers.insert(packet, answer).expect("an answer");
            });
        });
    }
}

fn validation(criterion: &mut Criterion) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/seeds/validation");
    for name in ["data", "name-error", "wildcard"] {
        let recorded = fs::read(seeds.join(format!("secure-{name}"))).expect("a recorded answer");
        let chain = Chain::read(&recorded).expect("it is secure");
        criterion.bench_function(&format!("validate {name}, keys known"), |bencher| {
            bencher.iter(|| assert!(chain.judge_with_known_keys()));
        });
        criterion.bench_function(&format!("validate {name}, from the root"), |bencher| {
            bencher.iter(|| assert!(chain.judge_from_the_root()));
        });
    }
}

fn packet(number: u32, dnssec_ok: bool) -> Vec<u8> {
    question(&format!("n{number}.plain.test."), dnssec_ok)
}

const NAMES: u32 = 100_000;

criterion_group!(benches, hits, inserts, validation);
criterion_main!(benches);
