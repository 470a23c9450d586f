//! What a signed zone has proved of one name answers for others (RFC 8198), and the proof that goes with it holds.

use std::fs;

use hickory_proto::op::ResponseCode;
use tests::authoritative::{Authoritative, Denial, Zone};
use tests::dns::{Question, RecordType};
use tests::place::Place;
use tests::program;

use crate::node::{Node, configuration};

const NAMES: &str = "@ SOA ns host 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\nwww A 192.0.2.7\n\
    deep.below A 192.0.2.8\n*.wild A 192.0.2.9\n*.wild MX 7 mail\n*.alias CNAME www\nthere.wild TXT x\nsub NS ns.sub\nns.sub A 192.0.2.10\n";

#[tokio::test]
async fn nsec_denies_what_lies_between_its_names() {
    let place = Place::loopback();
    let Some(scene) = Scene::start(&place, Denial::Nsec).await else {
        return;
    };
    // In the order in which they stand: each record is shown once.
    for name in ["a", "a.ns", "zzz", "below", "x.wild"] {
        scene.ask(name, RecordType::A).await;
    }
    let asked = scene.asked().await;
    let mut denied = 0;
    for number in 0..200 {
        for (name, code) in [
            (format!("a{number}"), ResponseCode::NXDomain),
            (format!("x.y.a{number}"), ResponseCode::NXDomain),
            (format!("zzz{number}"), ResponseCode::NXDomain),
            (format!("b{number}.a.ns"), ResponseCode::NXDomain),
        ] {
            assert_eq!(scene.ask(&name, RecordType::AAAA).await, code, "{name}");
            denied += 1;
        }
    }
    assert_eq!(
        scene.ask("below", RecordType::MX).await,
        ResponseCode::NoError
    );
    assert_eq!(scene.asked().await, asked, "{denied} names cost a question");
    scene.what_exists_is_found().await;
}

#[tokio::test]
async fn nsec3_denies_what_hashes_between_its_names() {
    let place = Place::loopback();
    let Some(scene) = Scene::start(&place, Denial::Nsec3).await else {
        return;
    };
    // Of eight records as many names as these show nearly all.
    for number in 0..100 {
        scene.ask(&format!("n{number}"), RecordType::A).await;
    }
    let asked = scene.asked().await;
    for number in 100..300 {
        for name in [format!("n{number}"), format!("x.y.n{number}")] {
            assert_eq!(
                scene.ask(&name, RecordType::TXT).await,
                ResponseCode::NXDomain,
                "{name}"
            );
        }
    }
    let more = scene.asked().await - asked;
    println!("{asked} questions at first, {more} for four hundred more names");
    assert!(more <= 8.0, "{more}: each shows a record more");
    scene.what_exists_is_found().await;
}

#[tokio::test]
async fn nsec_and_a_wildcard_answer_for_all_names_between_its_names() {
    let place = Place::loopback();
    if let Some(scene) = Scene::start(&place, Denial::Nsec).await {
        scene.wildcards_answer(0.0).await;
    }
}

#[tokio::test]
async fn nsec3_and_a_wildcard_answer_for_all_names_that_hash_between_its_names() {
    let place = Place::loopback();
    if let Some(scene) = Scene::start(&place, Denial::Nsec3).await {
        // Each shows a record more, of which there are fewer than a dozen, and costs a question about what lies
        // above it as well.
        scene.wildcards_answer(24.0).await;
    }
}

/// A node that asks a signed zone's server, and a second one that asks the first and believes nothing unproved.
struct Scene {
    first: Node,
    second: Node,
    _server: Authoritative,
}

impl Scene {
    async fn start(place: &Place, denial: Denial) -> Option<Self> {
        let zone = Zone::signed(place, "example.", NAMES, denial)?;
        let anchor = place.folder().join("example.ds");
        fs::write(&anchor, zone.ds()).unwrap();
        let server = Authoritative::start(place, place.socket_address(2, 5353), &[zone]).await?;
        let anchors = format!(
            "trust_anchors: {{files: ['{}'], follow_rollovers: false}}\n",
            anchor.display()
        );
        let zones = |from: &str| format!("- {{name: example., {from}}}\n{anchors}");
        let text = zones(&format!("authoritative: ['{}']", server.address()));
        let first = Node::start(place, &text).await;
        let [listen, admin] = [5454, 9254].map(|port| place.socket_address(1, port));
        let text = configuration(place, &zones(&format!("forward: ['{}']", first.address)))
            .replacen(&first.address.to_string(), &listen.to_string(), 1)
            .replacen(&first.admin.0.to_string(), &admin.to_string(), 1);
        let file = place.folder().join("second.yml");
        fs::write(&file, text).unwrap();
        let launch = program::nodedns(place).arg("--config").arg(file);
        Some(Self {
            second: Node::of(launch, listen, admin).await,
            first,
            _server: server,
        })
    }

    /// What both say of the name, which must be proved.
    async fn ask(&self, name: &str, kind: RecordType) -> ResponseCode {
        let question = Question::new(&format!("{name}.example."), kind).dnssec_ok();
        let mut codes = Vec::new();
        for node in [&self.first, &self.second] {
            let reply = question.ask(node.address).await.unwrap();
            assert!(reply.is_authentic(), "{name}: {reply:?}");
            codes.push(reply.code());
        }
        assert_eq!(codes[0], codes[1], "{name}");
        codes[0]
    }

    /// Questions that the zone's server had.
    async fn asked(&self) -> f64 {
        self.first
            .admin
            .metric("nodedns_upstream_queries_total", &[])
            .await
    }

    async fn what_exists_is_found(&self) {
        for (name, address) in [
            ("www", "192.0.2.7"),
            ("deep.below", "192.0.2.8"),
            ("any.wild", "192.0.2.9"),
        ] {
            let found = self.first.addresses(&format!("{name}.example.")).await;
            assert_eq!(found, [address], "{name}");
        }
        let synthesized = self.synthesized("denial").await;
        assert!(synthesized >= 200.0, "{synthesized}");
    }

    async fn synthesized(&self, kind: &str) -> f64 {
        let admin = &self.first.admin;
        admin
            .metric("nodedns_synthesized_total", &[("kind", kind)])
            .await
    }

    /// What the wildcard gives to one name answers for two hundred, for which the zone's server has so many
    /// questions more at most.
    async fn wildcards_answer(&self, most: f64) {
        let data = async |name: &str, kind| {
            let question = Question::new(&format!("{name}.example."), kind).dnssec_ok();
            let mut said = Vec::new();
            for node in [&self.first, &self.second] {
                let reply = question.ask(node.address).await.unwrap();
                assert!(reply.is_authentic(), "{name}: {reply:?}");
                said.push(reply.data(kind));
            }
            assert_eq!(said[0], said[1], "{name}");
            said.remove(0)
        };
        let wanted = [
            (RecordType::A, "192.0.2.9"),
            (RecordType::MX, "7 mail.example."),
        ];
        for (kind, expected) in wanted {
            assert_eq!(data("first.wild", kind).await, [expected]);
            // Behind the one name that is there.
            assert_eq!(data("zz.wild", kind).await, [expected]);
        }
        let asked = self.asked().await;
        for number in 0..100 {
            for name in [format!("n{number}.wild"), format!("x.y.n{number}.wild")] {
                for (kind, expected) in wanted {
                    assert_eq!(data(&name, kind).await, [expected], "{name}");
                }
            }
        }
        let more = self.asked().await - asked;
        let synthesized = self.synthesized("wildcard").await;
        println!("{more} questions for four hundred answers, {synthesized} of them made here");
        assert!(more <= most, "{more}");
        assert!(synthesized >= 400.0 - most, "{synthesized}");
        // What is not so for all: a name that is there, one below it, one that is delegated, an alias.
        assert!(data("there.wild", RecordType::A).await.is_empty());
        let below = self.ask("below.there.wild", RecordType::A).await;
        assert_eq!(below, ResponseCode::NXDomain);
        let found = self.first.addresses("ns.sub.example.").await;
        assert!(found.is_empty(), "{found:?}: its own server is not there");
        for name in ["one.alias", "two.alias"] {
            assert_eq!(data(name, RecordType::A).await, ["192.0.2.7"], "{name}");
        }
    }
}
