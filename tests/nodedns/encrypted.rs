//! DNS over TLS to a real unbound and a real BIND: who is believed, and that nothing goes out in plain.

use std::process::Command;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use tests::authoritative::{Authoritative, Zone};
use tests::dns::{Question, RecordType};
use tests::pki::{Issued, Pki};
use tests::place::Place;
use tests::recursive::{Recursive, Task};
use tests::wait;

use crate::hostile::{Hostile, honest};
use crate::node::Node;
use crate::servers::SOA;

/// A resolver that speaks TLS as `dns.example`, and who vouches for that.
struct Scene {
    place: Place,
    _authoritative: Authoritative,
    unbound: Recursive,
    pki: Pki,
    issued: Issued,
}

impl Scene {
    async fn new() -> Option<Self> {
        let place = Place::loopback();
        let zone = Zone::unsigned(&place, "example.", &format!("{SOA}* 0 A 192.0.2.7\n"));
        let authoritative =
            Authoritative::start(&place, place.socket_address(2, 53), &[zone]).await?;
        let pki = Pki::new(&place.folder().join("pki"));
        let issued = pki.server("dns", &["dns.example"], &[place.address(3)]);
        let unbound = Recursive::unbound(
            &place,
            place.socket_address(3, 5353),
            Task {
                zone: "example.",
                server: authoritative.address(),
                trust_anchor: None,
                certificate: Some(&issued),
            },
        )
        .await?;
        Some(Self {
            place,
            _authoritative: authoritative,
            unbound,
            pki,
            issued,
        })
    }

    /// The resolver as an upstream that has to prove this.
    fn upstream(&self, identity: &str) -> String {
        format!("tls://{}{identity}", self.unbound.tls_address())
    }

    /// A node whose one zone has these servers.
    async fn node(&self, place: &Place, servers: &[String], mixed: bool) -> Node {
        let zone =
            format!("- {{name: ., forward: {servers:?}, mixed: {mixed}, validate: false}}\n");
        let ca_file = format!("ca_file: {}\n", self.pki.ca_file().display());
        Node::start(place, &format!("{zone}{ca_file}")).await
    }

    /// The pin of the resolver's key, by another implementation.
    fn pin(&self) -> String {
        let script = format!(
            "openssl x509 -in {} -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64",
            self.issued.certificate.display()
        );
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        let pin = String::from_utf8(output.stdout).unwrap();
        format!("#sha256:{}", pin.trim())
    }
}

async fn handshakes(node: &Node, server: &str, kind: &str) -> f64 {
    let labels = [("server", server), ("kind", kind)];
    node.admin
        .metric("nodedns_upstream_tls_handshakes_total", &labels)
        .await
}

async fn fails_with(node: &Node, text: &str) {
    let question = Question::new("www.example.", RecordType::A);
    let reply = question.ask(node.address).await.unwrap();
    assert_eq!(reply.code(), ResponseCode::ServFail);
    let (code, said) = &reply.extended_errors()[0];
    assert_eq!(*code, 23, "Network Error");
    assert!(said.contains(text), "{said}");
}

#[tokio::test]
async fn a_server_that_proves_its_name_its_address_or_its_key_is_asked() {
    let Some(scene) = Scene::new().await else {
        return;
    };
    for identity in ["#dns.example", "", &scene.pin()] {
        let place = Place::loopback();
        let node = scene.node(&place, &[scene.upstream(identity)], false).await;
        for number in 0..20 {
            let addresses = node.addresses(&format!("n{number}.example.")).await;
            assert_eq!(addresses, ["192.0.2.7"], "{identity}");
        }
        let full = handshakes(&node, &scene.upstream(identity), "full").await;
        assert!((1.0..=2.0).contains(&full), "connections are kept: {full}");
    }
}

#[tokio::test]
async fn a_server_that_proves_something_else_is_not_asked() {
    let Some(scene) = Scene::new().await else {
        return;
    };
    let other_key = format!("#sha256:{}=", "A".repeat(43));
    for identity in ["#dns.example.net", &other_key] {
        let place = Place::loopback();
        let node = scene.node(&place, &[scene.upstream(identity)], false).await;
        fails_with(&node, "TLS: invalid peer certificate").await;
        assert_eq!(
            handshakes(&node, &scene.upstream(identity), "full").await,
            0.0
        );
    }
}

#[tokio::test]
async fn plaintext_servers_of_the_same_zone_are_asked_only_when_mixed() {
    let Some(mut scene) = Scene::new().await else {
        return;
    };
    let plain = Hostile::start(scene.place.socket_address(4, 5353), honest).await;
    let servers = [scene.upstream("#dns.example"), plain.address.to_string()];
    let (strict, mixed) = (Place::loopback(), Place::loopback());
    let strict = scene.node(&strict, &servers, false).await;
    let mixed = scene.node(&mixed, &servers, true).await;
    assert_eq!(strict.addresses("one.example.").await, ["192.0.2.7"]);
    assert!(plain.asked().is_empty());
    strict.peer.says("a plaintext server is never asked").await;

    scene.unbound.peer.kill();
    fails_with(&strict, "refused").await;
    assert!(plain.asked().is_empty());
    assert_eq!(mixed.addresses("two.example.").await, ["192.0.2.7"]);
    assert!(!plain.asked().is_empty());
}

#[tokio::test]
async fn sessions_are_resumed_and_dead_ones_cost_no_question() {
    let Some(mut scene) = Scene::new().await else {
        return;
    };
    let place = Place::loopback();
    let upstream = scene.upstream("#dns.example");
    let node = scene
        .node(&place, std::slice::from_ref(&upstream), false)
        .await;
    assert_eq!(node.addresses("first.example.").await, ["192.0.2.7"]);
    // unbound closes connections that nobody uses for a moment.
    wait::until("a resumed session", Duration::from_secs(20), async || {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        assert_eq!(node.addresses("again.example.").await, ["192.0.2.7"]);
        match handshakes(&node, &upstream, "resumed").await {
            0.0 => Err("none"),
            _ => Ok(()),
        }
    })
    .await;
    for round in 0..3 {
        scene.unbound.peer.restart();
        for number in 0..10 {
            let name = format!("r{round}-{number}.example.");
            assert_eq!(node.addresses(&name).await, ["192.0.2.7"], "{name}");
        }
    }
}
