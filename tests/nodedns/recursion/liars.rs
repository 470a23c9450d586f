//! Zones whose servers lie, to those who come down from the root, about what is theirs and what is not.
//! Nothing here is signed: what keeps a lie out is whose word counts for what, and nothing else.

mod table;

use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use tests::authoritative::{Authoritative, Zone};
use tests::dns::{Question, RecordType, Reply};
use tests::place::Place;

use super::recorder::{Manner, Recorder};
use super::{SOA, node, port_53, world};
use crate::node::Node;
use table::Outcome::{Addresses, Failure, NoSuchName};
use table::{LIES, TRAP, TRUTH, address, answer_with, label};

#[tokio::test]
async fn from_a_cold_cache_no_lie_gets_in() {
    let Some(place) = world().await else { return };
    let Some(world) = World::start(&place).await else {
        return;
    };
    for number in 0..LIES.len() {
        let node = node(&place, "{name: ., validate: false}", "").await;
        world.hears(number, &node).await;
        world.knows_the_truth(number, &node).await;
    }
}

#[tokio::test]
async fn from_a_warm_cache_no_lie_gets_in() {
    let Some(place) = world().await else { return };
    let Some(world) = World::start(&place).await else {
        return;
    };
    let node = node(&place, "{name: ., validate: false}", "").await;
    world.knows_the_truth(LIES.len(), &node).await;
    for number in 0..LIES.len() {
        world.hears(number, &node).await;
        world.knows_the_truth(number, &node).await;
    }
}

/// A root and a zone `lab.`, a victim below it, and a zone for each lie.
struct World {
    liars: Vec<Recorder>,
    /// Where the lies would have us ask.
    trap: Recorder,
    _authoritative: Vec<Authoritative>,
}

impl World {
    async fn start(place: &Place) -> Option<Self> {
        let zone = |name: &str, text: &str| Zone::unsigned(place, name, &format!("{SOA}{text}"));
        let mut test =
            "victim NS ns.victim\nns.victim A 192.0.2.57\nother NS ns.victim\n".to_owned();
        let mut liars = Vec::new();
        for (number, lie) in LIES.iter().enumerate() {
            let (label, address) = (label(number), address(number));
            test += &format!("{label} NS ns.{label}\nns.{label} A {address}\n");
            liars.push(Recorder::start(port_53(&address), Manner::Lie(lie.tell)).await);
        }
        let root = zone(".", "lab. NS ns.lab.\nns.lab. A 192.0.2.52\n");
        let honest = ["victim.lab.", "other.lab."].map(|name| zone(name, "* A 192.0.2.1\n"));
        let mut authoritative = Vec::new();
        for (address, zones) in [
            ("192.0.2.51", &[root][..]),
            ("192.0.2.52", &[zone("lab.", &test)]),
            ("192.0.2.57", &honest),
        ] {
            authoritative.push(Authoritative::start(place, port_53(address), zones).await?);
        }
        Some(Self {
            liars,
            trap: Recorder::start(port_53(TRAP), Manner::Lie(|m| answer_with(m, TRAP))).await,
            _authoritative: authoritative,
        })
    }

    /// `node` is told this lie: what it makes of it, and at what cost.
    async fn hears(&self, number: usize, node: &Node) {
        let lie = &LIES[number];
        let (what, before) = (lie.what, self.liars[number].asked().len());
        let began = Instant::now();
        let reply = ask(node, &format!("{}.{}.lab.", lie.name, label(number))).await;
        let took = began.elapsed();
        let why = reply.extended_errors();
        match lie.outcome {
            Addresses(addresses) => {
                assert_eq!(reply.code(), ResponseCode::NoError, "{what}: {why:?}");
                assert_eq!(reply.data(RecordType::A), addresses, "{what}");
            }
            NoSuchName => assert_eq!(reply.code(), ResponseCode::NXDomain, "{what}: {why:?}"),
            Failure(part) => {
                assert_eq!(reply.code(), ResponseCode::ServFail, "{what}: {reply:?}");
                assert!(why[0].1.contains(part), "{what}: {why:?}");
            }
        }
        let asked = self.liars[number].asked().split_off(before);
        println!("{what}: {} questions, {took:?}, {why:?}", asked.len());
        assert!(asked.len() <= lie.most, "{what}: {asked:?}");
        assert!(took < Duration::from_millis(4_800), "{what}: {took:?}");
    }

    /// After this lie: what was known, and what was never asked for, in zones that are known and that
    /// are not.
    async fn knows_the_truth(&self, number: usize, node: &Node) {
        let what = LIES.get(number).map_or("before all lies", |lie| lie.what);
        for name in [
            "www.victim.lab.".to_owned(),
            format!("fresh-{number}.victim.lab."),
            format!("fresh-{number}.other.lab."),
        ] {
            let reply = ask(node, &name).await;
            let why = reply.extended_errors();
            assert_eq!(reply.data(RecordType::A), [TRUTH], "{what}: {name} {why:?}");
        }
        assert_eq!(self.trap.asked(), [""; 0], "{what}");
    }
}

async fn ask(node: &Node, name: &str) -> Reply {
    let question = Question::new(name, RecordType::A);
    question.ask(node.address).await.unwrap()
}
