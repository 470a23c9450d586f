//! What a signed zone has proved of one name denies others (RFC 8198), and the proof that goes with it holds.

use std::fs;

use hickory_proto::op::ResponseCode;
use tests::authoritative::{Authoritative, Denial, Zone};
use tests::dns::{Question, RecordType};
use tests::place::Place;
use tests::program;

use crate::node::{Node, configuration};

const NAMES: &str = "@ SOA ns host 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\nwww A 192.0.2.7\n\
    deep.below A 192.0.2.8\n*.wild A 192.0.2.9\nsub NS ns.sub\nns.sub A 192.0.2.10\n";

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
        let synthesized = self
            .first
            .admin
            .metric("nodedns_synthesized_denials_total", &[])
            .await;
        assert!(synthesized >= 200.0, "{synthesized}");
    }
}
