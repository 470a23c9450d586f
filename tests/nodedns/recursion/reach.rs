//! Name servers of the world that cannot be reached, or by one family of addresses only.

use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use tests::authoritative::{Authoritative, Zone};
use tests::binaries;
use tests::dns::{Question, RecordType};
use tests::launch::Launch;
use tests::place::Place;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::recorder::{Manner, Recorder};
use super::{SOA, node, port_53, world};

#[tokio::test]
async fn servers_with_ipv6_addresses_only_are_asked_where_there_is_a_way() {
    let Some(place) = world().await else { return };
    for address in [SIX] {
        let ip = binaries::packaged("ip").unwrap();
        let add = [
            "address",
            "add",
            &format!("{address}/128"),
            "dev",
            "lo",
            "nodad",
        ];
        let add = Launch::new(&place, "ip", &ip).args(add);
        add.run().await.success();
    }
    let Some(_servers) = servers(&place, SIX).await else {
        return;
    };
    let node = node(&place, "{name: ., validate: false}", "").await;
    for name in ["www.six.lab.", "www.both.lab."] {
        assert_eq!(node.addresses(name).await, ["192.0.2.1"], "{name}");
    }
}

#[tokio::test]
async fn without_a_way_for_ipv6_no_question_waits_for_it() {
    let Some(place) = world().await else { return };
    let Some(_servers) = servers(&place, "192.0.2.54").await else {
        return;
    };
    let node = node(&place, "{name: ., validate: false}", "").await;
    for number in 0..3 {
        let began = Instant::now();
        let name = format!("n{number}.both.lab.");
        assert_eq!(node.addresses(&name).await, ["192.0.2.1"], "{name}");
        assert!(began.elapsed() < Duration::from_millis(250), "{name}");
    }
    let began = Instant::now();
    let question = Question::new("www.six.lab.", RecordType::A);
    let reply = question.ask(node.address).await.unwrap();
    let (code, text) = reply.extended_errors().remove(0);
    assert_eq!(reply.code(), ResponseCode::ServFail);
    assert!(text.contains("2001:db8:53::1"), "{code} {text}");
    let took = began.elapsed();
    assert!(took < Duration::from_millis(4_800), "{took:?}");
}

/// A root, `lab.`, and two zones below it: `six.` at an IPv6 address only, `both.` also at an IPv4
/// address; who has them listens at `address`, and the second at 192.0.2.55 as well.
async fn servers(place: &Place, address: &str) -> Option<Vec<Authoritative>> {
    let zone = |name: &str, text: &str| Zone::unsigned(place, name, &format!("{SOA}{text}"));
    let test = format!(
        "six NS ns.six\nns.six AAAA {SIX}\nboth NS ns1.both\nboth NS ns2.both\n\
         ns1.both AAAA {SIX}\nns2.both A 192.0.2.55\n"
    );
    let both = || zone("both.lab.", "* A 192.0.2.1\n");
    let mut servers = Vec::new();
    for (address, zones) in [
        (
            "192.0.2.51",
            vec![zone(".", "lab. NS ns.lab.\nns.lab. A 192.0.2.52\n")],
        ),
        ("192.0.2.52", vec![zone("lab.", &test)]),
        (address, vec![zone("six.lab.", "* A 192.0.2.1\n"), both()]),
        ("192.0.2.55", vec![both()]),
    ] {
        servers.push(Authoritative::start(place, port_53(address), &zones).await?);
    }
    Some(servers)
}

#[tokio::test]
async fn dead_servers_are_probed_once_a_second_and_clients_are_told_in_time() {
    let Some(place) = world().await else { return };
    let zone = |name: &str, text: &str| Zone::unsigned(&place, name, &format!("{SOA}{text}"));
    let dead = "dead NS ns1.dead\ndead NS ns2.dead\nns1.dead A 192.0.2.58\nns2.dead A 192.0.2.59\n";
    let mut servers = Vec::new();
    for (address, zone) in [
        (
            "192.0.2.51",
            zone(".", "lab. NS ns.lab.\nns.lab. A 192.0.2.52\n"),
        ),
        ("192.0.2.52", zone("lab.", dead)),
    ] {
        let Some(server) = Authoritative::start(&place, port_53(address), &[zone]).await else {
            return;
        };
        servers.push(server);
    }
    let mut holes = Vec::new();
    for address in ["192.0.2.58", "192.0.2.59"] {
        holes.push(Recorder::start(port_53(address), Manner::Nothing).await);
    }
    // One client asks for all of them, more than one's share.
    let more = "limits: {exempt: [10.9.0.0/24]}\n";
    let node = node(&place, "{name: ., validate: false}", more).await;
    let mut asking = JoinSet::new();
    // For longer than a delegation whose servers fail is believed without being asked for anew.
    for number in 0..700 {
        let (address, name) = (node.address, format!("n{number}.dead.lab."));
        asking.spawn(async move {
            let began = Instant::now();
            let reply = Question::new(&name, RecordType::A).ask(address).await;
            (reply.unwrap(), began.elapsed())
        });
        sleep(Duration::from_millis(20)).await;
    }
    let mut waits = Vec::new();
    for (reply, took) in asking.join_all().await {
        assert_eq!(reply.code(), ResponseCode::ServFail);
        assert_eq!(reply.extended_errors()[0].0, 22, "No Reachable Authority");
        waits.push(took);
    }
    waits.sort();
    let (most, all) = (waits[waits.len() * 9 / 10], waits[waits.len() - 1]);
    println!("SERVFAIL after {most:?} for nine of ten, {all:?} for all");
    // On a machine that is busy some wait for their turn on it.
    assert!(most < Duration::from_millis(4_700), "{most:?}");
    for hole in &holes {
        let times = hole.times();
        let known_dead = times[0] + Duration::from_millis(1_500);
        let probes: Vec<_> = times.into_iter().filter(|at| *at > known_dead).collect();
        let lasted = probes[probes.len() - 1] - probes[0];
        println!("{} probes in {lasted:?}", probes.len());
        assert!(probes.len() >= 10, "it is probed");
        assert!(probes.len() as f64 <= lasted.as_secs_f64() + 1.5);
    }
}

const SIX: &str = "2001:db8:53::1";
