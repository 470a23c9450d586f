//! The engine against servers that behave badly in one way each. Real sockets,
//! hence real time.

mod cookies;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cache::key::Key;
use crate::config::{Forward, Protocol};
use crate::errand::Errand;
use crate::upstream::failure::{Failure, Trouble};
use crate::upstream::pool::{Network, Server};
use crate::upstream::tls::Authorities;
use crate::upstream::{Answer, Role, Upstream};
use crate::wire::name::Name;
use crate::wire::record::tests::{a, ns};
use crate::wire::response::Response;
use crate::wire::{Rcode, flag, put_u16, u16_at};

/// A server, and what it counted.
#[derive(Clone)]
struct Peer {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

/// What a server sends for one question: any number of packets.
type Behaviour = fn(&[u8], usize) -> Vec<Vec<u8>>;
/// What a server does with its connection of that number.
#[derive(Clone, Copy)]
enum Line {
    Serve(Behaviour),
    ServeInPairsReversed(Behaviour),
    Hang,
    CloseAfterQuestion,
}

impl Peer {
    /// A server on UDP and TCP of one port.
    async fn start(udp: Behaviour, tcp: fn(usize) -> Line) -> Self {
        // The kernel may have given the TCP port to somebody else meanwhile.
        let (socket, listener) = loop {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()).await {
                break (socket, listener);
            }
        };
        let peer = Self {
            address: socket.local_addr().unwrap(),
            asked: Arc::default(),
            connections: Arc::default(),
        };
        let this = peer.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 2_000];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                let number = this.asked.fetch_add(1, Relaxed);
                for packet in udp(&buffer[..length], number) {
                    socket.send_to(&packet, from).await.unwrap();
                }
            }
        });
        let this = peer.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let line = tcp(this.connections.fetch_add(1, Relaxed));
                tokio::spawn(this.clone().converse(stream, line));
            }
        });
        peer
    }

    async fn converse(self, mut stream: TcpStream, line: Line) {
        let mut held = Vec::new();
        while let Ok(length) = stream.read_u16().await {
            let mut packet = vec![0; length.into()];
            stream.read_exact(&mut packet).await.unwrap();
            let number = self.asked.fetch_add(1, Relaxed);
            match line {
                Line::Hang => {}
                Line::CloseAfterQuestion => return,
                Line::Serve(behaviour) => held.extend(behaviour(&packet, number)),
                Line::ServeInPairsReversed(behaviour) => {
                    held.extend(behaviour(&packet, number));
                    if held.len() < 2 {
                        continue;
                    }
                    held.reverse();
                }
            }
            for packet in held.drain(..) {
                stream.write_u16(packet.len() as u16).await.unwrap();
                stream.write_all(&packet).await.unwrap();
            }
        }
    }

    fn upstream(&self, protocol: Protocol) -> Upstream {
        upstream(&[self], &protocol)
    }

    fn asked(&self) -> usize {
        self.asked.load(Relaxed)
    }
}

fn network() -> Arc<Network> {
    Network::new(Authorities::none())
}

fn upstream(peers: &[&Peer], protocol: &Protocol) -> Upstream {
    let network = network();
    let servers = peers.iter().enumerate().map(|(at, peer)| {
        let forward = Forward {
            protocol: protocol.clone(),
            address: peer.address,
        };
        let server = Server::new(forward, &network);
        // The order in which they are named is the order in which they are asked.
        server.answered(Duration::from_millis(1 + 20 * at as u64));
        Arc::new(server)
    });
    Upstream::new(
        Name::root(),
        servers.collect(),
        Role::Resolver,
        Arc::clone(&network),
    )
}

fn key() -> Key {
    Key::new(b"\x10www-of-the-peer-\x07example\0", 1, false, false)
}

async fn ask(upstream: &Upstream) -> Result<Rcode, Failure> {
    ask_within(upstream, Duration::from_secs(4)).await
}

async fn ask_within(upstream: &Upstream, patience: Duration) -> Result<Rcode, Failure> {
    let response = answer(upstream, &key(), patience).await?;
    Ok(response.rcode())
}

async fn answer(upstream: &Upstream, key: &Key, patience: Duration) -> Result<Response, Failure> {
    let errand = Errand::new(None);
    let deadline = Instant::now() + patience;
    let Answer { response, .. } = upstream.ask(key, deadline, None, &errand).await?;
    Ok(response)
}

fn reply(packet: &[u8], change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = Message::from_vec(packet).unwrap();
    message.metadata.message_type = MessageType::Response;
    message.metadata.recursion_available = true;
    message.edns = None;
    change(&mut message);
    message.to_vec().unwrap()
}

fn good(packet: &[u8], _: usize) -> Vec<Vec<u8>> {
    let answer = |message: &mut Message| {
        let mut record = a("x.", 60, 1);
        record.name = message.queries[0].name().clone();
        message.add_answer(record);
    };
    vec![reply(packet, answer)]
}

fn code(packet: &[u8], code: ResponseCode) -> Vec<Vec<u8>> {
    vec![reply(packet, |message| {
        message.metadata.response_code = code;
    })]
}

const fn silent(_: &[u8], _: usize) -> Vec<Vec<u8>> {
    Vec::new()
}

const fn no_tcp(_: usize) -> Line {
    Line::Hang
}

const fn good_tcp(_: usize) -> Line {
    Line::Serve(good)
}

#[tokio::test]
async fn replies_that_do_not_fit_are_ignored_and_the_wait_goes_on() {
    let peer = Peer::start(
        |packet, number| {
            let truth = good(packet, number).remove(0);
            let mut other_id = truth.clone();
            other_id[0] ^= 0xff;
            let mut other_question = truth.clone();
            other_question[20] ^= 1;
            let cut = truth[..truth.len() - 1].to_vec();
            vec![
                b"x".to_vec(),
                other_id,
                other_question,
                cut,
                packet.to_vec(),
                truth,
            ]
        },
        no_tcp,
    )
    .await;
    let upstream = peer.upstream(Protocol::Udp);
    assert_eq!(ask(&upstream).await.unwrap(), Rcode::NOERROR);
    assert_eq!(peer.asked(), 1);
}

#[tokio::test]
async fn a_cut_reply_is_asked_for_over_tcp() {
    let peer = Peer::start(
        |packet, _| vec![reply(packet, |message| message.metadata.truncation = true)],
        good_tcp,
    )
    .await;
    let upstream = peer.upstream(Protocol::Udp);
    let response = answer(&upstream, &key(), Duration::from_secs(4))
        .await
        .unwrap();
    assert!(!response.is_truncated() && response.answers_its_type());
}

#[tokio::test]
async fn a_reply_in_another_case_is_checked_over_tcp() {
    let peer = Peer::start(
        |packet, number| {
            let mut forged = good(packet, number).remove(0);
            forged[12..].make_ascii_lowercase();
            vec![forged]
        },
        good_tcp,
    )
    .await;
    assert_eq!(
        ask(&peer.upstream(Protocol::Udp)).await.unwrap(),
        Rcode::NOERROR
    );
    assert_eq!(peer.connections.load(Relaxed), 1);
}

#[tokio::test]
async fn a_server_that_does_not_know_edns_is_asked_without() {
    let peer = Peer::start(
        |packet, number| match u16_at(packet, 10) {
            Some(0) => good(packet, number),
            _ => code(packet, ResponseCode::FormErr),
        },
        no_tcp,
    )
    .await;
    assert_eq!(
        ask(&peer.upstream(Protocol::Udp)).await.unwrap(),
        Rcode::NOERROR
    );
    // With a cookie, without, and then without EDNS.
    assert_eq!(peer.asked(), 3);
}

#[tokio::test]
async fn that_a_server_refuses_edns_is_remembered() {
    let peer = Peer::start(
        |packet, number| match u16_at(packet, 10) {
            Some(0) => good(packet, number),
            _ => code(packet, ResponseCode::NotImp),
        },
        no_tcp,
    )
    .await;
    let upstream = peer.upstream(Protocol::Udp);
    for _ in 0..10 {
        assert_eq!(ask(&upstream).await.unwrap(), Rcode::NOERROR);
    }
    assert_eq!(peer.asked(), 12);
}

#[tokio::test]
async fn a_server_that_drops_what_has_edns_is_asked_without() {
    let peer = Peer::start(
        |packet, number| match u16_at(packet, 10) {
            Some(0) => good(packet, number),
            _ => Vec::new(),
        },
        no_tcp,
    )
    .await;
    let upstream = peer.upstream(Protocol::Udp);
    for _ in 0..10 {
        assert_eq!(ask(&upstream).await.unwrap(), Rcode::NOERROR);
    }
    // Three times it was asked with, and then without; then it is known.
    assert_eq!(peer.asked(), 13);
}

fn in_lower_case(packet: &[u8], number: usize) -> Vec<Vec<u8>> {
    let mut reply = good(packet, number);
    reply[0][12..].make_ascii_lowercase();
    reply
}

#[tokio::test]
async fn that_a_server_changes_the_case_is_remembered_once_it_is_sure() {
    for tcp in [|_| Line::Serve(in_lower_case), no_tcp] {
        let peer = Peer::start(in_lower_case, tcp).await;
        let upstream = peer.upstream(Protocol::Udp);
        assert_eq!(ask(&upstream).await.unwrap(), Rcode::NOERROR);
        assert!(peer.connections.load(Relaxed) >= 1, "it was asked over TCP");
        let before = peer.asked();
        for _ in 0..10 {
            assert_eq!(ask(&upstream).await.unwrap(), Rcode::NOERROR);
        }
        assert_eq!(peer.asked() - before, 10);
    }
}

#[tokio::test]
async fn a_guess_in_another_case_does_not_end_the_wait() {
    let peer = Peer::start(
        |packet, number| {
            let truth = good(packet, number).remove(0);
            let mut guess = code(packet, ResponseCode::NXDomain).remove(0);
            guess[12..].make_ascii_lowercase();
            let mut bare = packet[..12].to_vec();
            put_u16(&mut bare, 2, flag::QR | Rcode::REFUSED.0);
            bare[4..].fill(0);
            vec![guess, bare, truth]
        },
        no_tcp,
    )
    .await;
    let upstream = peer.upstream(Protocol::Udp);
    for _ in 0..10 {
        assert_eq!(ask(&upstream).await.unwrap(), Rcode::NOERROR);
    }
}

#[tokio::test]
async fn a_server_that_refers_elsewhere_gives_its_turn_to_the_next() {
    let lame = Peer::start(
        |packet, _| {
            vec![reply(packet, |message| {
                message.add_authority(ns("example.", 60, "ns.example."));
            })]
        },
        no_tcp,
    )
    .await;
    let fine = Peer::start(good, no_tcp).await;
    let upstream = upstream(&[&lame, &fine], &Protocol::Udp);
    for _ in 0..10 {
        assert_eq!(ask(&upstream).await.unwrap(), Rcode::NOERROR);
    }
    assert!(lame.asked() >= 1 && fine.asked() == 10);
}

#[tokio::test]
async fn a_question_that_waits_for_the_dead_is_answered_when_one_is_back() {
    let peer = Peer::start(
        |packet, number| match number {
            0..4 => Vec::new(),
            _ => good(packet, number),
        },
        no_tcp,
    )
    .await;
    let upstream = Arc::new(peer.upstream(Protocol::Udp));
    let mut asking = JoinSet::new();
    for letter in b'a'..=b'z' {
        let upstream = Arc::clone(&upstream);
        asking.spawn(async move {
            // So that all but the first find a server that is known to be dead.
            tokio::time::sleep(Duration::from_millis(u64::from(letter - b'a') * 30)).await;
            let key = Key::new(&[1, letter, 0], 1, false, false);
            answer(&upstream, &key, Duration::from_secs(4)).await
        });
    }
    while let Some(done) = asking.join_next().await {
        assert!(done.unwrap().is_ok());
    }
}

#[tokio::test]
async fn a_server_that_cannot_answer_gives_its_turn_to_the_next_at_once() {
    for code_of_first in [
        |packet: &[u8], _| code(packet, ResponseCode::ServFail),
        |packet: &[u8], _| code(packet, ResponseCode::Refused),
    ] {
        let bad = Peer::start(code_of_first, no_tcp).await;
        let fine = Peer::start(good, no_tcp).await;
        let upstream = upstream(&[&bad, &fine], &Protocol::Udp);
        let began = Instant::now();
        for _ in 0..20 {
            assert_eq!(ask(&upstream).await.unwrap(), Rcode::NOERROR);
        }
        // Twenty times the wait for a late server would be six seconds.
        assert!(began.elapsed() < Duration::from_secs(2));
        assert!(bad.asked() >= 1);
    }
}

#[tokio::test]
async fn when_every_server_cannot_answer_the_code_of_the_last_is_told() {
    let bad = Peer::start(|packet, _| code(packet, ResponseCode::Refused), no_tcp).await;
    let began = Instant::now();
    let failure = ask(&bad.upstream(Protocol::Udp)).await.unwrap_err();
    assert!(
        matches!(
            failure,
            Failure::Server {
                trouble: Trouble::Rejected(Rcode::REFUSED),
                ..
            }
        ),
        "{failure}"
    );
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn beside_a_silent_server_the_next_is_asked() {
    let dead = Peer::start(silent, no_tcp).await;
    let fine = Peer::start(good, no_tcp).await;
    let upstream = upstream(&[&dead, &fine], &Protocol::Udp);
    let began = Instant::now();
    for _ in 0..10 {
        assert_eq!(ask(&upstream).await.unwrap(), Rcode::NOERROR);
    }
    // Once it was waited for, perhaps twice by exploring; then it stands behind.
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_late_answer_still_counts() {
    let peer = Peer::start(silent, no_tcp).await;
    let slow = Peer::start(
        |packet, number| {
            std::thread::sleep(Duration::from_millis(400));
            good(packet, number)
        },
        no_tcp,
    )
    .await;
    let upstream = upstream(&[&slow, &peer], &Protocol::Udp);
    assert_eq!(ask(&upstream).await.unwrap(), Rcode::NOERROR);
}

#[tokio::test]
async fn connections_are_kept_and_shared() {
    let peer = Peer::start(silent, good_tcp).await;
    let upstream = peer.upstream(Protocol::Tcp);
    for _ in 0..50 {
        assert_eq!(ask(&upstream).await.unwrap(), Rcode::NOERROR);
    }
    assert_eq!(peer.asked(), 50);
    assert!(peer.connections.load(Relaxed) <= 2);
}

#[tokio::test]
async fn replies_in_any_order_reach_whom_they_are_for() {
    let peer = Peer::start(silent, |_| Line::ServeInPairsReversed(good)).await;
    let upstream = Arc::new(peer.upstream(Protocol::Tcp));
    let mut asking = JoinSet::new();
    for letter in b'a'..=b'd' {
        let upstream = Arc::clone(&upstream);
        asking.spawn(async move {
            let key = Key::new(&[1, letter, 0], 1, false, false);
            let patience = Duration::from_secs(4);
            let response = answer(&upstream, &key, patience).await.unwrap();
            let message = Message::from_vec(response.wire()).unwrap();
            let owner = message.answers[0].name.to_ascii();
            assert_eq!(owner, format!("{}.", char::from(letter)));
        });
    }
    while let Some(done) = asking.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn a_session_that_dies_costs_no_question() {
    let peer = Peer::start(silent, |number| match number {
        0 | 2 => Line::CloseAfterQuestion,
        _ => Line::Serve(good),
    })
    .await;
    let upstream = peer.upstream(Protocol::Tcp);
    let began = Instant::now();
    for _ in 0..10 {
        assert_eq!(ask(&upstream).await.unwrap(), Rcode::NOERROR);
    }
    assert!(began.elapsed() < Duration::from_secs(1), "and no time");
}

#[tokio::test]
async fn a_session_that_hangs_costs_one_wait_for_a_late_server() {
    let peer = Peer::start(silent, |number| match number {
        0 => Line::Hang,
        _ => Line::Serve(good),
    })
    .await;
    let upstream = peer.upstream(Protocol::Tcp);
    let began = Instant::now();
    assert_eq!(ask(&upstream).await.unwrap(), Rcode::NOERROR);
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(peer.connections.load(Relaxed), 2);
}

#[tokio::test]
async fn an_error_without_question_over_tcp_is_an_error() {
    let peer = Peer::start(silent, |_| {
        Line::Serve(|packet, _| {
            let mut header = packet[..12].to_vec();
            put_u16(&mut header, 2, flag::QR | Rcode::SERVFAIL.0);
            header[4..].fill(0);
            vec![header]
        })
    })
    .await;
    let failure = ask(&peer.upstream(Protocol::Tcp)).await.unwrap_err();
    assert!(
        failure.to_string().ends_with("answers SERVFAIL"),
        "{failure}"
    );
}

#[tokio::test]
async fn when_nobody_answers_the_deadline_ends_it() {
    let peer = Peer::start(silent, no_tcp).await;
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let began = Instant::now();
        let patience = Duration::from_millis(700);
        let failure = ask_within(&peer.upstream(protocol), patience).await;
        assert!(matches!(failure, Err(Failure::NoAnswer { .. })));
        let took = began.elapsed();
        assert!(took >= patience && took < 2 * patience, "{took:?}");
    }
}

#[tokio::test]
async fn a_port_nobody_listens_on_is_told_as_such() {
    let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let network = network();
        let server = Arc::new(Server::new(Forward { protocol, address }, &network));
        let upstream = Upstream::new(Name::root(), vec![server], Role::Resolver, network);
        let failure = ask_within(&upstream, Duration::from_millis(500)).await;
        let text = failure.unwrap_err().to_string();
        assert!(text.contains("refused"), "{text}");
    }
}
