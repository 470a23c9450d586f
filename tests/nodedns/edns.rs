//! What clients and nodedns tell each other beside questions and answers (EDNS), with BIND's `dig`
//! as the client; names that nobody is asked about.

use std::net::SocketAddr;

use hickory_proto::op::ResponseCode;
use tests::binaries;
use tests::dns::{Question, RecordType};
use tests::launch::Launch;
use tests::place::Place;

use crate::limits::limited;
use crate::node::{Node, zone};
use crate::servers::coredns;

/// What dig says when it asks with these arguments.
pub(crate) async fn dig(place: &Place, server: SocketAddr, arguments: &[&str]) -> Option<String> {
    let program = binaries::packaged("dig")?;
    let (ip, port) = (server.ip(), server.port());
    let dig = Launch::new(place, "dig", &program)
        .args([format!("@{ip}"), format!("-p{port}")])
        .args(["+tries=1", "+time=5"])
        .args(arguments);
    Some(dig.run().await.success())
}

async fn plain(place: &Place) -> Node {
    let zones = zone(".", &[place.socket_address(7, 53).to_string()]);
    limited(place, &zones, "").await
}

/// The cookie in what dig said.
fn cookie(said: &str) -> &str {
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("; COOKIE: "));
    line.unwrap_or_else(|| panic!("{said}"))
}

#[tokio::test]
async fn a_cookie_is_given_and_known_again() {
    let place = Place::loopback();
    let node = plain(&place).await;
    let client = "+cookie=0102030405060708";
    let Some(first) = dig(&place, node.address, &[client, "localhost"]).await else {
        return;
    };
    // dig says so when its own part came back unchanged.
    let first = cookie(&first).strip_suffix(" (good)").unwrap();
    assert_eq!(first.len(), 48, "{first}");
    let shown = format!("+cookie={first}");
    let again = dig(&place, node.address, &[&shown, "localhost"])
        .await
        .unwrap();
    assert_eq!(cookie(&again), format!("{first} (good)"));
    let forged = first.replace("0102030405060708", "0102030405060709");
    let forged = format!("+cookie={forged}");
    let answer = dig(&place, node.address, &[&forged, "localhost"])
        .await
        .unwrap();
    assert!(!cookie(&answer).contains(&first[32..]), "{answer}");
    let alone = dig(&place, node.address, &[client, "+header-only"])
        .await
        .unwrap();
    assert!(
        cookie(&alone).ends_with(" (good)") && alone.contains("QUERY: 0"),
        "{alone}"
    );
    let malformed = ["+ednsopt=10:0102", "+nocookie", "localhost"];
    let refused = dig(&place, node.address, &malformed).await.unwrap();
    assert!(refused.contains("status: FORMERR"), "{refused}");
}

#[tokio::test]
async fn what_a_client_may_expect_is_told() {
    let place = Place::loopback();
    let node = plain(&place).await;
    let Some(over_tcp) = dig(&place, node.address, &["+tcp", "+keepalive", "localhost"]).await
    else {
        return;
    };
    assert!(over_tcp.contains("; TCP KEEPALIVE: 9.0 secs"), "{over_tcp}");
    let over_udp = dig(&place, node.address, &["+keepalive", "localhost"])
        .await
        .unwrap();
    assert!(!over_udp.contains("KEEPALIVE"), "{over_udp}");
    assert!(over_udp.contains("udp: 1232"), "{over_udp}");
    let version = dig(
        &place,
        node.address,
        &["+edns=1", "+noednsnegotiation", "localhost"],
    )
    .await;
    let version = version.unwrap();
    assert!(
        version.contains("status: BADVERS") && version.contains("version: 0"),
        "{version}"
    );
    let case = dig(&place, node.address, &["+noedns", "LocalHost"])
        .await
        .unwrap();
    assert!(
        case.contains("LocalHost.\t\t86400\tIN\tA\t127.0.0.1"),
        "{case}"
    );
}

#[tokio::test]
async fn a_server_that_speaks_of_itself_or_of_all_it_has_is_elsewhere() {
    let place = Place::loopback();
    let node = plain(&place).await;
    let ask = async |arguments: &[&str]| dig(&place, node.address, arguments).await;
    let Some(version) = ask(&["version.bind", "CH", "TXT"]).await else {
        return;
    };
    assert!(version.contains("status: REFUSED"), "{version}");
    let host = ask(&["id.server", "CH", "TXT"]).await.unwrap();
    assert!(host.contains("status: REFUSED"), "{host}");
    let any = ask(&["example.com", "ANY", "+notcp"]).await.unwrap();
    assert!(any.contains("HINFO\t\"RFC8482\" \"\""), "{any}");
    let notify = ask(&["+opcode=NOTIFY", "example.com", "SOA"])
        .await
        .unwrap();
    assert!(notify.contains("status: NOTIMP"), "{notify}");
    let update = ask(&["+opcode=UPDATE", "example.com", "SOA"])
        .await
        .unwrap();
    assert!(update.contains("status: NOTIMP"), "{update}");
}

#[tokio::test]
async fn names_that_nobody_is_asked_about_are_answered_here() {
    let place = Place::loopback();
    let Some(server) = coredns(&place, 2, ".", "* A 192.0.2.7\n*.10.in-addr.arpa PTR a.").await
    else {
        return;
    };
    let servers = [server.address().to_string()];
    let zones = zone(".", &servers) + &zone("20.172.in-addr.arpa", &servers);
    let hosts = "hosts: {Registry.Example: [10.0.0.9, \"fd00::9\"]}\n";
    let node = limited(&place, &zones, hosts).await;
    let code = async |name: &str, kind| {
        Question::new(name, kind)
            .ask(node.address)
            .await
            .unwrap()
            .code()
    };
    for name in [
        "1.0.0.10.in-addr.arpa.",
        "a.test.",
        "printer.home.arpa.",
        "a.onion.",
    ] {
        assert_eq!(
            code(name, RecordType::PTR).await,
            ResponseCode::NXDomain,
            "{name}"
        );
    }
    let back = Question::new("1.0.0.127.in-addr.arpa.", RecordType::PTR);
    let back = back.ask(node.address).await.unwrap();
    assert_eq!(back.data(RecordType::PTR), ["localhost."]);
    assert_eq!(node.addresses("registry.example.").await, ["10.0.0.9"]);
    let quad = Question::new("registry.EXAMPLE.", RecordType::AAAA);
    let quad = quad.ask(node.address).await.unwrap();
    assert_eq!(quad.data(RecordType::AAAA), ["fd00::9"]);
    assert_eq!(node.lookups("miss").await, 0.0, "nobody was asked");
    // A zone that is configured wins.
    code("1.0.20.172.in-addr.arpa.", RecordType::PTR).await;
    assert_eq!(node.lookups("miss").await, 1.0);
}

#[tokio::test]
async fn addresses_take_turns_where_that_is_wanted() {
    let place = Place::loopback();
    let many: String = (1..=4)
        .map(|last| format!("many A 192.0.2.{last}\n"))
        .collect();
    let Some(server) = coredns(&place, 2, "example.", &many).await else {
        return;
    };
    let zones = zone(".", &[server.address().to_string()]);
    let firsts = async |lines: &str| {
        let place = Place::loopback();
        let node = limited(&place, &zones, lines).await;
        let mut firsts = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let question = Question::new("many.example.", RecordType::A);
            let reply = question.ask(node.address).await.unwrap();
            assert_eq!(reply.data(RecordType::A).len(), 4);
            firsts.insert(reply.message.answers[0].data.to_string());
        }
        firsts.len()
    };
    assert_eq!(firsts("").await, 1);
    assert_eq!(firsts("rotate_addresses: true\n").await, 4);
}

#[tokio::test]
async fn public_names_do_not_lead_into_networks_of_ones_own() {
    let place = Place::loopback();
    let names =
        "evil A 10.0.0.1\ngood A 192.0.2.7\na.corp A 10.0.0.2\nalias CNAME s.cluster.local.";
    let Some(public) = coredns(&place, 2, "example.", names).await else {
        return;
    };
    let Some(cluster) = coredns(&place, 3, "cluster.local.", "s A 10.96.0.1").await else {
        return;
    };
    let zones = zone(".", &[public.address().to_string()])
        + &zone("cluster.local.", &[cluster.address().to_string()]);
    let lines = "rebinding: {deny: [10.0.0.0/8], exempt: [corp.example]}\n";
    let node = limited(&place, &zones, lines).await;
    let ask = async |name| {
        Question::new(name, RecordType::A)
            .ask(node.address)
            .await
            .unwrap()
    };
    for name in ["evil.example.", "alias.example.", "evil.example."] {
        let reply = ask(name).await;
        assert_eq!(reply.code(), ResponseCode::ServFail, "{name}");
        assert_eq!(reply.extended_errors()[0].0, 15, "Blocked");
    }
    for (name, address) in [
        ("good.example.", "192.0.2.7"),
        ("a.corp.example.", "10.0.0.2"),
        ("s.cluster.local.", "10.96.0.1"),
    ] {
        assert_eq!(node.addresses(name).await, [address], "{name}");
    }
    assert_eq!(node.admin.metric("nodedns_rebinding_total", &[]).await, 2.0);
}
