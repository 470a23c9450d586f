//! DNSSEC validation on a signed hierarchy of our own, with unbound and BIND as judges.
//!
//! BIND's tools sign the zones, some are then spoiled ([`hierarchy`] and the tables beside it), NSD
//! serves them, an unbound that validates nothing resolves for all: for nodedns, and for the judges,
//! an unbound and a BIND that validate. What has to come back stands in the tables, each row with the
//! section of the RFC that says so; every bogus row has an honest twin.

mod adversary;
mod budgets;
mod case;
mod chains;
mod delegations;
mod faults;
pub(crate) mod hierarchy;
mod lies;
mod standard;

use std::fs;
use std::net::SocketAddr;

use hickory_proto::op::ResponseCode;
use tests::authoritative::Authoritative;
use tests::dns::{Question, RecordType, Reply};
use tests::place::Place;
use tests::resolver::Resolver;

use crate::node::Node;
use adversary::Adversary;
use case::{Case, Expected};
use hierarchy::{Grown, Hierarchy};
use lies::LIES;

/// The servers, and the root's DS record.
struct World {
    _authoritative: Authoritative,
    plain: Resolver,
    anchor: String,
}

impl World {
    async fn start(place: &Place) -> Option<Self> {
        let grown = grown(place)?;
        let address = place.socket_address(2, 5353);
        let authoritative = Authoritative::start(place, address, &grown.zones).await?;
        let plain =
            Resolver::plain(place, place.socket_address(3, 5353), address, &grown.zones).await?;
        Some(Self {
            _authoritative: authoritative,
            plain,
            anchor: grown.anchor,
        })
    }

    /// nodedns that validates from the root of this world.
    async fn node(&self, place: &Place, more: &str) -> Node {
        self.node_that_asks(place, &[self.plain.address()], more)
            .await
    }

    async fn node_that_asks(&self, place: &Place, servers: &[SocketAddr], more: &str) -> Node {
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        let anchor = place.folder().join(ANCHOR);
        let zones = format!(
            "- {{name: ., forward: {servers:?}}}\ntrust_anchors: {{files: [\"{}\"]}}\n{more}",
            anchor.display()
        );
        Node::start(place, &zones).await
    }
}

/// The signed hierarchy, and its anchor in a file of the place.
pub(crate) fn grown(place: &Place) -> Option<Grown> {
    let mut tree = Hierarchy::new(place)?;
    standard::zones(&mut tree);
    faults::zones(&mut tree);
    delegations::zones(&mut tree);
    chains::zones(&mut tree);
    let grown = tree.grow();
    fs::write(place.folder().join(ANCHOR), &grown.anchor).unwrap();
    Some(grown)
}

pub(crate) fn all_cases(sha1: bool) -> Vec<Case> {
    [
        standard::cases(sha1),
        faults::cases(),
        delegations::cases(),
        chains::cases(),
    ]
    .concat()
}

#[tokio::test]
async fn every_question_has_the_answer_that_its_rfc_says() {
    let place = Place::loopback();
    let Some(world) = World::start(&place).await else {
        return;
    };
    let node = world.node(&place, "").await;
    let cases = all_cases(false);
    assert!(cases.len() >= 200, "{}", cases.len());
    the_table_holds(&node, &cases).await;
    clients_get_what_their_bits_ask_for(&node).await;
    drop(node);
    let node = world.node(&place, "sha1_signatures: true\n").await;
    let mut of_sha1 = all_cases(true);
    of_sha1.retain(|case| {
        ["a5.tld.", "a7.tld."]
            .iter()
            .any(|zone| case.name.ends_with(zone))
    });
    the_table_holds(&node, &of_sha1).await;
    drop(node);
    let node = world.node(&place, "validation: log\n").await;
    what_is_only_logged_is_passed_on(&node).await;
}

/// Asks every question of the table, twice.
pub(crate) async fn the_table_holds(node: &Node, cases: &[Case]) {
    let mut wrong = Vec::new();
    // Once from an empty cache, once from a warm one.
    for temperature in ["cold", "warm"] {
        for case in cases {
            let reply = case.question().ask(node.address).await.unwrap();
            let found = found(&reply);
            if found != case.expected {
                let Case {
                    name,
                    kind,
                    expected,
                    rfc,
                } = case;
                let errors = reply.extended_errors();
                wrong.push(format!(
                    "{temperature}: {name} {kind} (RFC {rfc}): {found:?} instead of {expected:?} {errors:?}"
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        2 * cases.len(),
        wrong.join("\n")
    );
}

async fn clients_get_what_their_bits_ask_for(node: &Node) {
    let ask = async |question: Question| question.ask(node.address).await.unwrap();
    let altered = || Question::new("altered.faults.tld.", RecordType::A);
    assert_eq!(found(&ask(altered()).await), case::bogus(6));
    let data = ask(altered().checking_disabled().dnssec_ok()).await;
    assert_eq!(found(&data), case::INSECURE, "CD");
    assert!(data.data(RecordType::A).contains(&"192.0.2.66".to_owned()));
    assert_eq!(data.data(RecordType::RRSIG).len(), 1);
    let www = || Question::new("www.a13.tld.", RecordType::A);
    let plain = ask(www()).await;
    assert_eq!(plain.data(RecordType::A).len(), 2);
    assert!(plain.data(RecordType::RRSIG).is_empty() && !plain.is_authentic());
    let denied = ask(Question::new("nx.a13.tld.", RecordType::A)).await;
    assert_eq!(denied.message.authorities.len(), 1, "the SOA alone");
    let long = ask(Question::new("www.long-ttl.tld.", RecordType::A)).await;
    let ttl = long.message.answers[0].ttl;
    assert!(ttl <= 300, "{ttl} is above what was signed");
}

async fn what_is_only_logged_is_passed_on(node: &Node) {
    let ask = async |question: Question| question.ask(node.address).await.unwrap();
    // Bogus in itself, in its denial, in its keys, by its length: all as they came, none authentic.
    for (name, code) in [
        ("altered.faults.tld.", case::INSECURE),
        ("nx.d-unsigned.tld.", case::INSECURE_NX),
        ("www.ds-wrong.tld.", case::INSECURE),
        ("to-b.s.tld.", case::INSECURE),
    ] {
        let reply = ask(Question::new(name, RecordType::A).dnssec_ok()).await;
        assert_eq!(found(&reply), code, "{name}");
    }
    let secure = ask(Question::new("www.a13.tld.", RecordType::A).dnssec_ok()).await;
    assert_eq!(found(&secure), case::INSECURE, "nothing is vouched for");
    assert_eq!(secure.data(RecordType::RRSIG).len(), 1);
    let plain = ask(Question::new("www.a14.tld.", RecordType::A)).await;
    assert_eq!(plain.data(RecordType::A).len(), 2);
    assert!(plain.data(RecordType::RRSIG).is_empty());
    let line = "bogus, and answered all the same";
    assert!(node.peer.log().contains(line), "{}", node.peer.log());
    for (verdict, count) in [("bogus", 4.0), ("secure", 2.0)] {
        let labels = [("verdict", verdict)];
        let metric = node.admin.metric("nodedns_validations_total", &labels);
        assert!(metric.await >= count, "{verdict}");
    }
    // The log has a sample of them.
    let logged = node.peer.log().matches(line).count();
    assert!(logged < 4, "{logged} lines within a moment");
}

#[tokio::test]
async fn a_server_that_lies_gets_no_lie_in() {
    let place = Place::loopback();
    let Some(world) = World::start(&place).await else {
        return;
    };
    let adversary = Adversary::start(place.socket_address(4, 5353), world.plain.address()).await;
    let node = world.node(&place, "").await;
    let mut truth = Vec::new();
    for name in LIED_ABOUT {
        truth.push(judged(&address_of(name), node.address).await);
    }
    drop(node);
    assert!(
        truth.iter().all(|(_, authentic, _)| *authentic),
        "{truth:?}"
    );

    let (mut believed, mut misleading) = (Vec::new(), 0);
    for (number, (lie, _)) in LIES.iter().enumerate() {
        for is_warm in [false, true] {
            let node = world
                .node_that_asks(&place, &[adversary.address()], "")
                .await;
            adversary.tell(None);
            if is_warm {
                // What the zones' keys are is known already.
                let before = Question::new("www.a13.tld.", RecordType::AAAA).dnssec_ok();
                let before = before.ask(node.address).await.unwrap();
                assert!(before.is_authentic(), "{lie}: {before:?}");
            }
            adversary.tell(Some(number));
            for (name, told) in believed_of(&node, &truth).await {
                believed.push(format!("{lie} (warm: {is_warm}): {name}: {told}"));
            }
        }
        // Who validates nothing shows that the lie is one.
        let credulous = "validation: log\n";
        let node = world
            .node_that_asks(&place, &[adversary.address()], credulous)
            .await;
        misleading += usize::from(!believed_of(&node, &truth).await.is_empty());
    }
    assert!(believed.is_empty(), "{}", believed.join("\n"));
    assert!(misleading >= 30, "only {misleading} lies mislead anybody");
}

#[tokio::test]
async fn beside_a_server_that_lies_an_honest_one_is_enough() {
    let place = Place::loopback();
    let Some(world) = World::start(&place).await else {
        return;
    };
    let honest = world.plain.address();
    let adversary = Adversary::start(place.socket_address(4, 5353), honest).await;
    let mut missed = Vec::new();
    for (number, (lie, _)) in LIES.iter().enumerate() {
        adversary.tell(Some(number));
        let both = [adversary.address(), honest];
        let node = world.node_that_asks(&place, &both, "").await;
        for name in LIED_ABOUT {
            let case = address_of(name);
            let reply = case.question().ask(node.address).await.unwrap();
            let (code, is_authentic, _) = said(&case, &reply);
            if !is_authentic {
                let why = reply.extended_errors();
                missed.push(format!("{lie}: {name}: {code} {why:?}"));
            }
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// What a node was told and passed on that is not the truth.
async fn believed_of(
    node: &Node,
    truth: &[(String, bool, Vec<String>)],
) -> Vec<(&'static str, String)> {
    let mut believed = Vec::new();
    for (name, truth) in LIED_ABOUT.into_iter().zip(truth) {
        let case = address_of(name);
        let reply = case.question().ask(node.address).await.unwrap();
        let told = said(&case, &reply);
        let is_refused = reply.code() == ResponseCode::ServFail
            && !reply.is_authentic()
            && !reply.extended_errors().is_empty();
        let ttls = reply.message.answers.iter().map(|record| record.ttl);
        if told != *truth && !is_refused || ttls.max().is_some_and(|ttl| ttl > 300) {
            believed.push((name, format!("{told:?}")));
        }
    }
    believed
}

/// A name with data, one that does not exist, one without the type, one that a wildcard stands for.
const LIED_ABOUT: [&str; 4] = [
    "www.a13.tld.",
    "nothing.a13.tld.",
    "b.ent.a13.tld.",
    "x.w.a13.tld.",
];

fn address_of(name: &str) -> Case {
    Case::new(name, RecordType::A, case::SECURE, "4035 5")
}

#[tokio::test]
async fn unbound_and_bind_say_the_same() {
    // BIND wants the address of an interface.
    let Some(place) = Place::namespace() else {
        return;
    };
    let Some(world) = World::start(&place).await else {
        return;
    };
    let (upstream, anchors) = (world.plain.address(), place.folder().join(ANCHOR));
    let at = |last| place.socket_address(last, 5353);
    let unbound = Resolver::validating_unbound(&place, at(4), upstream, &anchors).await;
    let beside_node = place.socket_address(1, 5354);
    let bind = Resolver::validating_bind(&place, beside_node, upstream, &world.anchor).await;
    let (Some(unbound), Some(bind)) = (unbound, bind) else {
        return;
    };
    // Debian's judges validate SHA-1.
    let node = world.node(&place, "sha1_signatures: true\n").await;
    let cases = all_cases(true);
    let (mut unexplained, mut explained) = (Vec::new(), 0);
    for case in &cases {
        let ours = judged(case, node.address).await;
        for (judge, address) in [("unbound", unbound.address()), ("BIND", bind.address())] {
            let theirs = judged(case, address).await;
            if theirs == ours {
                continue;
            }
            let Case {
                name, kind, rfc, ..
            } = case;
            let line = format!("{name} {kind} (RFC {rfc}): nodedns {ours:?}, {judge} {theirs:?}");
            match EXPLAINED.iter().find(|one| one.explains(judge, name)) {
                Some(Explained { why, .. }) => {
                    println!("{line}: {why}");
                    explained += 1;
                }
                None => unexplained.push(line),
            }
        }
    }
    assert!(
        unexplained.is_empty(),
        "{} differences:\n{}",
        unexplained.len(),
        unexplained.join("\n")
    );
    println!(
        "{} cases, two judges: {explained} differences, each explained",
        cases.len()
    );
    assert!(explained <= 5, "{explained}");
}

/// What a reply says.
fn found(reply: &Reply) -> Expected {
    Expected {
        code: reply.code(),
        authentic: reply.is_authentic(),
        error: reply.extended_errors().first().map(|(code, _)| *code),
    }
}

/// What a resolver says that others must say as well: code, AD, data. Extended errors are advice.
async fn judged(case: &Case, resolver: SocketAddr) -> (String, bool, Vec<String>) {
    let mut reply = case.question().ask(resolver).await;
    // BIND asks on for what is bogus, longer than a client waits.
    for _ in 0..3 {
        if reply.is_ok() {
            break;
        }
        reply = case.question().ask(resolver).await;
    }
    if reply
        .as_ref()
        .is_ok_and(|reply| reply.message.metadata.truncation)
    {
        reply = case.question().tcp().ask(resolver).await;
    }
    match reply {
        Ok(reply) => said(case, &reply),
        Err(error) => (error.to_string(), false, Vec::new()),
    }
}

fn said(case: &Case, reply: &Reply) -> (String, bool, Vec<String>) {
    (
        reply.code().to_string(),
        reply.is_authentic(),
        reply.data(case.kind),
    )
}

/// A difference that is as it should be.
struct Explained {
    judge: &'static str,
    /// What the name ends in.
    name: &'static str,
    why: &'static str,
}

impl Explained {
    fn explains(&self, judge: &str, name: &str) -> bool {
        self.judge == judge && name.ends_with(self.name)
    }
}

const EXPLAINED: &[Explained] = &[
    Explained {
        judge: "BIND",
        name: ".d-soa.tld.",
        why: "RFC 4035 §5.5 has bogus RRsets kept from clients: BIND passes a denial on, without AD, \
              though its SOA is bogus, which says how long it may be kept",
    },
    Explained {
        judge: "unbound",
        name: ".ds-sha1-good-sha2-bad.tld.",
        why: "RFC 4509 §3 has DS in SHA-1 ignored beside those in SHA-256: unbound tries them all",
    },
];

/// The file with the root's DS record.
pub(crate) const ANCHOR: &str = "root.ds";
