//! All servers of a zone are gone: what was known is answered for a while (RFC 8767), nobody waits for more
//! than the first, and once they are back so are their answers.

use std::fs;
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use tests::authoritative::{Authoritative, Denial, Zone};
use tests::coredns::CoreDns;
use tests::dns::{Question, RecordType, Reply};
use tests::place::Place;
use tests::wait;
use tokio::time::interval;

use crate::node::{Node, configuration, launch, zone};
use crate::servers::coredns;

/// Names whose answers live for a second, at two servers.
struct Scene {
    servers: [CoreDns; 2],
    node: Node,
    _place: Place,
}

impl Scene {
    /// With `stale` as the configuration of answers after their time, the servers being those of these zones.
    async fn start(zones: &[&str], stale: &str) -> Option<Self> {
        let place = Place::loopback();
        let names: String = (0..NAMES)
            .map(|number| format!("n{number} 1 A 192.0.2.7\n"))
            .chain(["n0.inner 1 A 192.0.2.9\n".into()])
            .collect();
        let first = coredns(&place, 2, "example.", &names).await?;
        let second = coredns(&place, 3, "example.", &names).await?;
        let servers = [first, second];
        let addresses = servers
            .each_ref()
            .map(|server| server.address().to_string());
        let zones: String = zones.iter().map(|name| zone(name, &addresses)).collect();
        let text = configuration(&place, &zones)
            + &format!("cache: {{max_negative_ttl: 1s, prefetch: false, stale: {{{stale}}}}}\n");
        let node = Node::of(
            launch(&place, &text),
            crate::node::address(&place),
            place.socket_address(1, 9253),
        )
        .await;
        Some(Self {
            servers,
            node,
            _place: place,
        })
    }

    /// Asks for a name, and gives how long that took as well.
    async fn ask(&self, name: &str) -> (Reply, Duration) {
        let began = Instant::now();
        let reply = Question::new(name, RecordType::A)
            .ask(self.node.address)
            .await;
        (reply.unwrap(), began.elapsed())
    }

    /// Waits until a name has no answer in its time any more, and gives how long the first was waited for
    /// that is after it.
    async fn first_stale(&self, name: &str) -> (Reply, Duration) {
        wait::until(
            "an answer after its time",
            Duration::from_secs(10),
            async || match self.ask(name).await {
                (reply, took) if is_stale(&reply) => Ok((reply, took)),
                (reply, _) => Err(format!("{reply:?}")),
            },
        )
        .await
    }

    async fn asked(&self) -> f64 {
        self.node
            .admin
            .metric("nodedns_upstream_queries_total", &[])
            .await
    }
}

fn is_stale(reply: &Reply) -> bool {
    let errors = reply.extended_errors();
    errors
        .iter()
        .any(|(code, _)| [STALE, STALE_DENIAL].contains(code))
}

#[tokio::test]
async fn what_was_known_is_answered_while_nobody_answers_and_anew_once_somebody_does() {
    let Some(mut scene) = Scene::start(&["."], "failure_recheck: 1s, ttl: 7s").await else {
        return;
    };
    for (name, code) in [
        (KNOWN, ResponseCode::NoError),
        (DENIED, ResponseCode::NXDomain),
    ] {
        assert_eq!(scene.ask(name).await.0.code(), code);
    }
    for server in &scene.servers {
        server.peer.pause();
    }
    let (reply, first) = scene.first_stale(KNOWN).await;
    assert_eq!(reply.data(RecordType::A), ["192.0.2.7"]);
    assert_eq!(reply.message.answers[0].ttl, 7);
    assert_eq!(reply.extended_errors()[0].0, STALE);
    assert!(!reply.is_authentic());
    assert!(first < Duration::from_millis(2_500), "{first:?}");
    let mut longest = Duration::ZERO;
    for _ in 0..50 {
        let (reply, took) = scene.ask(KNOWN).await;
        assert!(is_stale(&reply), "{reply:?}");
        longest = longest.max(took);
    }
    // The servers are known to be dead: no other name has to find that out.
    let (reply, other) = scene.first_stale(DENIED).await;
    assert_eq!(reply.code(), ResponseCode::NXDomain);
    assert_eq!(reply.extended_errors()[0].0, STALE_DENIAL);
    println!(
        "the first after {first:?}, then after {longest:?} at most, another name after {other:?}"
    );
    assert!(
        longest.max(other) < Duration::from_millis(500),
        "{longest:?}, {other:?}"
    );
    let (reply, _) = scene.ask("unknown.example.").await;
    assert_eq!(reply.code(), ResponseCode::ServFail);

    for server in &scene.servers {
        server.peer.resume();
    }
    fresh(&scene, KNOWN).await;
    // Once more, this time for good.
    for server in &mut scene.servers {
        server.peer.kill();
    }
    scene.first_stale(KNOWN).await;
    for server in &mut scene.servers {
        server.peer.restart();
    }
    fresh(&scene, KNOWN).await;
    let stale = scene
        .node
        .admin
        .metric("nodedns_stale_answers_total", &[])
        .await;
    assert!(stale > 50.0, "{stale}");
}

/// Waits until the name is answered in its time again.
async fn fresh(scene: &Scene, name: &str) {
    let began = Instant::now();
    wait::until(
        "a newer answer",
        Duration::from_secs(10),
        async || match scene.ask(name).await.0 {
            reply if is_stale(&reply) || reply.data(RecordType::A).is_empty() => {
                Err(format!("{reply:?}"))
            }
            _ => Ok(()),
        },
    )
    .await;
    println!("{name} anew after {:?}", began.elapsed());
}

#[tokio::test]
async fn many_names_ask_the_dead_as_often_as_one() {
    let Some(mut scene) = Scene::start(&["."], "failure_recheck: 1s").await else {
        return;
    };
    let names: Vec<String> = (0..NAMES)
        .map(|number| format!("n{number}.example."))
        .collect();
    for name in &names {
        scene.ask(name).await;
    }
    for server in &mut scene.servers {
        server.peer.kill();
    }
    for name in &names {
        scene.first_stale(name).await;
    }
    let (before, began) = (scene.asked().await, Instant::now());
    let mut answered = 0;
    while began.elapsed() < Duration::from_secs(3) {
        for name in &names {
            let (reply, _) = scene.ask(name).await;
            assert!(is_stale(&reply), "{name}: {reply:?}");
            answered += 1;
        }
    }
    let (asked, took) = (scene.asked().await - before, began.elapsed());
    println!("{answered} answers within {took:?}, {asked} questions to servers");
    assert!(answered > NAMES);
    // Each server has one a second as it is, and one more is tried for all.
    assert!(
        asked <= 4.0 * (took.as_secs_f64() + 1.0),
        "{asked} in {took:?}"
    );
}

/// With `TEST_SCALE=200` nobody answers for ten minutes.
#[tokio::test]
async fn however_long_nobody_answers_what_was_known_is_answered_at_once() {
    let Some(scene) = Scene::start(&[".", "inner.example."], "inner_max: 2s").await else {
        return;
    };
    let names: Vec<String> = (0..NAMES)
        .map(|number| format!("n{number}.example."))
        .collect();
    for name in names.iter().map(String::as_str).chain([INNER]) {
        assert_eq!(scene.ask(name).await.0.code(), ResponseCode::NoError);
    }
    for server in &scene.servers {
        server.peer.pause();
    }
    let (reply, first) = scene.first_stale(KNOWN).await;
    assert_eq!(reply.extended_errors()[0].0, STALE);
    // Until none is in its time any more.
    for name in &names {
        scene.first_stale(name).await;
    }
    let (before, began) = (scene.asked().await, Instant::now());
    let mut pace = interval(Duration::from_millis(5));
    let mut took = Vec::new();
    for name in names.iter().cycle() {
        pace.tick().await;
        let (reply, wait) = scene.ask(name).await;
        assert!(is_stale(&reply), "{name}: {reply:?}");
        took.push((wait, began.elapsed(), name));
        if began.elapsed() > Duration::from_secs(3) * tests::scale() {
            break;
        }
    }
    let (reply, _) = scene.ask(INNER).await;
    assert_eq!(reply.code(), ResponseCode::ServFail, "{reply:?}");
    let (during, outage) = (scene.asked().await - before, began.elapsed());
    for server in &scene.servers {
        server.peer.resume();
    }
    fresh(&scene, INNER).await;
    for name in &names {
        fresh(&scene, name).await;
    }
    let after = scene.asked().await - before - during;
    took.sort_unstable();
    println!(
        "{outage:?}: the first after {first:?}, then {} answers after {:?} in the middle, {:?} in 99 of 100, the \
         slowest (when, whose) {:?}, {during} questions to servers; {after} when they were back",
        took.len(),
        took[took.len() / 2].0,
        took[took.len() * 99 / 100].0,
        &took[took.len() - 5..],
    );
    assert!(first < Duration::from_millis(2_500), "{first:?}");
    assert!(during <= 4.0 * (outage.as_secs_f64() + 1.0), "{during}");
}

#[tokio::test]
async fn in_other_zones_than_the_root_what_was_known_is_answered_briefly() {
    let Some(mut scene) =
        Scene::start(&["example."], "inner_max: 2s, client_response: 100ms").await
    else {
        return;
    };
    scene.ask(KNOWN).await;
    for server in &mut scene.servers {
        server.peer.kill();
    }
    scene.first_stale(KNOWN).await;
    wait::until("the end", Duration::from_secs(10), async || {
        match scene.ask(KNOWN).await.0 {
            reply if reply.code() == ResponseCode::ServFail => Ok(()),
            reply => Err(format!("{reply:?}")),
        }
    })
    .await;
}

/// NSD, whose processes end together.
#[tokio::test]
async fn an_authority_that_is_restarted_is_believed_again_at_once() {
    let place = Place::loopback();
    let text = "@ 1 SOA ns host 1 3600 600 86400 1\n@ NS ns\nns A 192.0.2.1\nwww 1 A 192.0.2.7\n";
    let zones = [Zone::unsigned(&place, "example.", text)];
    let address = place.socket_address(2, 5353);
    let Some(mut server) = Authoritative::start(&place, address, &zones).await else {
        return;
    };
    let text = format!(
        "- {{name: example., authoritative: ['{address}'], validate: false}}\n\
         cache: {{prefetch: false, stale: {{inner_max: 1m, client_response: 0s, failure_recheck: 1s}}}}"
    );
    let node = Node::start(&place, &text).await;
    let ask = async || {
        let reply = Question::new("www.example.", RecordType::A)
            .ask(node.address)
            .await;
        reply.unwrap()
    };
    assert!(!is_stale(&ask().await));
    server.peer.kill();
    let until = async |stale: bool| {
        wait::until("the answer", Duration::from_secs(10), async || {
            match ask().await {
                reply if is_stale(&reply) == stale && !reply.data(RecordType::A).is_empty() => {
                    Ok(())
                }
                reply => Err(format!("{reply:?}")),
            }
        })
        .await;
    };
    until(true).await;
    server.peer.restart();
    until(false).await;
}

/// One of two servers has the zone signed by a key that nobody trusts, and then is the only one: what was known
/// before must not hide that.
#[tokio::test]
async fn what_cannot_be_believed_is_not_hidden_by_what_was_known_before() {
    let place = Place::loopback();
    let text = "@ 1 SOA ns host 1 3600 600 86400 1\n@ NS ns\nns A 192.0.2.1\nwww 1 A 192.0.2.7\n";
    let signed = || Zone::signed(&place, "example.", text, Denial::Nsec);
    let (Some(good), Some(bad)) = (signed(), signed()) else {
        return;
    };
    let anchor = place.folder().join("example.ds");
    fs::write(&anchor, good.ds()).unwrap();
    let [first, second] = [2, 3].map(|last| place.socket_address(last, 5353));
    let Some(mut honest) = Authoritative::start(&place, first, &[good]).await else {
        return;
    };
    let Some(_other) = Authoritative::start(&place, second, &[bad]).await else {
        return;
    };
    let text = format!(
        "- {{name: example., authoritative: ['{first}', '{second}']}}\n\
         cache: {{prefetch: false, stale: {{inner_max: 1h, client_response: 0s, failure_recheck: 1s}}}}\n\
         trust_anchors: {{files: ['{}'], follow_rollovers: false}}",
        anchor.display()
    );
    let node = Node::start(&place, &text).await;
    let ask = async || {
        let question = Question::new("www.example.", RecordType::A).dnssec_ok();
        question.ask(node.address).await.unwrap()
    };
    assert!(ask().await.is_authentic());
    honest.peer.kill();
    let is_failure = |reply: &Reply| reply.code() == ResponseCode::ServFail;
    wait::until("the truth", Duration::from_secs(20), async || {
        let reply = ask().await;
        is_failure(&reply)
            .then_some(())
            .ok_or_else(|| format!("{reply:?}"))
    })
    .await;
    let mut pace = interval(Duration::from_millis(100));
    for _ in 0..50 {
        pace.tick().await;
        let reply = ask().await;
        assert!(is_failure(&reply) && !is_stale(&reply), "{reply:?}");
    }
}

#[tokio::test]
async fn a_name_that_is_wanted_is_renewed_before_anybody_waits_for_it() {
    let place = Place::loopback();
    let Some(server) = coredns(&place, 2, "example.", "www 4 A 192.0.2.7").await else {
        return;
    };
    let node = Node::start(&place, &zone(".", &[server.address().to_string()])).await;
    wait::until("two renewals", Duration::from_secs(30), async || {
        assert_eq!(node.addresses("www.example.").await, ["192.0.2.7"]);
        match node.admin.metric("nodedns_prefetches_total", &[]).await {
            renewals if renewals >= 2.0 => Ok(()),
            renewals => Err(format!("{renewals} renewals")),
        }
    })
    .await;
    assert_eq!(node.lookups("miss").await, 1.0, "but for the first");
}

const KNOWN: &str = "n0.example.";
const INNER: &str = "n0.inner.example.";
const DENIED: &str = "none.example.";
const NAMES: usize = 200;
const STALE: u16 = 3;
const STALE_DENIAL: u16 = 19;
