//! Zones whose servers lie, to those who come down from the root, about what is theirs and what is not.
//! Nothing here is signed: what keeps a lie out is whose word counts for what, and nothing else.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, NS, NULL, SOA as Soa, TXT};
use hickory_proto::rr::{Name, RData, Record};
use tests::authoritative::{Authoritative, Zone};
use tests::dns::{Question, RecordType, Reply};
use tests::place::Place;

use super::recorder::{Manner, Recorder};
use super::{SOA, node, port_53, world};
use crate::node::Node;

/// What the server of a zone does, and what becomes of it.
struct Lie {
    what: &'static str,
    tell: fn(&mut Message),
    /// What is asked, in its zone.
    name: &'static str,
    outcome: Outcome,
    /// Questions that the liar gets at most.
    most: usize,
}

enum Outcome {
    /// These addresses: what it says of its own names, or the truth.
    Addresses(&'static [&'static str]),
    /// There is no such name: so it says of its own.
    NoSuchName,
    /// SERVFAIL, with these words in the extended error.
    Failure(&'static str),
}

use Outcome::{Addresses, Failure, NoSuchName};

const LIES: [Lie; 21] = [
    lie(
        "a stranger's servers beside an answer",
        |m| {
            answer(m);
            hijack(m, "victim.test.");
        },
        Addresses(&[OWN]),
    ),
    lie(
        "the root's servers beside an answer",
        |m| {
            answer(m);
            hijack(m, ".");
        },
        Addresses(&[OWN]),
    ),
    lie(
        "its parent's servers beside an answer",
        |m| {
            answer(m);
            hijack(m, "test.");
        },
        Addresses(&[OWN]),
    ),
    lie(
        "a referral to a stranger's server, with an address for it",
        |m| {
            let zone = asked(m).to_ascii();
            refer(m, &zone, &["ns.victim.test."]);
            glue(m, "ns.victim.test.", TRAP);
        },
        // Where that server is its own zone says: at the root's, who knows nothing of this zone.
        Failure("192.0.2.51"),
    ),
    lie(
        "a referral to the root",
        |m| hijack_all(m, "."),
        Failure(ASTRAY),
    ),
    lie(
        "a referral to its parent",
        |m| hijack_all(m, "test."),
        Failure(ASTRAY),
    ),
    lie(
        "a referral to a stranger",
        |m| hijack_all(m, "victim.test."),
        Failure(ASTRAY),
    ),
    lie(
        "a referral to itself",
        |m| {
            let zone = zone(m).to_ascii();
            hijack_all(m, &zone);
        },
        Failure(ASTRAY),
    ),
    lie(
        "a referral to a zone below that does not have the name",
        |m| {
            let below = format!("other.{}", zone(m));
            hijack_all(m, &below);
        },
        Failure(ASTRAY),
    ),
    lie(
        "the address of a stranger's name",
        |m| glue_as_answer(m, "www.victim.test."),
        Failure("about another name"),
    ),
    lie(
        "an alias to a stranger's name, with an address for it",
        |m| {
            alias(m, "www.victim.test.");
            glue_as_answer(m, "www.victim.test.");
        },
        Addresses(&[TRUTH]),
    ),
    lie(
        "a DNAME at its parent",
        |m| {
            let to = RData::Unknown {
                code: RecordType::from(39),
                rdata: NULL::with(b"\x06victim\x04test\0".to_vec()),
            };
            m.add_answer(record("test.", to));
            alias(m, "www.moved.victim.test.");
            glue_as_answer(m, "www.moved.victim.test.");
        },
        Addresses(&[TRUTH]),
    ),
    lie(
        "aliases to the name above, up to the root",
        |m| {
            let above = asked(m).base_name().to_ascii();
            alias(m, &above);
        },
        Addresses(&[]),
    ),
    lie(
        "an alias to itself",
        |m| {
            let own = asked(m).to_ascii();
            alias(m, &own);
        },
        Failure("leads back to itself"),
    ),
    lie(
        "aliases without end",
        |m| {
            let next = format!("a{}", asked(m));
            alias(m, &next);
        },
        Failure("CNAME"),
    )
    .costing(20),
    lie(
        "no such name, and a stranger's SOA",
        |m| {
            m.metadata.response_code = ResponseCode::NXDomain;
            let soa = Soa::new(name("ns."), name("host."), 1, 3_600, 600, 86_400, 3_600);
            m.add_authority(record("victim.test.", RData::SOA(soa)));
        },
        NoSuchName,
    ),
    lie(
        "a record of another type",
        |m| {
            let own = asked(m).to_ascii();
            m.add_answer(record(&own, RData::TXT(TXT::new(vec!["text".to_owned()]))));
        },
        Addresses(&[]),
    ),
    lie(
        "neither an answer nor a referral",
        |m| m.metadata.authoritative = false,
        Failure("not authoritative"),
    ),
    lie(
        "more over a TCP that is not there",
        |m| m.metadata.truncation = true,
        Failure("192.0.2.118"),
    )
    .costing(8),
    // A zone cut at every label, each with an address.
    lie(
        "a zone at every part of the name",
        |m| {
            let (zone, address) = (asked(m).to_ascii(), own_address(m));
            let server = format!("ns.{zone}");
            refer(m, &zone, &[&server]);
            glue(m, &server, &address);
        },
        Failure(ASTRAY),
    )
    .asked_for("a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a")
    .costing(20),
    // Each name server is in a zone of its own, whose name servers are again, and so on: the whole tree
    // would be 10 to the power of any depth.
    lie(
        "name servers whose name servers have to be found, without end",
        |m| {
            m.metadata.authoritative = false;
            let (apex, whole) = (zone(m), asked(m));
            let label = whole.trim_to(3).to_ascii();
            let label = label.split('.').next().unwrap_or_default();
            let below = format!("{label}.{apex}");
            let servers: Vec<_> = (0..10).map(|n| format!("ns.{label}{n}.{apex}")).collect();
            let servers: Vec<_> = servers.iter().map(String::as_str).collect();
            refer(m, &below, &servers);
        },
        Failure("more questions than one may cost"),
    )
    .costing(128),
];

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

/// A root and a zone `test.`, a victim below it, and a zone for each lie.
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
        let root = zone(".", "test. NS ns.test.\nns.test. A 192.0.2.52\n");
        let honest = ["victim.test.", "other.test."].map(|name| zone(name, "* A 192.0.2.1\n"));
        let mut authoritative = Vec::new();
        for (address, zones) in [
            ("192.0.2.51", &[root][..]),
            ("192.0.2.52", &[zone("test.", &test)]),
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
        let reply = ask(node, &format!("{}.{}.test.", lie.name, label(number))).await;
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
            "www.victim.test.".to_owned(),
            format!("fresh-{number}.victim.test."),
            format!("fresh-{number}.other.test."),
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

const fn lie(what: &'static str, tell: fn(&mut Message), outcome: Outcome) -> Lie {
    Lie {
        what,
        tell,
        name: "www",
        outcome,
        most: 4,
    }
}

impl Lie {
    const fn costing(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    const fn asked_for(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }
}

fn label(number: usize) -> String {
    format!("lie{number}")
}

fn address(number: usize) -> String {
    format!("192.0.2.{}", 100 + number)
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn asked(message: &Message) -> Name {
    message.queries[0].name().clone()
}

/// The liar's.
fn zone(message: &Message) -> Name {
    asked(message).trim_to(2)
}

fn own_address(message: &Message) -> String {
    let zone = zone(message).to_ascii().to_lowercase();
    let number = zone.trim_start_matches("lie").trim_end_matches(".test.");
    address(number.parse().unwrap())
}

fn record(owner: &str, data: RData) -> Record {
    Record::from_rdata(name(owner), 300, data)
}

fn a(address: &str) -> RData {
    RData::A(A(address.parse::<Ipv4Addr>().unwrap()))
}

/// Its own address for its own name, as it may.
fn answer(message: &mut Message) {
    answer_with(message, OWN);
}

fn answer_with(message: &mut Message, address: &str) {
    let own = asked(message).to_ascii();
    message.add_answer(record(&own, a(address)));
}

fn alias(message: &mut Message, to: &str) {
    let own = asked(message).to_ascii();
    message.add_answer(record(&own, RData::CNAME(CNAME(name(to)))));
}

fn glue(message: &mut Message, owner: &str, address: &str) {
    message.add_additional(record(owner, a(address)));
}

fn glue_as_answer(message: &mut Message, owner: &str) {
    message.add_answer(record(owner, a(TRAP)));
}

/// A referral to `zone`, without addresses.
fn refer(message: &mut Message, zone: &str, servers: &[&str]) {
    message.metadata.authoritative = false;
    for server in servers {
        message.add_authority(record(zone, RData::NS(NS(name(server)))));
    }
}

/// Says that the servers of `zone` are at the trap, whatever else the message says.
fn hijack(message: &mut Message, zone: &str) {
    message.add_authority(record(zone, RData::NS(NS(name("ns.victim.test.")))));
    for owner in ["ns.victim.test.", "www.victim.test."] {
        glue(message, owner, TRAP);
    }
}

/// Says that, and nothing else.
fn hijack_all(message: &mut Message, zone: &str) {
    message.metadata.authoritative = false;
    hijack(message, zone);
}

/// What a liar says of its own names, to which it has a right.
const OWN: &str = "192.0.2.9";
const TRUTH: &str = "192.0.2.1";
const TRAP: &str = "192.0.2.66";
const ASTRAY: &str = "not on the way to the name";
