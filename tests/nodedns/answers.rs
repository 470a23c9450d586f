//! What clients get: from which zone, over which transport, from the cache or not.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use tests::authoritative::{Authoritative, Zone};
use tests::coredns::CoreDns;
use tests::dns::{Question, RecordType};
use tests::place::Place;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::hostile::{Hostile, honest};
use crate::node::{Node, zone};
use crate::servers::{SOA, coredns};

/// A name server of `example.` and one of `inner.example.`, and nodedns that knows both.
async fn node(place: &Place) -> Option<(Authoritative, CoreDns, Node)> {
    let many: String = (1..=200)
        .map(|last| format!("many A 192.0.2.{last}\n"))
        .collect();
    let outer = Zone::unsigned(
        place,
        "example.",
        &format!(
            "{SOA}www A 192.0.2.7\nwww AAAA 2001:db8::7\nshort 2 A 192.0.2.8\n{many}\
             alias CNAME www.inner\na.loop CNAME b.loop.inner\nleaf CNAME www\n"
        ),
    );
    let outer = Authoritative::start(place, place.socket_address(2, 5353), &[outer]).await?;
    let inner = "www A 192.0.2.9\nb.loop CNAME a.loop.example.";
    let inner = coredns(place, 3, "inner.example.", inner).await?;
    let zones = [
        zone(".", &[outer.address().to_string()]),
        zone("inner.example.", &[format!("tcp://{}", inner.address())]),
    ];
    let node = Node::start(place, &zones.concat()).await;
    Some((outer, inner, node))
}

#[tokio::test]
async fn the_longest_zone_is_asked_over_udp_and_tcp() {
    let place = Place::loopback();
    let Some((_outer, _inner, node)) = node(&place).await else {
        return;
    };
    for question in [
        Question::new("www.inner.example.", RecordType::A),
        Question::new("www.inner.example.", RecordType::A).tcp(),
        Question::new("WWW.Inner.Example.", RecordType::A).without_edns(),
    ] {
        let reply = question.ask(node.address).await.unwrap();
        assert_eq!(reply.data(RecordType::A), ["192.0.2.9"]);
        let flags = reply.message.metadata;
        assert!(flags.recursion_available && !flags.authoritative && !flags.authentic_data);
    }
    assert_eq!(node.addresses("www.example.").await, ["192.0.2.7"]);
}

#[tokio::test]
async fn the_second_question_is_a_hit_and_its_ttl_is_aged() {
    let place = Place::loopback();
    let Some((outer, _inner, node)) = node(&place).await else {
        return;
    };
    let question = Question::new("www.example.", RecordType::AAAA);
    for _ in 0..10 {
        let reply = question.ask(node.address).await.unwrap();
        assert_eq!(reply.data(RecordType::AAAA), ["2001:db8::7"]);
        assert!(reply.message.answers[0].ttl <= 300);
    }
    assert_eq!(node.lookups("hit").await, 9.0);
    let server = format!("udp://{}", outer.address());
    assert_eq!(
        node.admin
            .metric(
                "nodedns_upstream_queries_total",
                &[("server", server.as_str())]
            )
            .await,
        1.0
    );
}

#[tokio::test]
async fn when_its_time_is_over_an_answer_is_asked_for_again() {
    let place = Place::loopback();
    let Some((_outer, _inner, node)) = node(&place).await else {
        return;
    };
    assert_eq!(node.addresses("short.example.").await, ["192.0.2.8"]);
    let asked = async || {
        let name = "nodedns_upstream_queries_total";
        node.admin.metric(name, &[("outcome", "answered")]).await
    };
    let before = asked().await;
    // Whether it is over or almost: who wants it again does not say.
    tests::wait::until("the second question", Duration::from_secs(10), async || {
        assert_eq!(node.addresses("short.example.").await, ["192.0.2.8"]);
        match asked().await {
            asked if asked > before => Ok(()),
            asked => Err(format!("{asked} questions")),
        }
    })
    .await;
}

#[tokio::test]
async fn denials_are_kept_too() {
    let place = Place::loopback();
    let Some((_outer, _inner, node)) = node(&place).await else {
        return;
    };
    let absent_name = Question::new("nobody.example.", RecordType::A);
    let absent_type = Question::new("www.example.", RecordType::MX);
    for (question, code) in [
        (absent_name, ResponseCode::NXDomain),
        (absent_type, ResponseCode::NoError),
    ] {
        for _ in 0..3 {
            let reply = question.ask(node.address).await.unwrap();
            assert_eq!(reply.code(), code);
            assert_eq!(reply.message.authorities.len(), 1);
            assert!(reply.message.authorities[0].ttl <= 20, "RFC 2308: MINIMUM");
        }
    }
    assert_eq!(node.lookups("hit").await, 4.0);
}

#[tokio::test]
async fn what_does_not_fit_is_cut_and_comes_over_tcp() {
    let place = Place::loopback();
    let Some((_outer, _inner, node)) = node(&place).await else {
        return;
    };
    // NSD cuts its answer to nodedns in the same way: so both legs fall back.
    let question = Question::new("many.example.", RecordType::A);
    let cut = question.ask(node.address).await.unwrap();
    assert!(cut.message.metadata.truncation);
    assert_eq!(cut.data(RecordType::A).len(), 0);
    let whole = question.tcp().ask(node.address).await.unwrap();
    assert!(!whole.message.metadata.truncation);
    assert_eq!(whole.data(RecordType::A).len(), 200);
}

#[tokio::test]
async fn a_cname_is_followed_into_another_zone_whatever_this_one_says_of_it() {
    let place = Place::loopback();
    let Some((_outer, _inner, node)) = node(&place).await else {
        return;
    };
    let inside = Question::new("leaf.example.", RecordType::A);
    let reply = inside.ask(node.address).await.unwrap();
    assert_eq!(reply.data(RecordType::A), ["192.0.2.7"]);
    // NSD, which has `example.` and does not know of the other server, denies the target.
    let question = Question::new("alias.example.", RecordType::A);
    for _ in 0..2 {
        let reply = question.ask(node.address).await.unwrap();
        assert_eq!(reply.data(RecordType::CNAME), ["www.inner.example."]);
        assert_eq!(reply.data(RecordType::A), ["192.0.2.9"]);
    }
    let round = Question::new("a.loop.example.", RecordType::A);
    let reply = round.ask(node.address).await.unwrap();
    assert_eq!(reply.code(), ResponseCode::ServFail, "a loop ends");
    assert!(
        reply.extended_errors()[0]
            .1
            .contains("leads back to itself")
    );
}

#[tokio::test]
async fn the_same_question_of_many_is_asked_once() {
    let place = Place::loopback();
    let Some((_outer, inner, node)) = node(&place).await else {
        return;
    };
    inner.peer.pause();
    let question = Question::new("www.inner.example.", RecordType::A);
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (question, address) = (question.clone(), node.address);
        asking.spawn(async move { question.ask(address).await.unwrap().data(RecordType::A) });
    }
    tests::wait::until("all to wait", Duration::from_secs(3), async || {
        match node.admin.metric("nodedns_coalesced_total", &[]).await {
            99.0 => Ok(()),
            waiting => Err(format!("{waiting} wait")),
        }
    })
    .await;
    inner.peer.resume();
    while let Some(answer) = asking.join_next().await {
        assert_eq!(answer.unwrap(), ["192.0.2.9"]);
    }
}

#[tokio::test]
async fn questions_on_one_connection_are_answered_as_their_answers_come() {
    let place = Place::loopback();
    let Some((_outer, inner, node)) = node(&place).await else {
        return;
    };
    assert_eq!(node.addresses("www.example.").await, ["192.0.2.7"]);
    // The first question has to wait for a server that does not answer, the second is a hit.
    inner.peer.pause();
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    for (id, name) in [
        (1, &b"\x03www\x05inner\x07example\0"[..]),
        (2, b"\x03www\x07example\0"),
    ] {
        stream.write_all(&framed(id, name)).await.unwrap();
    }
    assert_eq!(id_of_next(&mut stream).await, 2);
    inner.peer.resume();
    assert_eq!(id_of_next(&mut stream).await, 1);
}

fn query(id: u16, name: &[u8]) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let header = [high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    [&header[..], name, &[0, 1, 0, 1]].concat()
}

fn framed(id: u16, name: &[u8]) -> Vec<u8> {
    let query = query(id, name);
    [&(query.len() as u16).to_be_bytes()[..], &query].concat()
}

async fn id_of_next(stream: &mut TcpStream) -> u16 {
    let reply = async {
        let mut reply = vec![0; stream.read_u16().await.unwrap().into()];
        stream.read_exact(&mut reply).await.unwrap();
        u16::from_be_bytes([reply[0], reply[1]])
    };
    timeout(Duration::from_secs(5), reply).await.unwrap()
}

#[tokio::test]
async fn packets_that_are_no_queries_harm_nothing() {
    let place = Place::loopback();
    let Some((_outer, _inner, node)) = node(&place).await else {
        return;
    };
    let response = {
        let mut packet = query(1, b"\x03www\x07example\0");
        packet[2] |= 0x80;
        packet
    };
    let silence: [&[u8]; 3] = [b"", b"\0\x01", &response];
    for packet in silence {
        assert_eq!(
            code_of_answer(node.address, packet).await,
            None,
            "{packet:?}"
        );
    }
    let cut = &query(1, b"\x03www\x07example\0")[..20];
    assert_eq!(code_of_answer(node.address, cut).await, Some(1), "FORMERR");
    assert_eq!(
        code_of_answer(node.address, &[0xf; 500]).await,
        Some(4),
        "NOTIMP"
    );
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(&[0, 3, 1, 2, 3, 0xff]).await.unwrap();
    assert_eq!(node.addresses("www.example.").await, ["192.0.2.7"]);
    assert_eq!(node.admin.metric("nodedns_panics_total", &[]).await, 0.0);
}

/// The response code of what comes back within a moment.
async fn code_of_answer(server: SocketAddr, packet: &[u8]) -> Option<u8> {
    let socket = UdpSocket::bind((server.ip(), 0)).await.unwrap();
    socket.send_to(packet, server).await.unwrap();
    let mut buffer = [0; 1_500];
    let received = timeout(Duration::from_millis(200), socket.recv(&mut buffer)).await;
    received.ok()?.ok().map(|_| buffer[3] & 0xf)
}

#[tokio::test]
async fn names_in_no_zone_are_refused_with_the_reason() {
    let place = Place::loopback();
    let zones = zone("example.", &[place.socket_address(9, 53).to_string()]);
    let node = Node::start(&place, &zones).await;
    let reply = Question::new("www.example.com.", RecordType::A)
        .ask(node.address)
        .await
        .unwrap();
    assert_eq!(reply.code(), ResponseCode::Refused);
    assert_eq!(reply.extended_errors()[0].0, 20, "Not Authoritative");
    assert_eq!(node.addresses("localhost.").await, ["127.0.0.1"]);
    assert!(node.peer.log().contains("no zone is validated"));
    assert!(node.peer.log().contains("there is no zone `.`"));
}

#[tokio::test]
async fn a_burst_of_questions_that_nobody_asked_before_is_answered_to_the_last() {
    const QUESTIONS: usize = 5_000;
    let place = Place::loopback();
    let server = Hostile::start(place.socket_address(2, 5353), honest).await;
    let node = Node::start(&place, &zone(".", &[server.address.to_string()])).await;
    let socket = UdpSocket::bind((node.address.ip(), 0)).await.unwrap();
    // The answers are to wait for us, who may not run meanwhile.
    set_socket_recv_buffer_size_force(&socket, QUESTIONS * 1_024).unwrap();
    socket.connect(node.address).await.unwrap();
    for sent in 0..QUESTIONS {
        let label = format!("\x08n{sent:07}\x07example\0");
        socket.send(&query(7, label.as_bytes())).await.unwrap();
    }
    let (mut answered, mut buffer) = (0, [0; 512]);
    let reading = async {
        while answered < QUESTIONS {
            socket.recv(&mut buffer).await.unwrap();
            assert_eq!(buffer[3] & 0xf, 0, "NOERROR");
            answered += 1;
        }
    };
    let in_time = timeout(Duration::from_secs(20), reading).await;
    let labels = [("reason", "lost")];
    let lost = node.admin.metric("nodedns_unanswered_total", &labels).await;
    assert!(in_time.is_ok(), "{answered} answered, {lost} lost");
    assert_eq!(lost, 0.0);
}

#[tokio::test]
async fn a_connection_may_ask_for_much_at_once() {
    let place = Place::loopback();
    let Some((_outer, _inner, node)) = node(&place).await else {
        return;
    };
    let whole = Question::new("many.example.", RecordType::A).tcp();
    assert_eq!(
        whole.ask(node.address).await.unwrap().code(),
        ResponseCode::NoError
    );
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let questions: Vec<u8> = (0..500)
        .flat_map(|id| framed(id, b"\x04many\x07example\0"))
        .collect();
    stream.write_all(&questions).await.unwrap();
    for id in 0..500 {
        assert_eq!(id_of_next(&mut stream).await, id);
    }
}
