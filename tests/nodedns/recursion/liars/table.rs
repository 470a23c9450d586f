//! The lies, what comes of each, and what it may cost.

use std::net::Ipv4Addr;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, NS, NULL, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record};
use tests::dns::RecordType;

use Outcome::{Addresses, Failure, NoSuchName};

/// What the server of a zone does, and what becomes of it.
pub(super) struct Lie {
    pub(super) what: &'static str,
    pub(super) tell: fn(&mut Message),
    /// What is asked, in its zone.
    pub(super) name: &'static str,
    pub(super) outcome: Outcome,
    /// Questions that the liar gets at most.
    pub(super) most: usize,
}

/// What comes back.
pub(super) enum Outcome {
    /// These addresses: what it says of its own names, or the truth.
    Addresses(&'static [&'static str]),
    /// There is no such name: so it says of its own.
    NoSuchName,
    /// SERVFAIL, with these words in the extended error.
    Failure(&'static str),
}

pub(super) const LIES: [Lie; 21] = [
    lie(
        "a stranger's servers beside an answer",
        |m| {
            answer(m);
            hijack(m, "victim.lab.");
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
            hijack(m, "lab.");
        },
        Addresses(&[OWN]),
    ),
    lie(
        "a referral to a stranger's server, with an address for it",
        |m| {
            let zone = asked(m).to_ascii();
            refer(m, &zone, &["ns.victim.lab."]);
            glue(m, "ns.victim.lab.", TRAP);
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
        |m| hijack_all(m, "lab."),
        Failure(ASTRAY),
    ),
    lie(
        "a referral to a stranger",
        |m| hijack_all(m, "victim.lab."),
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
        |m| glue_as_answer(m, "www.victim.lab."),
        Failure("about another name"),
    ),
    lie(
        "an alias to a stranger's name, with an address for it",
        |m| {
            alias(m, "www.victim.lab.");
            glue_as_answer(m, "www.victim.lab.");
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
            m.add_answer(record("lab.", to));
            alias(m, "www.moved.victim.lab.");
            glue_as_answer(m, "www.moved.victim.lab.");
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
            let soa = SOA::new(name("ns."), name("host."), 1, 3_600, 600, 86_400, 3_600);
            m.add_authority(record("victim.lab.", RData::SOA(soa)));
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

pub(super) fn label(number: usize) -> String {
    format!("lie{number}")
}

pub(super) fn address(number: usize) -> String {
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
    let number = zone.trim_start_matches("lie").trim_end_matches(".lab.");
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

pub(super) fn answer_with(message: &mut Message, address: &str) {
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
    message.add_authority(record(zone, RData::NS(NS(name("ns.victim.lab.")))));
    for owner in ["ns.victim.lab.", "www.victim.lab."] {
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
pub(super) const TRUTH: &str = "192.0.2.1";
pub(super) const TRAP: &str = "192.0.2.66";
const ASTRAY: &str = "not on the way to the name";
