//! Servers that want to see where a question comes from (RFC 7873): BIND, which answers a cookie that is not its
//! own with BADCOOKIE. And what one can tell of us by ours.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{RData, Record};
use tests::dns::{Question, RecordType};
use tests::launch::Launch;
use tests::peer::Peer;
use tests::place::Place;
use tests::{binaries, bind, wait};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::edns::dig;
use crate::node::{Node, zone};
use crate::servers::SOA;

/// BIND with `example.`, whose names have all the same address.
async fn strict(place: &Place, address: SocketAddr) -> Option<Peer> {
    let file = place.folder().join("example.zone");
    let text = format!("$ORIGIN example.\n$TTL 300\n{SOA}* A 192.0.2.7\n");
    fs::write(&file, text).unwrap();
    let options = "  recursion no;\n  require-server-cookie yes;\n";
    let zone = format!(
        "zone \"example\" {{ type primary; file \"{}\"; }};\n",
        file.display()
    );
    let peer = bind::start(place, address, options, &zone).await?;
    let question = Question::new("example.", RecordType::SOA).tcp();
    wait::until(
        "the zone",
        Duration::from_secs(30),
        async || match question.ask(address).await {
            Ok(reply) if reply.code() == ResponseCode::NoError => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    Some(peer)
}

#[tokio::test]
async fn a_server_that_requires_cookies_is_asked_over_udp_all_the_same() {
    // BIND listens on addresses that an interface has.
    let Some(place) = Place::namespace() else {
        return;
    };
    let address = place.socket_address(1, 5354);
    let Some(_server) = strict(&place, address).await else {
        return;
    };
    let arguments = ["+cookie", "+nobadcookie", "any.example."];
    let Some(said) = dig(&place, address, &arguments).await else {
        return;
    };
    assert!(said.contains("status: BADCOOKIE"), "{said}");
    let zones = zone("example.", &[address.to_string()]).replace("forward", "authoritative");
    let node = Node::start(&place, &zones).await;
    for number in 0..50 {
        let name = format!("n{number}.example.");
        assert_eq!(node.addresses(&name).await, ["192.0.2.7"], "{name}");
    }
    for (metric, expected) in [
        ("nodedns_upstream_connections", 0.0),
        ("nodedns_upstream_ignored_total", 0.0),
        ("nodedns_upstream_queries_total", 50.0),
    ] {
        let found = node.admin.metric(metric, &[]).await;
        assert_eq!(found, expected, "{metric}");
    }
}

/// Whence it was asked, and what it was shown.
type Shown = Vec<(IpAddr, Vec<u8>)>;

/// Gives a cookie to whoever shows one, and writes down who shows what.
async fn watch(socket: UdpSocket, shown: Arc<Mutex<Shown>>) {
    let mut buffer = vec![0; 4_096];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        let query = Message::from_vec(&buffer[..length]).unwrap();
        let question = query.queries[0].clone();
        let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
        reply.metadata.recursion_available = true;
        let address = RData::A(A::new(192, 0, 2, 7));
        reply.add_answer(Record::from_rdata(question.name().clone(), 300, address));
        reply.add_query(question);
        let edns = query.edns.expect("a server that takes EDNS gets it");
        if let Some(EdnsOption::Unknown(_, cookie)) = edns.option(EdnsCode::Cookie) {
            shown.lock().unwrap().push((from.ip(), cookie.clone()));
            let given = [&cookie[..8], b"by us..."].concat();
            let mut edns = Edns::new();
            edns.options_mut().insert(EdnsOption::Unknown(10, given));
            reply.set_edns(edns);
        }
        socket
            .send_to(&reply.to_vec().unwrap(), from)
            .await
            .unwrap();
    }
}

/// RFC 7873 §4.1: a client that changes its address is not to be known again by its cookie.
#[tokio::test]
async fn a_node_that_gets_another_address_is_another_client() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let address = place.socket_address(1, 5354);
    let shown: Arc<Mutex<Shown>> = Arc::default();
    let mut server = JoinSet::new();
    let socket = UdpSocket::bind(address).await.unwrap();
    server.spawn(watch(socket, Arc::clone(&shown)));
    let node = Node::start(&place, &zone("example.", &[address.to_string()])).await;
    let mut seen = BTreeSet::new();
    let mut names = (0..).map(|number| format!("n{number}.example."));
    for source in [1, 2, 1] {
        let (to, source) = (address.ip().to_string(), place.address(source));
        let ip = binaries::packaged("ip").expect("the namespace was made with it");
        let route = [
            "route", "replace", "table", "local", "local", &to, "dev", "lo",
        ];
        let changed = Launch::new(&place, "ip", &ip)
            .args(route)
            .args(["proto", "kernel", "scope", "host", "src"])
            .arg(source.to_string())
            .run();
        changed.await.success();
        for name in names.by_ref().take(5) {
            assert_eq!(node.addresses(&name).await, ["192.0.2.7"], "{name}");
        }
        let mut shown = std::mem::take(&mut *shown.lock().unwrap());
        assert!(shown.len() >= 5, "{shown:?}");
        assert!(shown.iter().all(|(from, _)| *from == source), "{shown:?}");
        let (_, first) = shown.remove(0);
        assert_eq!(first.len(), 8, "what was given to another is not shown");
        let given = [&first[..], b"by us..."].concat();
        assert!(shown.iter().all(|(_, next)| *next == given), "{shown:?}");
        assert!(seen.insert(first), "a cookie of another address");
    }
    assert_eq!(
        node.admin
            .metric("nodedns_upstream_ignored_total", &[])
            .await,
        0.0
    );
}
