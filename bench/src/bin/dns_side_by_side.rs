//! Runs nodedns and others under the same questions, one after the other, several times over, and prints one
//! table of what each cost: CPU time of the server for a question. `bench/dns_side_by_side` builds everything
//! and pins this program, clients and name server included, to the second core.
//!
//! Others use the machine meanwhile. So all servers do the same test one right after the other, in another
//! order each round; what is compared is the ratio of two that ran in the same round, and of all rounds the
//! median.
//!
//! Usage: `dns_side_by_side [ROUNDS [SECONDS [WORD]]]`; with a word, only the rows that have it in their names.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bench::chart;
use bench::dns::ask::{self, Asked, End};
use bench::dns::questions::question;
use bench::dns::server::{Server, Started};
use bench::dns::zones::{HASHED, NAMES, PLAIN, SIGNED, Zones};
use bench::figures::{self, Arguments, Figures, Goal, to_float};

fn main() -> io::Result<()> {
    let Arguments { rounds, time, word } = Arguments::read();
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.name.contains(&word)).collect();
    let folder = tempfile::tempdir()?;
    let scene = Scene {
        time,
        zones: Zones::serve(
            "127.0.0.53:5300".parse().map_err(io::Error::other)?,
            folder.path(),
        )?,
    };
    let mut figures = Figures::default();
    let mut lost = BTreeMap::new();
    for round in 0..rounds {
        for row in &rows {
            for place in 0..ALL.len() {
                let server = ALL[(place + round) % ALL.len()];
                if !row.is_for(server) {
                    continue;
                }
                if server.program().is_none() {
                    eprintln!("skipped: {} is not on this machine", server.name());
                    continue;
                }
                let (figure, asked) = scene.measure(server, row.what)?;
                eprintln!(
                    "round {}: {}: {}: {figure:.2} ({} answered, {} lost, {} empty)",
                    round + 1,
                    row.name,
                    server.name(),
                    asked.answered,
                    asked.lost,
                    asked.empty,
                );
                figures.add(row.name, server.name(), figure);
                *lost.entry((row.name, server.name())).or_insert(0) += asked.lost + asked.empty;
            }
        }
    }
    let names = ALL.map(Server::name);
    let rows: Vec<(&str, &[Goal])> = rows.iter().map(|row| (row.name, row.goals)).collect();
    let ours = Server::Nodedns.name();
    figures::print(&figures, &rows, &names, ours);
    let rows: Vec<&str> = rows.iter().map(|(name, _)| *name).collect();
    let what = "CPU time of the server for a question; memory; first answer";
    chart::write(&figures, what, &rows, &names, ours)?;
    for ((row, server), count) in lost.iter().filter(|(_, count)| **count > 0) {
        println!("{row}: {server} lost, or answered without data, {count} questions");
    }
    Ok(())
}

/// One row of the table.
struct Row {
    name: &'static str,
    what: What,
    goals: &'static [Goal],
}

#[derive(Clone, Copy)]
enum What {
    Hits {
        signed: bool,
    },
    HitsAtRate(u32),
    TcpHits,
    Misses {
        signed: bool,
    },
    /// Names that do not exist, or that only a wildcard has, of a signed zone.
    Unheard(Unheard),
    Memory {
        signed: bool,
    },
    FirstAnswer,
}

#[derive(Clone, Copy)]
enum Unheard {
    Nsec,
    Nsec3,
    Wildcard,
}

impl Row {
    fn is_for(&self, server: Server) -> bool {
        let is_echo = matches!(server, Server::Echo(_));
        match self.what {
            What::Hits { signed: true }
            | What::Misses { signed: true }
            | What::Unheard(_)
            | What::Memory { signed: true } => {
                is_echo && matches!(self.what, What::Hits { .. }) || server.validates()
            }
            What::Hits { .. } | What::HitsAtRate(_) => true,
            What::TcpHits | What::Misses { .. } | What::Memory { .. } | What::FirstAnswer => {
                !is_echo
            }
        }
    }
}

struct Scene {
    time: Duration,
    zones: Zones,
}

impl Scene {
    fn measure(&self, server: Server, what: What) -> io::Result<(f64, Asked)> {
        let folder = tempfile::tempdir()?;
        let server = match (server, what) {
            (Server::Echo(_), What::Hits { signed: true }) => Server::Echo(SIGNED_ANSWER),
            (other, _) => other,
        };
        let started = server.start(&self.zones, folder.path())?;
        match what {
            What::Hits { signed } => {
                let hot = questions(if signed { SIGNED } else { PLAIN }, 0..HOT, signed);
                warm(&started, &hot)?;
                spent(&started, || {
                    ask::udp(started.address, &hot, WINDOW, End::After(self.time))
                })
            }
            What::HitsAtRate(rate) => {
                let hot = questions(PLAIN, 0..HOT, false);
                warm(&started, &hot)?;
                spent(&started, || {
                    ask::paced(started.address, &hot, rate, self.time)
                })
            }
            What::TcpHits => {
                let hot = questions(PLAIN, 0..HOT, false);
                warm(&started, &hot)?;
                spent(&started, || ask::tcp(started.address, &hot, 100, self.time))
            }
            What::Misses { signed } => {
                let cold = questions(if signed { SIGNED } else { PLAIN }, 1..MISSES, signed);
                spent(&started, || {
                    ask::udp(started.address, &cold, 4, End::AllOnce)
                })
            }
            What::Unheard(which) => {
                let cold: Vec<_> = (0..MISSES)
                    .map(|number| {
                        // Between a hundred names of the zone and those that follow.
                        let gap = number % 100;
                        let name = match which {
                            Unheard::Nsec => format!("n{gap}x{number}.{SIGNED}"),
                            Unheard::Nsec3 => format!("x{number}.{HASHED}"),
                            Unheard::Wildcard => format!("x{number}.wild.{SIGNED}"),
                        };
                        question(&name, true)
                    })
                    .collect();
                spent(&started, || {
                    ask::udp(started.address, &cold, 4, End::AllOnce)
                })
            }
            What::Memory { signed } => {
                let all = questions(if signed { SIGNED } else { PLAIN }, 1..NAMES, signed);
                let before = started.running.memory()?;
                let asked = ask::udp(started.address, &all, 8, End::AllOnce)?;
                let more = started.running.memory()?.saturating_sub(before);
                let kept = to_float(asked.answered.max(1)) / 100_000.0;
                Ok((to_float(more) / kept / f64::from(1 << 20), asked))
            }
            What::FirstAnswer => Ok((started.first_answer.as_secs_f64() * 1e3, Asked::default())),
        }
    }
}

/// The CPU time that the server spent on each answer, in µs.
fn spent(started: &Started, work: impl FnOnce() -> io::Result<Asked>) -> io::Result<(f64, Asked)> {
    let before = started.running.cpu()?;
    let asked = work()?;
    let spent = started.running.cpu()? - before;
    Ok((spent.as_secs_f64() * 1e6 / to_float(asked.answered), asked))
}

/// Has the server learn all answers, and what it needs to know to validate them.
fn warm(started: &Started, questions: &[Vec<u8>]) -> io::Result<()> {
    for _ in 0..2 {
        ask::udp(started.address, questions, 2, End::AllOnce)?;
    }
    Ok(())
}

fn questions(zone: &str, numbers: std::ops::Range<u32>, dnssec_ok: bool) -> Vec<Vec<u8>> {
    numbers
        .map(|number| question(&format!("n{number}.{zone}"), dnssec_ok))
        .collect()
}

const ALL: [Server; 8] = [
    Server::Echo(PLAIN_ANSWER),
    Server::Unbound,
    Server::Knot,
    Server::PowerDns,
    Server::Bind,
    Server::Dnsdist,
    Server::CoreDns,
    Server::Nodedns,
];

const ROWS: [Row; 12] = [
    Row {
        name: "hit, UDP, µs",
        what: What::Hits { signed: false },
        goals: &[
            Goal::Of("echo", 1.15),
            Goal::Of("unbound", 0.75),
            Goal::Of("CoreDNS", 1.0 / 7.0),
        ],
    },
    Row {
        name: "hit, UDP, DO, signed, µs",
        what: What::Hits { signed: true },
        goals: &[Goal::Of("unbound", 0.65)],
    },
    Row {
        name: "hit, UDP, 20,000 a second, µs",
        what: What::HitsAtRate(20_000),
        goals: &[Goal::Of("echo", 1.1)],
    },
    Row {
        name: "hit, TCP, 100 at once, µs",
        what: What::TcpHits,
        goals: &[Goal::Of("unbound", 0.3)],
    },
    Row {
        name: "miss, plain, µs",
        what: What::Misses { signed: false },
        goals: &[Goal::Of("unbound", 0.55)],
    },
    Row {
        name: "miss, validated, µs",
        what: What::Misses { signed: true },
        goals: &[Goal::Of("unbound", 0.55)],
    },
    Row {
        name: "name error, NSEC3, µs",
        what: What::Unheard(Unheard::Nsec3),
        goals: &[Goal::Of("unbound", 0.75)],
    },
    Row {
        name: "name error, NSEC, µs",
        what: What::Unheard(Unheard::Nsec),
        goals: &[Goal::Of("unbound", 0.8)],
    },
    Row {
        name: "answer of a wildcard, NSEC, µs",
        what: What::Unheard(Unheard::Wildcard),
        goals: &[Goal::AtMost(25.0)],
    },
    Row {
        name: "memory of 100,000 plain names, MiB",
        what: What::Memory { signed: false },
        goals: &[Goal::AtMost(32.0)],
    },
    Row {
        name: "memory of 100,000 signed names, MiB",
        what: What::Memory { signed: true },
        goals: &[Goal::AtMost(50.0)],
    },
    Row {
        name: "first answer after the start, ms",
        what: What::FirstAnswer,
        goals: &[Goal::AtMost(30.0)],
    },
];

/// Names that are asked for again and again.
const HOT: u32 = 1_000;
/// Questions at once on each of eight sockets.
const WINDOW: usize = 32;
const MISSES: u32 = 20_000;
/// Bytes of an answer to a question of [`questions`].
const PLAIN_ANSWER: usize = 61;
const SIGNED_ANSWER: usize = 180;
