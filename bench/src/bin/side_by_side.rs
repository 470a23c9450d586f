//! Runs rivers and others under the same load, one after the other, several times over, and prints one table
//! of what each cost: CPU time of the proxy for a unit of work. `bench/side_by_side` builds everything and
//! pins this program, load included, to the second core.
//!
//! Others use the machine meanwhile. So all proxies do the same test one right after the other, in another
//! order each round; what is compared is the ratio of two that ran in the same round, and of all rounds the
//! median.
//!
//! Usage: `side_by_side [ROUNDS [SECONDS [WORD]]]`; with a word, only the rows that have it in their names.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use bench::chart;
use bench::figures::{self, Arguments, Figures, Goal, to_float};
use bench::load::{self, Kind};
use bench::process::Running;
use bench::proxy::Proxy;
use bench::tls::Tls;

fn main() -> io::Result<()> {
    let Arguments { rounds, time, word } = Arguments::read();
    let tests: Vec<&Test> = TESTS.iter().filter(|it| it.name.contains(&word)).collect();
    let tls = Tls::new();
    let scene = Scene {
        time,
        plain: load::serve()?,
        encrypted: load::serve_tls(&tls)?,
        tls,
    };
    let mut figures = Figures::default();
    for round in 0..rounds {
        for test in &tests {
            for place in 0..Proxy::ALL.len() {
                let proxy = Proxy::ALL[(place + round) % Proxy::ALL.len()];
                let figure = scene.measure(proxy, test.what)?;
                eprintln!(
                    "round {}: {}: {}: {figure:.2}",
                    round + 1,
                    test.name,
                    proxy.name()
                );
                figures.add(test.name, proxy.name(), figure);
            }
        }
    }
    let rows: Vec<(&str, &[Goal])> = tests.iter().map(|it| (it.name, it.goals)).collect();
    let names = Proxy::ALL.map(Proxy::name);
    let ours = Proxy::Rivers.name();
    figures::print(&figures, &rows, &names, ours);
    let rows: Vec<&str> = rows.iter().map(|(name, _)| *name).collect();
    let what = "CPU time of the proxy for a unit of work; memory";
    chart::write(&figures, what, &rows, &names, ours)
}

/// One row of the table.
struct Test {
    name: &'static str,
    what: What,
    /// What rivers is to reach.
    goals: &'static [Goal],
}

#[derive(Clone, Copy)]
enum What {
    Bulk(Kind, usize),
    PingPong(usize),
    Short,
    Requests,
    Base,
    Idle,
}

const TESTS: [Test; 10] = [
    Test {
        name: "bulk up, 1 stream, CPU ms/GB",
        what: What::Bulk(Kind::Up, 1),
        goals: &ONE_STREAM,
    },
    Test {
        name: "bulk down, 1 stream, CPU ms/GB",
        what: What::Bulk(Kind::Down, 1),
        goals: &ONE_STREAM,
    },
    Test {
        name: "bulk up, 8 streams, CPU ms/GB",
        what: What::Bulk(Kind::Up, 8),
        goals: &EIGHT_STREAMS,
    },
    Test {
        name: "bulk down, 8 streams, CPU ms/GB",
        what: What::Bulk(Kind::Down, 8),
        goals: &EIGHT_STREAMS,
    },
    Test {
        name: "128 B there and back, 1 connection, CPU µs",
        what: What::PingPong(1),
        goals: &[Goal::Of(Proxy::Haproxy.name(), 0.75)],
    },
    Test {
        name: "128 B there and back, 64 connections, CPU µs",
        what: What::PingPong(64),
        goals: &[Goal::Of(Proxy::Haproxy.name(), 0.88)],
    },
    Test {
        name: "short connection, CPU µs",
        what: What::Short,
        goals: &[Goal::Of(Proxy::Haproxy.name(), 0.9)],
    },
    Test {
        name: "TLS request, 64 connections, CPU µs",
        what: What::Requests,
        goals: &[Goal::Of(Proxy::Haproxy.name(), 0.7)],
    },
    Test {
        name: "memory at start, KiB",
        what: What::Base,
        goals: &[Goal::AtMost(6.0 * 1024.0)],
    },
    Test {
        name: "memory of an idle connection, bytes",
        what: What::Idle,
        goals: &[Goal::AtMost(512.0)],
    },
];

const ONE_STREAM: [Goal; 2] = [
    Goal::Of(Proxy::Haproxy.name(), 0.65),
    Goal::Of(Proxy::HaproxySplice.name(), 0.9),
];
const EIGHT_STREAMS: [Goal; 2] = [
    Goal::Of(Proxy::Haproxy.name(), 0.45),
    Goal::Of(Proxy::HaproxySplice.name(), 0.9),
];

struct Scene {
    time: Duration,
    plain: SocketAddr,
    encrypted: SocketAddr,
    tls: Tls,
}

impl Scene {
    fn measure(&self, proxy: Proxy, what: What) -> io::Result<f64> {
        let folder = tempfile::tempdir()?;
        let upstream = match what {
            What::Requests => self.encrypted,
            _ => self.plain,
        };
        let started = proxy.start(upstream, folder.path())?;
        // Its first health check, if it has one, and what else comes with a start.
        thread::sleep(Duration::from_millis(300));
        let (listen, running) = (started.listen, &started.running);
        match what {
            What::Bulk(kind, streams) => {
                let (cpu, bytes) = spent(running, || load::bulk(listen, kind, streams, self.time))?;
                Ok(cpu / 1e3 / (bytes / 1e9))
            }
            What::PingPong(connections) => {
                let (cpu, count) =
                    spent(running, || load::ping_pong(listen, connections, self.time))?;
                Ok(cpu / count)
            }
            What::Short => {
                let (cpu, count) = spent(running, || load::short(listen, 8, self.time))?;
                Ok(cpu / count)
            }
            What::Requests => {
                let (cpu, count) =
                    spent(running, || load::requests(listen, &self.tls, 64, self.time))?;
                Ok(cpu / count)
            }
            What::Base => Ok(to_float(running.memory()?) / 1024.0),
            What::Idle => {
                // What the first ones bring with them is not theirs.
                let first = load::idle(listen, 100)?;
                let before = running.memory()?;
                let idle = load::idle(listen, IDLE)?;
                // Those that are still open for another upstream are not idle yet.
                thread::sleep(Duration::from_millis(500));
                let more = running.memory()?.saturating_sub(before);
                drop((first, idle));
                Ok(to_float(more) / to_float(IDLE as u64))
            }
        }
    }
}

/// The CPU time that the proxy spent on some work, in µs, and how much work that was.
fn spent(running: &Running, work: impl FnOnce() -> u64) -> io::Result<(f64, f64)> {
    let before = running.cpu()?;
    let done = work();
    let spent = running.cpu()? - before;
    Ok((spent.as_secs_f64() * 1e6, to_float(done)))
}

const IDLE: usize = 5_000;
