//! Who is trusted while it runs: names taken out of validation by a command, keys that are replaced.

use std::fs;
use std::net::SocketAddr;

use hickory_proto::op::ResponseCode::{NoError, ServFail};
use tests::authoritative::{Authoritative, Zone};
use tests::dns::{Question, RecordType};
use tests::launch::Output;
use tests::place::Place;
use tests::program;
use tests::signed::{Denial, Key, Recipe, Signer, Time};

use crate::node::Node;

/// `example.` as these keys sign it: `www` is right, `bad` is altered afterwards.
fn zone(signer: &Signer, shown: &[&Key], signing: &[&Key]) -> Zone {
    let keys = |keys: &[&Key]| keys.iter().map(|key| (*key).clone()).collect::<Vec<_>>();
    let mut lines = signer.sign(&Recipe {
        zone: "example.",
        text: "@ SOA ns host 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.53\nwww A 192.0.2.1\nbad A 192.0.2.1\n",
        shown: &keys(shown),
        signing: &keys(signing),
        denial: Denial::Nsec,
        time: Time::Now,
    });
    for line in lines
        .iter_mut()
        .filter(|line| line.starts_with("bad.example. 300 IN A "))
    {
        *line = line.replace("192.0.2.1", "192.0.2.66");
    }
    signer.write("example.", &lines)
}

/// nodedns that asks `server` for `example.` and trusts the key in `example.ds`.
async fn node(place: &Place, server: SocketAddr, more: &str) -> Node {
    let anchor = place.folder().join("example.ds");
    let zones = format!(
        "- {{name: example., authoritative: [\"{server}\"]}}\n\
         trust_anchors: {{files: [\"{}\"]{more}}}\n",
        anchor.display()
    );
    Node::start(place, &zones).await
}

/// The code, and whether the answer is authentic.
async fn ask(node: &Node, name: &str) -> (hickory_proto::op::ResponseCode, bool) {
    let question = Question::new(name, RecordType::A).dnssec_ok();
    let reply = question.ask(node.address).await.unwrap();
    (reply.code(), reply.is_authentic())
}

async fn negative_anchor(place: &Place, arguments: &[&str]) -> Output {
    let launch = program::nodedns(place).arg("negative-anchor");
    launch.args(arguments).run().await
}

#[tokio::test]
async fn a_name_is_not_validated_while_somebody_says_so() {
    let place = Place::loopback();
    let Some(signer) = Signer::find(&place) else {
        return;
    };
    let key = signer.key("example.", "ECDSAP256SHA256");
    fs::write(
        place.folder().join("example.ds"),
        signer.ds(&key, "SHA-256"),
    )
    .unwrap();
    let zones = [zone(&signer, &[&key], &[&key])];
    let Some(server) = Authoritative::start(&place, place.socket_address(2, 5353), &zones).await
    else {
        return;
    };
    let mut running = node(&place, server.address(), "").await;
    assert_eq!(ask(&running, "www.example.").await, (NoError, true));
    assert_eq!(ask(&running, "bad.example.").await, (ServFail, false));

    let add = ["add", "example", "--for", "1d", "--reason", "ticket 4711"];
    let added = negative_anchor(&place, &add).await;
    assert_eq!(added.code(), 0, "{added}");
    assert!(added.stdout.starts_with("example.  until "), "{added}");
    // At once, whatever the cache had.
    assert_eq!(ask(&running, "bad.example.").await, (NoError, false));
    assert_eq!(ask(&running, "www.example.").await, (NoError, false));
    let count = async |node: &Node| node.admin.metric("nodedns_negative_anchors", &[]).await;
    assert_eq!(count(&running).await, 1.0);

    // A restart knows it, and the new process takes the socket over.
    running.peer.stop().await;
    let running = node(&place, server.address(), "").await;
    running
        .peer
        .says("not validated, as somebody said before the start")
        .await;
    assert_eq!(ask(&running, "bad.example.").await, (NoError, false));
    let listed = negative_anchor(&place, &["list", "-o", "json"]).await;
    assert_eq!(listed.code(), 0, "{listed}");
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(listed["anchors"][0]["name"], "example.");
    assert_eq!(listed["anchors"][0]["reason"], "ticket 4711");

    let removed = negative_anchor(&place, &["remove", "example"]).await;
    assert_eq!(removed.code(), 0, "{removed}");
    assert_eq!(ask(&running, "bad.example.").await, (ServFail, false));
    assert_eq!(ask(&running, "www.example.").await, (NoError, true));
    assert_eq!(count(&running).await, 0.0);
    for (arguments, part) in [
        (
            &["remove", "example"][..],
            "there is no negative trust anchor at example.",
        ),
        (
            &["add", "a.b", "--for", "8d", "--reason", "x"],
            "lasts from 1m to 168h",
        ),
        (
            &["add", ".", "--for", "1d", "--reason", "x"],
            "would end all validation",
        ),
    ] {
        let refused = negative_anchor(&place, arguments).await;
        assert_eq!(refused.code(), 1, "{refused}");
        assert!(refused.stderr.contains(part), "{refused}");
    }
    drop(running);
    let gone = negative_anchor(&place, &["list"]).await;
    assert_eq!(gone.code(), 1, "{gone}");
    assert!(
        gone.stderr.contains("control.sock: is it running"),
        "{gone}"
    );
}

/// A rollover from a first key to a second, as it is seen by nodes that start along the way; between
/// them 30 days pass, in the file of the state.
#[tokio::test]
async fn a_rollover_is_followed_rfc_5011() {
    let place = Place::loopback();
    let Some(signer) = Signer::find(&place) else {
        return;
    };
    let keys = [0; 2].map(|_| signer.key("example.", "ECDSAP256SHA256"));
    let [old, new] = &keys;
    let revoked = signer.revoked(old);
    fs::write(place.folder().join("example.ds"), signer.ds(old, "SHA-256")).unwrap();
    let mut port = 5353;
    let mut serve = async |shown: &[&Key], signing: &[&Key]| {
        port += 1;
        let zones = [zone(&signer, shown, signing)];
        Authoritative::start(&place, place.socket_address(2, port), &zones).await
    };
    let state = place.folder().join("state/trust-anchors.json");
    let keys_in = async |node: &Node, state: &str| {
        let labels = [("zone", "example."), ("state", state)];
        node.admin
            .metric("nodedns_trust_anchor_keys", &labels)
            .await
    };
    let seen = async |node: &Node| {
        let metric = "nodedns_trust_anchor_queries_total";
        tests::wait::until("a look at the keys", DEADLINE, async || {
            match node.admin.metric(metric, &[("outcome", "seen")]).await {
                0.0 => Err("not yet"),
                _ => Ok(()),
            }
        })
        .await;
    };

    // The new key is shown, and waits.
    let Some(server) = serve(&[old, new], &[old]).await else {
        return;
    };
    let running = node(&place, server.address(), "").await;
    seen(&running).await;
    assert_eq!(keys_in(&running, "valid").await, 1.0);
    assert_eq!(keys_in(&running, "pending").await, 1.0);
    drop(running);

    // 30 days later it is trusted.
    let text = fs::read_to_string(&state).unwrap();
    fs::write(&state, a_month_earlier(&text)).unwrap();
    let running = node(&place, server.address(), "").await;
    running.peer.says("a key is trusted").await;
    seen(&running).await;
    assert_eq!(keys_in(&running, "valid").await, 2.0);
    drop((running, server));

    // It signs alone: the configured one is gone, and not missed.
    let Some(server) = serve(&[new], &[new]).await else {
        return;
    };
    let running = node(&place, server.address(), "").await;
    assert_eq!(ask(&running, "www.example.").await, (NoError, true));
    assert_eq!(ask(&running, "bad.example.").await, (ServFail, false));
    drop(running);
    let running = node(&place, server.address(), ", follow_rollovers: false").await;
    assert_eq!(ask(&running, "www.example.").await, (ServFail, false));
    drop((running, server));

    // The old one is revoked.
    let text = fs::read_to_string(&state).unwrap();
    fs::write(&state, a_month_earlier(&text)).unwrap();
    let Some(server) = serve(&[&revoked, new], &[&revoked, new]).await else {
        return;
    };
    let running = node(&place, server.address(), "").await;
    running
        .peer
        .says("a trusted key is revoked by its owner")
        .await;
    seen(&running).await;
    assert_eq!(keys_in(&running, "revoked").await, 1.0);
    assert_eq!(ask(&running, "www.example.").await, (NoError, true));
    drop((running, server));

    // From then on it proves nothing, though the configuration names it.
    let Some(server) = serve(&[old], &[old]).await else {
        return;
    };
    let running = node(&place, server.address(), "").await;
    assert_eq!(ask(&running, "www.example.").await, (ServFail, false));
    drop(running);

    // A state that cannot be read is no authority: what is configured holds.
    fs::write(&state, "{\"version\": 1, \"zones\": [").unwrap();
    let running = node(&place, server.address(), "").await;
    running
        .peer
        .says("a file of what was trusted is ignored")
        .await;
    assert_eq!(ask(&running, "www.example.").await, (NoError, true));
}

/// The state as it would be had all of it happened a month before.
fn a_month_earlier(state: &str) -> String {
    let mut state: serde_json::Value = serde_json::from_str(state).unwrap();
    for zone in state["zones"].as_array_mut().unwrap() {
        zone["next_query"] = MONTHS_AGO.into();
        for key in zone["keys"].as_array_mut().unwrap() {
            key["since"] = MONTHS_AGO.into();
            if let Some(pending) = key["state"].get_mut("pending") {
                pending["until"] = MONTHS_AGO.into();
            }
        }
    }
    state.to_string()
}

const MONTHS_AGO: &str = "2026-01-01T00:00:00Z";
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(10);
