//! A node whose clock is off finds nothing that is signed, and says why; it stays ready.

use std::fs;

use hickory_proto::op::ResponseCode::{NoError, ServFail};
use tests::authoritative::{Authoritative, Zone};
use tests::dns::{Question, RecordType};
use tests::place::Place;
use tests::signed::{Denial, Recipe, Signer, Time};

use crate::node::Node;

/// A signed zone below no other, and the line that trusts its key.
fn zone(signer: &Signer, name: &str, time: Time) -> (Zone, String) {
    let key = signer.key(name, "ECDSAP256SHA256");
    let keys = [key];
    let lines = signer.sign(&Recipe {
        zone: name,
        text: "@ SOA ns host 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.53\nwww A 192.0.2.1\n",
        shown: &keys,
        signing: &keys,
        denial: Denial::Nsec,
        time,
    });
    (signer.write(name, &lines), signer.ds(&keys[0], "SHA-256"))
}

#[tokio::test]
async fn signatures_of_another_time_are_taken_for_a_clock_that_is_off() {
    const LINE: &str = "the clock of this node does not fit the signatures";
    for (time, mode, code, off) in [
        (Time::Now, "enforce", NoError, 0.0),
        (Time::Past, "enforce", ServFail, 1.0),
        (Time::Future, "enforce", ServFail, 1.0),
        (Time::Past, "log", NoError, 1.0),
    ] {
        let place = Place::loopback();
        let Some(signer) = Signer::find(&place) else {
            return;
        };
        let (zone, anchor) = zone(&signer, "example.", time);
        let anchors = place.folder().join("example.ds");
        fs::write(&anchors, anchor).unwrap();
        let address = place.socket_address(2, 5353);
        let Some(server) = Authoritative::start(&place, address, &[zone]).await else {
            return;
        };
        let more = format!(
            "- {{name: example., authoritative: [\"{}\"]}}\nvalidation: {mode}\n\
             trust_anchors: {{files: [\"{}\"]}}\n",
            server.address(),
            anchors.display()
        );
        let node = Node::start(&place, &more).await;
        let question = Question::new("www.example.", RecordType::A).dnssec_ok();
        let reply = question.ask(node.address).await.unwrap();
        assert_eq!(reply.code(), code, "{time:?} {mode}");
        assert_eq!(node.admin.metric("nodedns_clock_off", &[]).await, off);
        let log = node.peer.log();
        assert_eq!(log.matches(LINE).count(), off as usize, "{log}");
        if time == Time::Past {
            assert!(log.contains("from=2020-01-01T00:00:00Z"), "{log}");
            assert!(log.contains("until=2020-02-01T00:00:00Z"), "{log}");
        }
        node.admin.ready().await.unwrap();
    }
}
