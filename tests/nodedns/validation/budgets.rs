//! Zones made so that their validation costs as much as possible, on a real server: what one question
//! may cost is counted, and is little.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hickory_proto::op::ResponseCode::{NXDomain, NoError, ServFail};
use tests::authoritative::Authoritative;
use tests::dns::{Question, RecordType};
use tests::place::Place;
use tests::signed::{Denial, Key, Recipe, Time, is};

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
    let Some(mut tree) = Hierarchy::new(&place) else {
        return;
    };
    for build in [
        many_keys,
        deep_hashes,
        long_chain,
        deep_delegations,
        oversized,
    ] {
        build(&mut tree);
    }
    let grown = tree.grow();
    let address = place.socket_address(2, 5353);
    let Some(server) = Authoritative::start(&place, address, &grown.zones).await else {
        return;
    };
    let anchor = place.folder().join("root.ds");
    std::fs::write(&anchor, &grown.anchor).unwrap();
    let zones = format!(
        "- {{name: ., authoritative: [\"{}\"]}}\ntrust_anchors: {{files: [\"{}\"], follow_rollovers: false}}\n",
        server.address(),
        anchor.display()
    );
    let deepest = (0..DEPTH).fold("tld.".to_owned(), |name, _| format!("z.{name}"));
    let deep_name = format!("{}hash.tld.", "a.".repeat(110));
    let mut counted = [0.0; 3];
    for (name, kind, code, signatures, hashes, questions) in [
        // KeyTrap, CVE-2023-50387: 40 keys with one tag, 60 signatures with that tag, none right.
        ("www.trap.tld.", RecordType::A, ServFail, 40.0, 0.0, 8.0),
        // CVE-2023-50868: a name whose every label is to be hashed 50 times.
        (&deep_name, RecordType::A, NXDomain, 40.0, 160.0, 48.0),
        ("c0.chain.tld.", RecordType::A, ServFail, 60.0, 0.0, 20.0),
        (&deepest, RecordType::TXT, ServFail, 128.0, 0.0, 48.0),
        ("big.tld.", RecordType::TXT, NoError, 20.0, 0.0, 8.0),
    ] {
        // Everything has to be asked for anew.
        let node = Node::start(&place, &zones).await;
        let before = Work::of(&node).await;
        let question = Question::new(name, kind).dnssec_ok().tcp();
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
        assert!(cost.signatures <= signatures, "{name}: {cost:?}");
        assert!(cost.hashes <= hashes, "{name}: {cost:?}");
        assert!(cost.questions <= questions, "{name}: {cost:?}");
        counted = [
            counted[0] + cost.signatures,
            counted[1] + cost.hashes,
            counted[2] + cost.questions,
        ];
    }
    assert!(counted.iter().all(|count| *count > 0.0), "{counted:?}");
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
