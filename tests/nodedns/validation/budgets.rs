//! Zones made so that their validation costs as much as possible, on a real server: what one question
//! may cost is counted, and is little.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hickory_proto::op::ResponseCode;
use hickory_proto::op::ResponseCode::{NXDomain, NoError, ServFail};
use tests::authoritative::Authoritative;
use tests::dns::{Question, RecordType};
use tests::peer::Peer;
use tests::place::Place;
use tests::resolver::Resolver;
use tests::signed::{Denial, Key, Recipe, Time, is};

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::hierarchy::{APEX, Hierarchy};
use crate::node::Node;

/// What validation has cost so far.
#[derive(Debug, Clone, Copy)]
struct Work {
    signatures: f64,
    hashes: f64,
    questions: f64,
}

impl Work {
    async fn of(node: &Node) -> Self {
        let metric = async |name: &str| node.admin.metric(name, &[]).await;
        Self {
            signatures: metric("nodedns_validation_signatures_total").await,
            hashes: metric("nodedns_validation_hashes_total").await,
            questions: metric("nodedns_trust_questions_total").await,
        }
    }
}

#[tokio::test]
async fn no_zone_makes_a_question_cost_more_than_its_budget() {
    let place = Place::loopback();
    let Some(world) = World::start(&place).await else {
        return;
    };
    let zones = world.configuration();
    let mut counted = [0.0; 3];
    for Hostile {
        name,
        kind,
        code,
        most,
        ..
    } in hostile()
    {
        // Everything has to be asked for anew.
        let node = Node::start(&place, &zones).await;
        let before = Work::of(&node).await;
        let question = Question::new(&name, kind).dnssec_ok().tcp();
        let reply = question.ask(node.address).await.unwrap();
        let after = Work::of(&node).await;
        let cost = Work {
            signatures: after.signatures - before.signatures,
            hashes: after.hashes - before.hashes,
            questions: after.questions - before.questions,
        };
        println!(
            "{name}: {} {cost:?} {:?}",
            reply.code(),
            reply.extended_errors()
        );
        assert_eq!(reply.code(), code, "{name}: {reply:?}");
        assert!(cost.signatures <= most.signatures, "{name}: {cost:?}");
        assert!(cost.hashes <= most.hashes, "{name}: {cost:?}");
        assert!(cost.questions <= most.questions, "{name}: {cost:?}");
        counted = [
            counted[0] + cost.signatures,
            counted[1] + cost.hashes,
            counted[2] + cost.questions,
        ];
    }
    assert!(counted.iter().all(|count| *count > 0.0), "{counted:?}");
}

/// Prints what each costs nodedns and unbound in CPU time, as a table; `bench/dns_hostile` has it from a
/// release build. What is asserted is that nobody else is left without an answer meanwhile.
#[tokio::test]
async fn hostile_questions_leave_other_clients_their_answers() {
    let place = Place::loopback();
    let Some(mut world) = World::start(&place).await else {
        return;
    };
    let mut columns = Vec::new();
    for server in ["nodedns", "unbound"] {
        let mut column = Vec::new();
        for hostile in hostile() {
            let Some(cost) = cost_of(&hostile, server, &mut world, &place).await else {
                return;
            };
            column.push(format!("{cost:.2?}"));
        }
        let Some((_peer, address)) = world.validating(server, &place).await else {
            return;
        };
        assert_eq!(ask_innocent(address).await, NoError);
        let flood = tokio::spawn(flood(address));
        let mut latencies = Vec::new();
        for _ in 0..200 {
            let began = Instant::now();
            assert_eq!(ask_innocent(address).await, NoError, "{server}");
            latencies.push(began.elapsed());
            sleep(Duration::from_millis(5)).await;
        }
        let hostile = flood.await.unwrap();
        latencies.sort();
        column.extend([100, 198].map(|at| format!("{:.2?}", latencies[at])));
        column.push(hostile.to_string());
        columns.push(column);
    }
    let questions = hostile().map(|hostile| hostile.what);
    let meanwhile = [
        "others' wait in a flood of hashes, median",
        "the same, 99 of 100",
        "questions of that flood",
    ];
    println!("| | nodedns | unbound |\n|---|---|---|");
    for (row, what) in questions.iter().chain(&meanwhile).enumerate() {
        println!("| {what} | {} | {} |", columns[0][row], columns[1][row]);
    }
}

/// The CPU time that `server` takes for a question, everything asked for anew: the median of three.
async fn cost_of(
    hostile: &Hostile,
    server: &str,
    world: &mut World,
    place: &Place,
) -> Option<Duration> {
    let mut costs = Vec::new();
    for _ in 0..3 {
        let (peer, address) = world.validating(server, place).await?;
        // The chain of trust down to `tld.` is no part of it.
        assert_eq!(ask_innocent(address).await, NoError);
        let before = cpu(&peer);
        let question = Question::new(&hostile.name, hostile.kind).dnssec_ok().tcp();
        // unbound lets some of them wait for longer than a client does.
        let _ = question.ask(address).await;
        costs.push(cpu(&peer) - before);
    }
    costs.sort();
    Some(costs[1])
}

/// Asks for names of the zone whose hashes cost most, each another one, 8 at a time; gives their number.
async fn flood(server: SocketAddr) -> usize {
    let began = Instant::now();
    let mut asked = 0;
    while began.elapsed() < Duration::from_millis(1_200) {
        let mut questions = JoinSet::new();
        for _ in 0..8 {
            let name = format!("x{asked}.{}hash.tld.", "a.".repeat(100));
            let question = Question::new(&name, RecordType::A).dnssec_ok();
            // What becomes of it does not matter.
            questions.spawn(async move {
                let _ = timeout(Duration::from_millis(500), question.ask(server)).await;
            });
            asked += 1;
        }
        questions.join_all().await;
    }
    asked
}

async fn ask_innocent(server: SocketAddr) -> ResponseCode {
    let question = Question::new("www.innocent.tld.", RecordType::A).dnssec_ok();
    question.ask(server).await.unwrap().code()
}

/// The CPU time of all threads of a process.
fn cpu(peer: &Peer) -> Duration {
    let tasks = format!("/proc/{}/task", peer.pid().as_raw_nonzero());
    let threads = fs::read_dir(tasks).unwrap().map(|thread| {
        let text = fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
        // proc-schedstat: nanoseconds on a CPU first.
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    });
    threads.sum()
}

/// A question that is to cost as much as possible, what is answered, and what it may cost.
struct Hostile {
    what: &'static str,
    name: String,
    kind: RecordType,
    code: ResponseCode,
    most: Work,
}

fn hostile() -> [Hostile; 5] {
    let deepest = (0..DEPTH).fold("tld.".to_owned(), |name, _| format!("z.{name}"));
    let deep_name = format!("{}hash.tld.", "a.".repeat(110));
    let hostile =
        |what, name: &str, kind, code, [signatures, hashes, questions]: [f64; 3]| Hostile {
            what,
            name: name.to_owned(),
            kind,
            code,
            most: Work {
                signatures,
                hashes,
                questions,
            },
        };
    [
        // CVE-2023-50387: none of the signatures is right.
        hostile(
            "KeyTrap: 40 keys of one tag, 60 signatures",
            "www.trap.tld.",
            RecordType::A,
            ServFail,
            [40.0, 0.0, 8.0],
        ),
        // CVE-2023-50868.
        hostile(
            "NSEC3: a name of 112 labels, 50 iterations",
            &deep_name,
            RecordType::A,
            NXDomain,
            [40.0, 160.0, 48.0],
        ),
        hostile(
            "a chain of 40 CNAMEs",
            "c0.chain.tld.",
            RecordType::A,
            ServFail,
            [60.0, 0.0, 20.0],
        ),
        hostile(
            "30 delegations, one below the other",
            &deepest,
            RecordType::TXT,
            ServFail,
            [128.0, 0.0, 48.0],
        ),
        hostile(
            "records of as much as a message holds",
            "big.tld.",
            RecordType::TXT,
            NoError,
            [20.0, 0.0, 8.0],
        ),
    ]
}

/// The zones, and who serves them.
struct World {
    server: Authoritative,
    anchors: PathBuf,
    /// Servers so far that are not ours.
    started: u8,
}

impl World {
    async fn start(place: &Place) -> Option<Self> {
        let mut tree = Hierarchy::new(place)?;
        for build in [
            many_keys,
            deep_hashes,
            long_chain,
            deep_delegations,
            oversized,
            innocent,
        ] {
            build(&mut tree);
        }
        let grown = tree.grow();
        let address = place.socket_address(2, 5353);
        let anchors = place.folder().join("root.ds");
        fs::write(&anchors, &grown.anchor).unwrap();
        Some(Self {
            server: Authoritative::start(place, address, &grown.zones).await?,
            anchors,
            started: 0,
        })
    }

    /// nodedns' zones and anchors.
    fn configuration(&self) -> String {
        format!(
            "- {{name: ., authoritative: [\"{}\"]}}\ntrust_anchors: {{files: [\"{}\"], follow_rollovers: false}}\n",
            self.server.address(),
            self.anchors.display()
        )
    }

    /// A server that validates these zones, and where it is asked.
    async fn validating(&mut self, server: &str, place: &Place) -> Option<(Peer, SocketAddr)> {
        if server == "nodedns" {
            let node = Node::start(place, &self.configuration()).await;
            return Some((node.peer, node.address));
        }
        // Each has a folder, named by its address.
        self.started += 1;
        let at = place.socket_address(4 + self.started, 5353);
        let zones = self.server.address();
        let unbound = Resolver::validating_unbound(place, at, zones, &self.anchors).await?;
        Some((unbound.peer, at))
    }
}

/// Keys that have the tag of the one that signs, and signatures that any of them may have made.
fn many_keys(tree: &mut Hierarchy) {
    let zone = "trap.tld.";
    let key = tree.signer.key(zone, "RSASHA256");
    let mut shown = vec![key.clone()];
    shown.extend((0..40).map(|number| Key {
        record: twin(&key.record, number),
        ..key.clone()
    }));
    let mut lines = tree.signer.sign(&Recipe {
        zone,
        text: &format!("{APEX}www A 192.0.2.1\n"),
        shown: &shown,
        signing: std::slice::from_ref(&key),
        denial: Denial::Nsec,
        time: Time::Now,
    });
    let right = lines
        .iter()
        .position(|line| is(line, "www.trap.tld.", "RRSIG:A"))
        .unwrap();
    let right = lines.remove(right);
    lines.extend((0..60).map(|number| {
        // The last letters but those that end the base64.
        let (fields, end) = right.split_at(right.len() - 8);
        format!("{fields}{number:04}{}", &end[4..])
    }));
    let ds = tree.signer.ds(&key, "SHA-256");
    tree.delegated(zone, &[ds], &lines);
}

/// A key with the same tag, which is a sum of pairs of bytes: two pairs of the modulus change places.
fn twin(record: &str, number: usize) -> String {
    let (fields, public) = record.split_at(record.find("257 3 8 ").unwrap() + 8);
    let mut public = BASE64_STANDARD.decode(public.replace(' ', "")).unwrap();
    // 1 byte of length, 3 of exponent, then the modulus.
    let at = |pair: usize| 100 + 2 * pair;
    for byte in 0..2 {
        public.swap(at(0) + byte, at(1 + number) + byte);
    }
    format!("{fields}{}", BASE64_STANDARD.encode(public))
}

fn deep_hashes(tree: &mut Hierarchy) {
    let denial = Denial::Nsec3 {
        iterations: 50,
        salt: "aabbccdd",
        opt_out: false,
    };
    let text = format!("{APEX}www A 192.0.2.1\n");
    tree.signed("hash.tld.", &text, "ECDSAP256SHA256", denial);
}

fn long_chain(tree: &mut Hierarchy) {
    let mut text = APEX.to_owned();
    for number in 0..40 {
        writeln!(text, "c{number} CNAME c{}", number + 1).unwrap();
    }
    text += "c40 A 192.0.2.1\n";
    tree.signed("chain.tld.", &text, "ECDSAP256SHA256", Denial::Nsec);
}

/// Zone below zone, each signed and delegated as it should be.
fn deep_delegations(tree: &mut Hierarchy) {
    let mut below: Option<(String, String)> = None;
    for depth in (1..=DEPTH).rev() {
        let zone = format!("{}tld.", "z.".repeat(depth));
        let mut text = format!("{APEX}@ TXT deep\n");
        if let Some((name, ds)) = &below {
            writeln!(text, "{name} NS ns.{name}\nns.{name} A 192.0.2.53\n{ds}").unwrap();
        }
        let key = tree.signer.key(&zone, "ECDSAP256SHA256");
        let lines = tree.sign(&zone, &text, &key, Denial::Nsec, Time::Now);
        let ds = tree.signer.ds(&key, "SHA-256");
        if depth == 1 {
            tree.delegated(&zone, &[ds], &lines);
            return;
        }
        tree.serve(&zone, &lines);
        below = Some((zone, ds));
    }
}

/// A zone that costs what a zone costs.
fn innocent(tree: &mut Hierarchy) {
    let text = format!("{APEX}www A 192.0.2.1\n");
    tree.signed("innocent.tld.", &text, "ECDSAP256SHA256", Denial::Nsec);
}

/// As much as fits into a message.
fn oversized(tree: &mut Hierarchy) {
    let line = "x".repeat(240);
    let mut text = APEX.to_owned();
    for number in 0..240 {
        writeln!(text, "@ TXT \"{number:03}{line}\"").unwrap();
    }
    tree.signed("big.tld.", &text, "ECDSAP256SHA256", Denial::Nsec);
}

/// Zones below each other: two questions each are more than one may cost.
const DEPTH: usize = 30;
