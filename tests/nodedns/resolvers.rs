//! Real resolvers and authoritative servers as upstreams: unbound and BIND, validating and not, and NSD.

use hickory_proto::op::ResponseCode;
use tests::authoritative::{Authoritative, Denial, Zone};
use tests::dns::{Question, RecordType};
use tests::place::Place;
use tests::recursive::{Recursive, Task};

use crate::node::{Node, zone};
use crate::servers::SOA;

const ZONE: &str = "example.";

/// A signed zone with many names, one of which does not fit a datagram.
async fn authoritative(place: &Place) -> Option<(Authoritative, Zone)> {
    // BIND takes a hundred at most.
    let many: String = (1..=90)
        .map(|last| format!("many A 192.0.2.{last}\n"))
        .collect();
    let text = format!("{SOA}* 0 A 192.0.2.7\n{many}sub NS ns.sub\nns.sub A 192.0.2.53\n");
    let zone = Zone::signed(place, ZONE, &text, Denial::Nsec)?;
    // BIND asks static stubs on port 53 only.
    let address = place.socket_address(2, 53);
    let server = Authoritative::start(place, address, std::slice::from_ref(&zone)).await?;
    Some((server, zone))
}

async fn ask_all_kinds(node: &Node, what: &str) {
    for number in 0..20 {
        let addresses = node.addresses(&format!("{what}-{number}.example.")).await;
        assert_eq!(addresses, ["192.0.2.7"], "{what}");
    }
    let whole = Question::new("many.example.", RecordType::A).tcp();
    let reply = whole.ask(node.address).await.unwrap();
    assert_eq!(reply.data(RecordType::A).len(), 90, "{what}");
    let absent = Question::new("ns.example.", RecordType::MX);
    let reply = absent.ask(node.address).await.unwrap();
    assert_eq!(reply.code(), ResponseCode::NoError, "{what}");
}

#[tokio::test]
async fn unbound_and_bind_validating_or_not_resolve_for_us_and_for_each_other() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let Some((server, signed)) = authoritative(&place).await else {
        return;
    };
    for (last, trust_anchor) in [(3, Some(signed.ds())), (5, None)] {
        let task = Task {
            zone: ZONE,
            server: server.address(),
            trust_anchor,
            certificate: None,
        };
        let address = |last| place.socket_address(last, 5353);
        let unbound = Recursive::unbound(&place, address(last), task).await;
        let bind = Recursive::bind(&place, address(last + 1), task).await;
        let (Some(unbound), Some(mut bind)) = (unbound, bind) else {
            return;
        };
        let [unbound, own] = [unbound.address(), bind.address()].map(|it| it.to_string());
        let whats = ["unbound", "bind", "both"];
        let servers = [vec![unbound.clone()], vec![own.clone()], vec![unbound, own]];
        for (what, servers) in whats.iter().zip(&servers) {
            let node = Node::start(&place, &zone(".", servers)).await;
            ask_all_kinds(&node, &format!("{what}-{last}")).await;
            if *what == "both" {
                bind.peer.kill();
                ask_all_kinds(&node, &format!("one-of-{what}-{last}")).await;
            }
        }
    }
}

#[tokio::test]
async fn a_zone_with_its_own_servers_is_asked_without_recursion() {
    let place = Place::loopback();
    let Some((server, _)) = authoritative(&place).await else {
        return;
    };
    let own = format!(
        "- {{name: {ZONE}, authoritative: [\"{}\"], validate: false}}\n",
        server.address()
    );
    let node = Node::start(&place, &own).await;
    ask_all_kinds(&node, "own").await;
    // As a resolver NSD is lame: it refuses what it does not have, and cannot ask others.
    let delegated = Question::new("www.sub.example.", RecordType::A);
    let reply = delegated.ask(node.address).await.unwrap();
    assert_eq!(reply.code(), ResponseCode::ServFail);
    let (code, text) = &reply.extended_errors()[0];
    assert_eq!(*code, 22, "No Reachable Authority");
    assert!(text.contains("names other servers"), "{text}");
}

#[tokio::test]
async fn with_force_tcp_no_datagram_is_sent() {
    let place = Place::loopback();
    let Some((server, _)) = authoritative(&place).await else {
        return;
    };
    let zone = format!(
        "- {{name: {ZONE}, authoritative: [\"{}\"], force_tcp: true, validate: false}}\n",
        server.address()
    );
    let node = Node::start(&place, &zone).await;
    ask_all_kinds(&node, "forced").await;
    let server = format!("tcp://{}", server.address());
    let labels = [("server", server.as_str()), ("outcome", "answered")];
    let asked = node
        .admin
        .metric("nodedns_upstream_queries_total", &labels)
        .await;
    assert_eq!(asked, 22.0);
    let connections = node
        .admin
        .metric("nodedns_upstream_connections", &labels[..1])
        .await;
    assert!((1.0..=3.0).contains(&connections), "{connections}");
}
