//! Servers that want to see where a question comes from (RFC 7873): BIND, which answers a cookie that is not its
//! own with BADCOOKIE.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use tests::binaries;
use tests::dns::{Question, RecordType};
use tests::launch::Launch;
use tests::peer::Peer;
use tests::place::Place;

use crate::edns::dig;
use crate::node::{Node, zone};
use crate::servers::SOA;

/// BIND with `example.`, whose names have all the same address.
async fn strict(place: &Place, address: SocketAddr) -> Option<Peer> {
    let program = binaries::packaged("named")?;
    let folder = place.folder().display();
    let text = format!("$ORIGIN example.\n$TTL 300\n{SOA}* A 192.0.2.7\n");
    fs::write(place.folder().join("example.zone"), text).unwrap();
    let configuration = format!(
        r#"options {{
  directory "{folder}";
  pid-file none;
  session-keyfile none;
  listen-on port {port} {{ {ip}; }};
  listen-on-v6 {{ none; }};
  recursion no;
  empty-zones-enable no;
  require-server-cookie yes;
}};
zone "example" {{ type primary; file "example.zone"; }};
controls {{ }};
"#,
        port = address.port(),
        ip = address.ip(),
    );
    let file = place.folder().join("named.conf");
    fs::write(&file, configuration).unwrap();
    let launch = Launch::new(place, "named", &program)
        .args(["-g", "-n", "1", "-c"])
        .arg(file);
    let mut peer = launch.start();
    let question = Question::new("example.", RecordType::SOA).tcp();
    peer.ready(Duration::from_secs(30), async || {
        question.ask(address).await
    })
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
