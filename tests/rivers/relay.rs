//! What clients and servers see of each other through rivers.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tests::place::Place;
use tests::wait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::sleep;

use crate::faults::swallow;
use crate::scene::{Rivers, echo};

#[tokio::test]
async fn every_byte_comes_back_on_many_connections_at_once() {
    let place = Place::loopback();
    let server = place.socket_address(2, 6443);
    echo(server).await;
    let rivers = Rivers::start(&place, &[server], &[]).await;
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..16_u8 {
        let stream = rivers.client().await;
        clients.spawn(async move {
            let (mut from, mut to) = stream.into_split();
            let sender = tokio::spawn(async move {
                to.write_all(&pattern(client)).await.unwrap();
                to.shutdown().await.unwrap();
                to
            });
            let mut received = Vec::new();
            from.read_to_end(&mut received).await.unwrap();
            sender.await.unwrap();
            assert!(
                received == pattern(client),
                "client {client} got other bytes"
            );
        });
    }
    clients.join_all().await;
}

/// Four megabytes and a bit that no other client sends.
fn pattern(client: u8) -> Vec<u8> {
    let cycle = (0..=250_u8).cycle().map(|byte| byte ^ client);
    cycle.take(4_000_037).collect()
}

#[tokio::test]
async fn a_client_that_has_finished_still_gets_its_answer() {
    let place = Place::loopback();
    let server = place.socket_address(2, 6443);
    let listener = TcpListener::bind(server).await.unwrap();
    let rivers = Rivers::start(&place, &[server], &PROBED_ONCE).await;
    let mut client = rivers.client().await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();

    // A probe and the connection that `start` tried come first, and say nothing.
    let mut question = String::new();
    let mut stream = loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_to_string(&mut question).await.unwrap();
        if !question.is_empty() {
            break stream;
        }
    };
    assert_eq!(question, "question");
    stream.write_all(b"answer").await.unwrap();
    drop(stream);
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "answer");
    rivers.peer.says("reason=client_finished").await;
}

#[tokio::test]
async fn a_reset_is_passed_on_as_a_reset() {
    let place = Place::loopback();
    let server = place.socket_address(2, 6443);
    let listener = TcpListener::bind(server).await.unwrap();
    let rivers = Rivers::start(&place, &[server], &PROBED_ONCE).await;
    let mut client = rivers.client().await;
    client.write_all(b"word").await.unwrap();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        if stream.read_exact(&mut [0; 4]).await.is_ok() {
            stream.set_zero_linger().unwrap();
            break;
        }
    }
    let error = client.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    rivers.peer.says("reason=upstream_reset").await;
}

#[tokio::test]
async fn clients_that_vanish_are_told_from_one_that_does_not_read() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let server = place.socket_address(2, 6443);
    let listener = TcpListener::bind(server).await.unwrap();
    // Says something now and then, or without end.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                match stream.read_u8().await {
                    Ok(b'.') => {
                        while stream.write_all(b"word").await.is_ok() {
                            sleep(Duration::from_millis(100)).await;
                        }
                    }
                    Ok(_) => while stream.write_all(&[b'!'; 64 * 1024]).await.is_ok() {},
                    // A probe says nothing.
                    Err(_) => {}
                }
            });
        }
    });
    let flags = [&PROBED_ONCE[..], &["--dial-keep-alive=1s"]].concat();
    let rivers = Rivers::start(&place, &[server], &flags).await;
    let client = async |last, word| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(place.socket_address(last, 0)).unwrap();
        let mut client = socket.connect(rivers.listen).await.unwrap();
        client.write_all(word).await.unwrap();
        client.read_u8().await.unwrap();
        client
    };
    // From the first on rivers only asks whether there is room: an answer from one that lives, and none
    // from one that is gone.
    let mut lives = client(5, b"!").await;
    let closed = client(6, b"!").await;
    for end in [&lives, &closed].map(|it| it.local_addr().unwrap()) {
        wait::until(
            "rivers to ask whether there is room",
            Duration::from_secs(30),
            async || {
                if asks_for_room(rivers.listen, end) {
                    Ok(())
                } else {
                    Err("not yet")
                }
            },
        )
        .await;
    }
    swallow(closed.local_addr().unwrap());
    // Bytes are on the way to this one when it vanishes.
    let vanishes = client(7, b".").await;
    swallow(vanishes.local_addr().unwrap());

    // Not after the quarter of an hour for which the kernel would try, nor because of the other one.
    let name = "rivers_close_total";
    let lost = [("reason", "client_timed_out")];
    wait::until(
        "both clients to be given up",
        // The kernel asks at intervals that double.
        Duration::from_secs(150),
        async || {
            let given_up = rivers.admin.metric(name, &lost).await;
            if given_up > 1.5 {
                Ok(())
            } else {
                Err(format!("{given_up} so far"))
            }
        },
    )
    .await;
    rivers.peer.says("reason=client_timed_out").await;
    assert_eq!(rivers.times("_timed_out"), 2, "{}", rivers.peer.log());
    let mut all = vec![0; 32 << 20];
    lives.read_exact(&mut all).await.unwrap();
}

/// Whether the window of `theirs` is closed, and the kernel asks now and then for news (proc_net_tcp(5)). For
/// a place of a namespace.
fn asks_for_room(ours: SocketAddr, theirs: SocketAddr) -> bool {
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    let ends = [ours, theirs].map(|end| match end.ip() {
        IpAddr::V4(ip) => format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), end.port()),
        IpAddr::V6(ip) => panic!("{ip} is in another table"),
    });
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        fields[1..3] == ends && fields[5].starts_with("04:")
    })
}

/// By a connection that says nothing, so that the test's server sees what clients say and no more.
const PROBED_ONCE: [&str; 2] = ["--check-interval=5m", "--health-mode=tcp"];
