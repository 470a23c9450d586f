//! What a client gets through rivers over loopback: throughput of one stream and of eight, each way; new
//! connections, one after the other; and the time of a message of 128 bytes there and back, on one connection
//! and on each of 64. rivers runs as it would alone, with a worker, replay, metrics and logs, on a thread of
//! this process.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use bench::load::{self, Exchanges, MESSAGE};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn relay(criterion: &mut Criterion) {
    let proxy = rivers().expect("rivers starts");
    let mut bulk = criterion.benchmark_group("bulk");
    for (way, there, back) in [("up", PORTION, 1), ("down", 1, PORTION)] {
        for streams in [1, 8] {
            bulk.throughput(Throughput::Bytes(u64::from(PORTION) * streams));
            bulk.bench_function(format!("{way}, {streams} streams"), |bencher| {
                bencher.iter_custom(|times| exchanges(proxy, streams, times, there, back));
            });
        }
    }
    bulk.finish();

    let mut messages = criterion.benchmark_group("128 B there and back");
    for connections in [1, 64] {
        messages.throughput(Throughput::Elements(connections));
        messages.bench_function(format!("{connections} connections"), |bencher| {
            bencher.iter_custom(|times| exchanges(proxy, connections, times, SMALL, SMALL));
        });
    }
    messages.finish();

    criterion.bench_function("connect, 128 B there and back, reset", |bencher| {
        bencher.iter(|| {
            let mut client = Exchanges::connect(proxy).expect("rivers accepts clients");
            client.exchange(SMALL, SMALL).expect("rivers serves");
            client.reset().expect("a socket can be told how to end");
        });
    });
}

/// How long it takes until each of so many clients has made so many exchanges.
fn exchanges(proxy: SocketAddr, clients: u64, times: u64, there: u32, back: u32) -> Duration {
    let connect = |_| Exchanges::connect(proxy).expect("rivers accepts clients");
    let mut clients: Vec<_> = (0..clients).map(connect).collect();
    let begin = Instant::now();
    thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(move || {
                for _ in 0..times {
                    client.exchange(there, back).expect("rivers serves");
                }
            });
        }
    });
    let took = begin.elapsed();
    for client in clients {
        client.reset().expect("a socket can be told how to end");
    }
    took
}

/// Starts rivers before a server, and waits until it accepts clients.
fn rivers() -> Result<SocketAddr, Box<dyn Error>> {
    let server = load::serve()?;
    let listen = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("rivers.yml");
    let configuration = format!(
        "listeners:\n- listen: \"{listen}\"\n  upstreams: [\"{server}\"]\nadmin: \"off\"\nworkers: 1\nlog: {{level: warn}}\n"
    );
    std::fs::write(&file, configuration)?;
    let command = [
        "rivers".into(),
        "--config".into(),
        file.into(),
        "--run-dir".into(),
        folder.path().join("run").into(),
        "--state-dir".into(),
        folder.path().join("state").into(),
    ];
    thread::spawn(move || {
        // Kept as long as rivers runs, which is until the benchmark ends.
        let _folder = folder;
        rivers::run(command)
    });
    let deadline = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(listen).is_err() {
        if Instant::now() > deadline {
            return Err("rivers accepts nobody".into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(listen)
}

/// Long enough that a stream is bulk nearly all the time.
const PORTION: u32 = 16 * 1024 * 1024;
const SMALL: u32 = MESSAGE as u32;

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = relay
}
criterion_main!(benches);
