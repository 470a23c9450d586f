//! Servers that are dead, hung, or cannot answer.

use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use tests::coredns::CoreDns;
use tests::dns::{Question, RecordType};
use tests::place::Place;

use crate::node::{Node, zone};
use crate::servers::coredns;

/// Three servers of `example.`, the first to be asked over TCP.
async fn servers(place: &Place) -> Option<Vec<CoreDns>> {
    let mut servers = Vec::new();
    for last in 2..=4 {
        servers.push(coredns(place, last, "example.", "* 0 A 192.0.2.7").await?);
    }
    Some(servers)
}

fn zone_of(servers: &[CoreDns]) -> String {
    let servers: Vec<_> = servers
        .iter()
        .enumerate()
        .map(|(at, server)| {
            let scheme = if at == 0 { "tcp" } else { "udp" };
            format!("{scheme}://{}", server.address())
        })
        .collect();
    zone("example.", &servers)
}

/// Asks for names that nobody asked for before, and gives the time of the slowest.
async fn slowest_of(node: &Node, names: std::ops::Range<u32>) -> Duration {
    let mut slowest = Duration::ZERO;
    for number in names {
        let began = Instant::now();
        let addresses = node.addresses(&format!("name-{number}.example.")).await;
        assert_eq!(addresses, ["192.0.2.7"], "name {number}");
        slowest = slowest.max(began.elapsed());
    }
    slowest
}

#[tokio::test]
async fn hung_and_killed_servers_cost_no_answer() {
    let place = Place::loopback();
    let Some(mut servers) = servers(&place).await else {
        return;
    };
    let node = Node::start(&place, &zone_of(&servers)).await;
    slowest_of(&node, 0..20).await;
    servers[0].peer.pause();
    servers[1].peer.kill();
    let slowest = slowest_of(&node, 20..120).await;
    // A stub resolver asks again after five seconds.
    assert!(slowest < Duration::from_secs(4), "{slowest:?}");
}

#[tokio::test]
async fn a_server_that_comes_back_over_tcp_is_asked_again() {
    let place = Place::loopback();
    let Some(mut servers) = servers(&place).await else {
        return;
    };
    let node = Node::start(&place, &zone_of(&servers[..1])).await;
    slowest_of(&node, 0..20).await;
    servers[0].peer.kill();
    servers[0].peer.restart();
    // While it starts, its port refuses: the question waits, and is answered.
    let slowest = slowest_of(&node, 20..40).await;
    assert!(slowest < Duration::from_secs(4), "{slowest:?}");
}

#[tokio::test]
async fn when_all_are_dead_the_client_is_told_in_time() {
    let place = Place::loopback();
    let Some(servers) = servers(&place).await else {
        return;
    };
    let node = Node::start(&place, &zone_of(&servers)).await;
    for server in &servers {
        server.peer.pause();
    }
    let began = Instant::now();
    let reply = Question::new("www.example.", RecordType::A)
        .ask(node.address)
        .await
        .unwrap();
    let took = began.elapsed();
    assert_eq!(reply.code(), ResponseCode::ServFail);
    assert_eq!(reply.extended_errors()[0].0, 22, "No Reachable Authority");
    assert!(
        took > Duration::from_secs(4) && took < Duration::from_secs(5),
        "{took:?}"
    );
    for server in &servers {
        server.peer.resume();
    }
    tests::wait::until(
        "it to be mended",
        Duration::from_secs(5),
        async || match node.addresses("www.example.").await {
            addresses if addresses.is_empty() => Err("still failing"),
            _ => Ok(()),
        },
    )
    .await;
}

#[tokio::test]
async fn a_server_that_answers_servfail_gives_its_turn_to_the_next() {
    let place = Place::loopback();
    let Some(servers) = servers(&place).await else {
        return;
    };
    let broken = place.socket_address(5, 5353);
    let corefile = format!(
        "example.:5353 {{\n bind {}\n template ANY ANY {{\n  rcode SERVFAIL\n }}\n}}\n",
        broken.ip()
    );
    let Some(_broken) = CoreDns::start(&place, broken, &corefile).await else {
        return;
    };
    let both = zone(
        "example.",
        &[broken.to_string(), servers[1].address().to_string()],
    );
    let node = Node::start(&place, &both).await;
    let slowest = slowest_of(&node, 0..50).await;
    assert!(slowest < Duration::from_millis(250), "{slowest:?}");

    let place = Place::loopback();
    let node = Node::start(&place, &zone("example.", &[broken.to_string()])).await;
    let reply = Question::new("www.example.", RecordType::A)
        .ask(node.address)
        .await
        .unwrap();
    assert_eq!(reply.code(), ResponseCode::ServFail);
    assert!(reply.extended_errors()[0].1.ends_with("answers SERVFAIL"));
}
