//! Two or more servers of which some are silent, lying, refusing, or come and go.

use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use tests::dns::{Question, RecordType};
use tests::place::Place;

use crate::hostile::{Hostile, honest, liar, servfail, silent};
use crate::node::{Node, zone};

/// Asks for a name, and gives how long the answer took, which must be the good one.
async fn time_of(node: &Node, name: &str) -> Duration {
    let began = Instant::now();
    assert_eq!(node.addresses(name).await, ["192.0.2.7"], "{name}");
    began.elapsed()
}

#[tokio::test]
async fn a_black_hole_costs_one_question_less_than_half_a_second_and_the_next_nothing() {
    let (mut first, mut later) = (Duration::ZERO, Duration::ZERO);
    // Which of two unknown servers is asked first is left to chance.
    let places = [(); 8].map(|()| Place::loopback());
    for place in &places {
        let good = Hostile::start(place.socket_address(2, 5353), honest).await;
        let hole = Hostile::start(place.socket_address(3, 5353), silent).await;
        let servers = [hole.address.to_string(), good.address.to_string()];
        let node = Node::start(place, &zone(".", &servers)).await;
        let began = Instant::now();
        first = first.max(time_of(&node, "first.example.").await);
        for number in 0..50 {
            later = later.max(time_of(&node, &format!("n{number}.example.")).await);
        }
        // Once a second a question goes to it as well. Nobody waits for that.
        let most = 2 + began.elapsed().as_secs() as usize;
        let asked = hole.asked().len();
        assert!((1..=most).contains(&asked), "{asked}");
    }
    println!("one of two is a black hole: first question {first:?}, slowest later one {later:?}");
    assert!(first < Duration::from_millis(500), "{first:?}");
    assert!(later < Duration::from_millis(300), "{later:?}");
}

#[tokio::test]
async fn when_all_are_dead_each_is_probed_once_a_second_and_clients_are_told_in_time() {
    let place = Place::loopback();
    let mut holes = Vec::new();
    for last in 2..=3 {
        holes.push(Hostile::start(place.socket_address(last, 5353), silent).await);
    }
    let servers: Vec<_> = holes.iter().map(|hole| hole.address.to_string()).collect();
    let node = Node::start(&place, &zone(".", &servers)).await;
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..300 {
        let (address, name) = (node.address, format!("n{number}.example."));
        asking.spawn(async move {
            let began = Instant::now();
            let reply = Question::new(&name, RecordType::A).ask(address).await;
            (reply.unwrap(), began.elapsed())
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while let Some(answered) = asking.join_next().await {
        let (reply, took) = answered.unwrap();
        assert_eq!(reply.code(), ResponseCode::ServFail);
        assert_eq!(reply.extended_errors()[0].0, 22, "No Reachable Authority");
        assert!(took < Duration::from_millis(4_800), "{took:?}");
    }
    for hole in &holes {
        let asked = hole.asked();
        let known_dead = asked[0].at + Duration::from_millis(1_500);
        let probes: Vec<_> = asked
            .iter()
            .map(|asked| asked.at)
            .filter(|at| *at > known_dead)
            .collect();
        assert!(probes.len() >= 4, "it is probed");
        for two in probes.windows(2) {
            let pause = two[1] - two[0];
            assert!(pause > Duration::from_millis(950), "{pause:?}");
        }
    }
}

#[tokio::test]
async fn servers_that_come_and_go_leave_no_question_without_an_answer() {
    let place = Place::loopback();
    // At any time one of the two answers.
    let even = Hostile::start(place.socket_address(2, 5353), |packet, at| {
        let up = at.as_millis() / 700 % 2 == 0;
        if up { honest(packet, at) } else { Vec::new() }
    })
    .await;
    let odd = Hostile::start(place.socket_address(3, 5353), |packet, at| {
        let up = at.as_millis() / 700 % 2 == 1;
        if up { honest(packet, at) } else { Vec::new() }
    })
    .await;
    let servers = [even.address.to_string(), odd.address.to_string()];
    let node = Node::start(&place, &zone(".", &servers)).await;
    let mut slowest = Duration::ZERO;
    for number in 0..150 {
        slowest = slowest.max(time_of(&node, &format!("n{number}.example.")).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("flapping servers: slowest answer {slowest:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}

#[tokio::test]
async fn lies_before_the_truth_change_nothing() {
    let place = Place::loopback();
    let server = Hostile::start(place.socket_address(2, 5353), liar).await;
    let node = Node::start(&place, &zone(".", &[server.address.to_string()])).await;
    for number in 0..50 {
        let name = format!("name-{number}.example.");
        assert_eq!(node.addresses(&name).await, ["192.0.2.7"], "{name}");
    }
    let server = format!("udp://{}", server.address);
    let labels = [("server", server.as_str())];
    let ignored = node
        .admin
        .metric("nodedns_upstream_ignored_total", &labels)
        .await;
    assert!(ignored >= 50.0 * 10.0, "{ignored}");
}

#[tokio::test]
async fn one_good_server_among_all_kinds_of_bad_ones_is_enough() {
    let place = Place::loopback();
    let address = |last| place.socket_address(last, 5353);
    let bad = [
        Hostile::start(address(2), silent).await,
        Hostile::start(address(3), servfail).await,
        Hostile::start(address(4), |packet, at| {
            // Always more to come, over a TCP that is not there.
            let mut reply = honest(packet, at);
            reply[0].1[2] |= 2;
            reply
        })
        .await,
        Hostile::start(address(5), |packet, at| {
            // In lower case, and no TCP either.
            let mut reply = honest(packet, at);
            reply[0].1[12..].make_ascii_lowercase();
            reply
        })
        .await,
    ];
    let good = Hostile::start(address(6), honest).await;
    let mut servers: Vec<_> = bad.iter().map(|bad| bad.address.to_string()).collect();
    // Nobody listens there at all.
    servers.push(address(7).to_string());
    servers.push(good.address.to_string());
    let node = Node::start(&place, &zone(".", &servers)).await;
    let mut slowest = Duration::ZERO;
    for number in 0..100 {
        slowest = slowest.max(time_of(&node, &format!("n{number}.example.")).await);
    }
    println!("one good server among five bad ones: slowest answer {slowest:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}
