//! Runs rivers and others under the same load, one after the other, several times over, and prints one table
//! of what each cost: CPU time of the proxy for a unit of work, medians of the rounds. `bench/side_by_side`
//! builds everything and pins this program, load included, to the second core.
//!
//! Usage: `side_by_side [ROUNDS [SECONDS]]`

use std::collections::BTreeMap;
use std::env;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use bench::load::{self, Kind};
use bench::proxy::{Proxy, Running};
use bench::tls::Tls;

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1).map(|word| word.parse::<u32>());
    let rounds = arguments.next().and_then(Result::ok).unwrap_or(3);
    let seconds = arguments.next().and_then(Result::ok).unwrap_or(3);
    let scene = Scene {
        time: Duration::from_secs(seconds.into()),
        plain: load::serve()?,
        encrypted: None,
        tls: Tls::new(),
    };
    let scene = Scene {
        encrypted: Some(load::serve_tls(&scene.tls)?),
        ..scene
    };
    let mut figures: BTreeMap<(usize, usize), Vec<f64>> = BTreeMap::new();
    for round in 1..=rounds {
        for (column, proxy) in Proxy::ALL.into_iter().enumerate() {
            for (row, test) in TESTS.iter().enumerate() {
                let figure = scene.measure(proxy, test.what)?;
                eprintln!(
                    "round {round}: {}: {}: {figure:.2}",
                    proxy.name(),
                    test.name
                );
                figures.entry((row, column)).or_default().push(figure);
            }
        }
    }
    print(&mut figures);
    Ok(())
}

/// One row of the table.
struct Test {
    name: &'static str,
    what: What,
    /// What rivers is to reach, as a share of what HAProxy needs.
    goal: Goal,
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

enum Goal {
    OfHaproxy(f64),
    AtMost(f64),
}

const TESTS: [Test; 10] = [
    Test {
        name: "bulk up, 1 stream, CPU ms/GB",
        what: What::Bulk(Kind::Up, 1),
        goal: Goal::OfHaproxy(0.65),
    },
    Test {
        name: "bulk down, 1 stream, CPU ms/GB",
        what: What::Bulk(Kind::Down, 1),
        goal: Goal::OfHaproxy(0.65),
    },
    Test {
        name: "bulk up, 8 streams, CPU ms/GB",
        what: What::Bulk(Kind::Up, 8),
        goal: Goal::OfHaproxy(0.45),
    },
    Test {
        name: "bulk down, 8 streams, CPU ms/GB",
        what: What::Bulk(Kind::Down, 8),
        goal: Goal::OfHaproxy(0.45),
    },
    Test {
        name: "128 B there and back, 1 connection, CPU µs",
        what: What::PingPong(1),
        goal: Goal::OfHaproxy(0.75),
    },
    Test {
        name: "128 B there and back, 64 connections, CPU µs",
        what: What::PingPong(64),
        goal: Goal::OfHaproxy(0.88),
    },
    Test {
        name: "short connection, CPU µs",
        what: What::Short,
        goal: Goal::OfHaproxy(0.9),
    },
    Test {
        name: "TLS request, 64 connections, CPU µs",
        what: What::Requests,
        goal: Goal::OfHaproxy(0.7),
    },
    Test {
        name: "memory at start, KiB",
        what: What::Base,
        goal: Goal::AtMost(6.0 * 1024.0),
    },
    Test {
        name: "memory of an idle connection, bytes",
        what: What::Idle,
        goal: Goal::AtMost(512.0),
    },
];

struct Scene {
    time: Duration,
    plain: SocketAddr,
    encrypted: Option<SocketAddr>,
    tls: Tls,
}

impl Scene {
    fn measure(&self, proxy: Proxy, what: What) -> io::Result<f64> {
        let folder = tempfile::tempdir()?;
        let upstream = match (what, self.encrypted) {
            (What::Requests, Some(encrypted)) => encrypted,
            _ => self.plain,
        };
        let running = proxy.start(upstream, folder.path())?;
        // Its first health check, if it has one, and what else comes with a start.
        thread::sleep(Duration::from_millis(300));
        let listen = running.listen;
        match what {
            What::Bulk(kind, streams) => {
                let (cpu, bytes) =
                    spent(&running, || load::bulk(listen, kind, streams, self.time))?;
                Ok(cpu / 1e3 / (bytes / 1e9))
            }
            What::PingPong(connections) => {
                let (cpu, count) =
                    spent(&running, || load::ping_pong(listen, connections, self.time))?;
                Ok(cpu / count)
            }
            What::Short => {
                let (cpu, count) = spent(&running, || load::short(listen, 8, self.time))?;
                Ok(cpu / count)
            }
            What::Requests => {
                let (cpu, count) = spent(&running, || {
                    load::requests(listen, &self.tls, 64, self.time)
                })?;
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

fn print(figures: &mut BTreeMap<(usize, usize), Vec<f64>>) {
    let names: Vec<&str> = Proxy::ALL.iter().map(|proxy| proxy.name()).collect();
    println!("| | {} | rivers ÷ HAProxy | goal | |", names.join(" | "));
    println!("|{}", "---|".repeat(names.len() + 4));
    for (row, test) in TESTS.iter().enumerate() {
        let medians: Vec<f64> = (0..names.len())
            .map(|column| {
                figures
                    .get_mut(&(row, column))
                    .map_or(0.0, |all| median(all))
            })
            .collect();
        let rivers = medians[names.len() - 1];
        let share = rivers / medians[0];
        let (goal, is_reached) = match test.goal {
            Goal::OfHaproxy(goal) => (format!("{goal} ×"), share <= goal),
            Goal::AtMost(most) => (format!("{most:.0}"), rivers <= most),
        };
        let cells: Vec<String> = medians
            .iter()
            .map(|median| format!("{median:.1}"))
            .collect();
        println!(
            "| {} | {} | {share:.2} | {goal} | {} |",
            test.name,
            cells.join(" | "),
            if is_reached { "reached" } else { "**missed**" }
        );
    }
}

fn median(all: &mut [f64]) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nobody looks at the sixteenth digit"
)]
fn to_float(number: u64) -> f64 {
    number as f64
}

const IDLE: usize = 5_000;
