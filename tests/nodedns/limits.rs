//! What one client can do to the others: nothing. Each test has a client that misbehaves, at the
//! place's address 9, and one that does not, at 8.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use tests::coredns::CoreDns;
use tests::dns::{Question, RecordType, Reply};
use tests::peer::Peer;
use tests::place::Place;
use tests::{program, wait};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::node::{Node, address, configuration, write, zone};
use crate::servers::coredns;

/// nodedns with these lines in its configuration beside the zones, and no line in its log for each
/// question.
pub(crate) async fn limited(place: &Place, zones: &str, lines: &str) -> Node {
    let launch = program::nodedns(place)
        .arg("--config")
        .arg(write(place, &(configuration(place, zones) + lines)));
    Node::of(launch, address(place), place.socket_address(1, 9253)).await
}

/// The server of `hung.`, which answers nobody, that of `well.`, which does, and nodedns with these
/// lines in its configuration.
pub(crate) async fn hung_and_well(place: &Place, lines: &str) -> Option<(CoreDns, CoreDns, Node)> {
    let hung = coredns(place, 2, "hung.", "* A 192.0.2.7").await?;
    let well = coredns(place, 3, "well.", "* A 192.0.2.8").await?;
    let zones = zone("hung.", &[hung.address().to_string()])
        + &zone("well.", &[well.address().to_string()]);
    let node = limited(place, &zones, lines).await;
    hung.peer.pause();
    Some((hung, well, node))
}

fn hog(place: &Place) -> IpAddr {
    place.address(9)
}

fn other(place: &Place) -> IpAddr {
    place.address(8)
}

async fn met(node: &Node, limit: &str) -> f64 {
    let labels = [("limit", limit)];
    node.admin.metric("nodedns_limited_total", &labels).await
}

async fn connect(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    socket.connect(to).await
}

/// Whether the other side ends the connection in time.
async fn is_closed(stream: &mut TcpStream, within: Duration) -> bool {
    let mut buffer = vec![0; 1 << 16];
    let end = async {
        // A reset is an end, too.
        while stream.read(&mut buffer).await.unwrap_or(0) > 0 {}
    };
    timeout(within, end).await.is_ok()
}

fn localhost() -> Question {
    Question::new("localhost.", RecordType::A)
}

#[tokio::test]
async fn who_is_not_on_the_list_is_refused_and_told_so() {
    let place = Place::loopback();
    let allowed = format!("access: {{allow: [{}]}}\n", other(&place));
    let zones = zone(".", &[place.socket_address(7, 53).to_string()]);
    let node = limited(&place, &zones, &allowed).await;
    let refused = localhost()
        .from(hog(&place))
        .ask(node.address)
        .await
        .unwrap();
    assert_eq!(refused.code(), ResponseCode::Refused);
    assert_eq!(refused.extended_errors()[0].0, 18, "Prohibited");
    let mut stream = connect(hog(&place), node.address).await.unwrap();
    assert!(is_closed(&mut stream, Duration::from_secs(5)).await);
    assert_eq!(met(&node, "access").await, 2.0);
    for question in [localhost(), localhost().tcp()] {
        let reply = question
            .from(other(&place))
            .ask(node.address)
            .await
            .unwrap();
        assert_eq!(reply.data(RecordType::A), ["127.0.0.1"]);
    }
}

/// Sends so many questions at once, and gives the replies that come before a moment is over.
async fn burst(place: &Place, node: &Node, count: usize) -> Vec<Vec<u8>> {
    let socket = UdpSocket::bind((hog(place), 0)).await.unwrap();
    socket.connect(node.address).await.unwrap();
    let mut replies = Vec::new();
    let mut buffer = [0; 512];
    for _ in 0..count {
        socket.send(&localhost().wire()).await.unwrap();
    }
    while let Ok(Ok(length)) = timeout(Duration::from_millis(300), socket.recv(&mut buffer)).await {
        replies.push(buffer[..length].to_vec());
    }
    replies
}

#[tokio::test]
async fn beyond_its_rate_a_client_is_sent_to_tcp_and_there_made_to_wait() {
    let place = Place::loopback();
    let zones = zone(".", &[place.socket_address(7, 53).to_string()]);
    let lines = "limits: {queries_per_second: 50, exempt: []}\n";
    let node = limited(&place, &zones, lines).await;
    let replies = burst(&place, &node, 400).await;
    let truncated = replies.iter().filter(|reply| reply[2] & 2 != 0).count();
    let whole = replies.len() - truncated;
    assert!(
        (50..200).contains(&whole),
        "{whole} answered, {truncated} cut"
    );
    assert!(truncated > 0 && truncated < 200, "{truncated} cut");
    assert!(
        replies.iter().all(|reply| reply.len() < 80),
        "nothing is amplified"
    );

    let reply = localhost().from(other(&place)).ask(node.address).await;
    assert_eq!(reply.unwrap().data(RecordType::A), ["127.0.0.1"]);
    assert_eq!(met(&node, "rate").await, 400.0 - whole as f64);

    let mut stream = connect(hog(&place), node.address).await.unwrap();
    let wire = localhost().wire();
    let framed = [&(wire.len() as u16).to_be_bytes()[..], &wire].concat();
    stream.write_all(&framed.repeat(100)).await.unwrap();
    let all = async {
        for _ in 0..100 {
            let mut reply = vec![0; stream.read_u16().await.unwrap().into()];
            stream.read_exact(&mut reply).await.unwrap();
        }
    };
    timeout(Duration::from_secs(20), all).await.unwrap();
}

#[tokio::test]
async fn beyond_its_share_a_client_waits_and_then_fails_alone() {
    let place = Place::loopback();
    let lines = "limits: {questions: 2, waiting: 4, exempt: []}\n";
    let Some((hung, _well, node)) = hung_and_well(&place, lines).await else {
        return;
    };
    let mut asking = JoinSet::new();
    for number in 0..10 {
        let question = Question::new(&format!("n{number}.hung."), RecordType::A).from(hog(&place));
        let server = node.address;
        asking.spawn(async move { question.ask(server).await.unwrap() });
    }
    for _ in 0..6 {
        let reply = asking.join_next().await.unwrap().unwrap();
        assert_eq!(reply.code(), ResponseCode::ServFail);
        assert_eq!(reply.extended_errors()[0].0, 14, "Not Ready");
    }
    assert_eq!(met(&node, "waiting").await, 6.0);
    let reply = Question::new("n.well.", RecordType::A).from(other(&place));
    let reply = reply.ask(node.address).await.unwrap();
    assert_eq!(reply.data(RecordType::A), ["192.0.2.8"]);
    hung.peer.resume();
    for _ in 0..4 {
        let reply: Reply = asking.join_next().await.unwrap().unwrap();
        assert_eq!(reply.data(RecordType::A), ["192.0.2.7"]);
    }
}

#[tokio::test]
async fn whoever_waits_for_his_turn_is_told_before_he_gives_up() {
    let place = Place::loopback();
    let Some(hung) = coredns(&place, 2, "hung.", "* A 192.0.2.7").await else {
        return;
    };
    let zones = zone("hung.", &[hung.address().to_string()]);
    let lines = "limits: {questions: 2, waiting: 40, exempt: []}\n";
    let node = limited(&place, &zones, lines).await;
    hung.peer.pause();
    let mut asking = JoinSet::new();
    for number in 0..20 {
        let question = Question::new(&format!("n{number}.hung."), RecordType::A).from(hog(&place));
        let server = node.address;
        // It is an error when no reply comes within the five seconds that stub resolvers wait.
        asking.spawn(async move { question.ask(server).await.unwrap() });
    }
    for reply in asking.join_all().await {
        assert_eq!(reply.code(), ResponseCode::ServFail);
    }
}

#[tokio::test]
async fn a_connection_that_asked_too_much_is_answered_and_ends_as_others_do() {
    let place = Place::loopback();
    let Some(hung) = coredns(&place, 2, "hung.", "* A 192.0.2.7").await else {
        return;
    };
    let zones = zone("hung.", &[hung.address().to_string()]);
    let lines = "limits: {questions: 2, waiting: 4, exempt: []}\n";
    let node = limited(&place, &zones, lines).await;
    hung.peer.pause();
    let mut stream = connect(hog(&place), node.address).await.unwrap();
    for number in 0..10 {
        let wire = Question::new(&format!("n{number}.hung."), RecordType::A).wire();
        let length = (wire.len() as u16).to_be_bytes();
        stream
            .write_all(&[&length, &wire[..]].concat())
            .await
            .unwrap();
    }
    let mut code_of_next = async || {
        let mut reply = vec![0; stream.read_u16().await.unwrap().into()];
        stream.read_exact(&mut reply).await.unwrap();
        reply[3] & 0xf
    };
    let refused = async {
        for _ in 0..6 {
            assert_eq!(code_of_next().await, 2, "SERVFAIL");
        }
        hung.peer.resume();
        for _ in 0..4 {
            assert_eq!(code_of_next().await, 0, "NOERROR");
        }
    };
    timeout(Duration::from_secs(10), refused).await.unwrap();
    assert!(is_closed(&mut stream, Duration::from_secs(15)).await);
}

#[tokio::test]
async fn connections_are_bounded_by_client_and_what_is_no_query_ends_them() {
    let place = Place::loopback();
    let zones = zone(".", &[place.socket_address(7, 53).to_string()]);
    let lines = "limits: {connections: 5, exempt: []}\n";
    let node = limited(&place, &zones, lines).await;
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(connect(hog(&place), node.address).await.unwrap());
    }
    let count = async || match node.admin.metric("nodedns_tcp_connections", &[]).await {
        5.0 => Ok(()),
        count => Err(format!("{count} connections")),
    };
    wait::until("five connections", Duration::from_secs(5), count).await;
    let mut sixth = connect(hog(&place), node.address).await.unwrap();
    assert!(is_closed(&mut sixth, Duration::from_secs(5)).await);
    assert_eq!(met(&node, "connections").await, 1.0);
    let reply = localhost()
        .tcp()
        .from(other(&place))
        .ask(node.address)
        .await;
    assert_eq!(reply.unwrap().data(RecordType::A), ["127.0.0.1"]);

    // Its length says more than any query has.
    open[0].write_all(&[0xff, 0xff, 0]).await.unwrap();
    assert!(is_closed(&mut open[0], Duration::from_secs(5)).await);
    assert_eq!(met(&node, "length").await, 1.0);
    // One that comes byte by byte is waited for as long as one that does not come.
    open[1].write_all(&[0]).await.unwrap();
    assert!(is_closed(&mut open[1], Duration::from_secs(15)).await);
}

#[tokio::test]
async fn who_does_not_read_is_given_up_and_holds_little_meanwhile() {
    let place = Place::loopback();
    let many: String = (1..=200)
        .map(|last| format!("many A 192.0.2.{last}\n"))
        .collect();
    let Some(server) = coredns(&place, 2, "example.", &many).await else {
        return;
    };
    let zones = zone(".", &[format!("tcp://{}", server.address())]);
    let node = limited(&place, &zones, "limits: {exempt: []}\n").await;
    let question = Question::new("many.example.", RecordType::A).tcp();
    assert_eq!(
        question
            .ask(node.address)
            .await
            .unwrap()
            .data(RecordType::A)
            .len(),
        200
    );
    let before = resident(&node.peer);
    let wire = question.wire();
    let framed = [&(wire.len() as u16).to_be_bytes()[..], &wire]
        .concat()
        .repeat(5_000);
    let mut deaf = JoinSet::new();
    for _ in 0..100 {
        let mut stream = connect(hog(&place), node.address).await.unwrap();
        let framed = framed.clone();
        deaf.spawn(async move {
            // It is reset once nodedns has had enough.
            let _ = stream.write_all(&framed).await;
            stream
        });
    }
    let mut most = before;
    let gone = async || {
        most = most.max(resident(&node.peer));
        let reply = localhost().from(other(&place)).ask(node.address).await;
        assert_eq!(reply.unwrap().data(RecordType::A), ["127.0.0.1"]);
        match node.admin.metric("nodedns_tcp_connections", &[]).await {
            0.0 => Ok(()),
            count => Err(format!("{count} connections")),
        }
    };
    wait::until("all to be given up", Duration::from_secs(30), gone).await;
    let each = (most - before) / 100;
    assert!(each < 256 << 10, "{each} bytes each");
}

/// Bytes of memory that the process has.
pub(crate) fn resident(peer: &Peer) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", peer.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes: u64 = line.unwrap().trim_end_matches("kB").trim().parse().unwrap();
    kibibytes << 10
}
