//! The ports from which questions leave: whoever wants to forge an answer has to guess them.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;

use tests::place::Place;
use tests::program;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::hostile::{Hostile, honest};
use crate::node::{Node, write};

/// What the machine sets aside, and what of it is reserved.
const FROM: u16 = 32_768;
const TO: u16 = 60_999;
const RESERVED: [std::ops::RangeInclusive<u16>; 2] = [35_000..=36_999, 50_000..=50_000];

/// Each asks from one socket, so that the kernel gives all its questions to one thread.
const CLIENTS: usize = 12;
const WORKERS: usize = 4;

#[tokio::test]
async fn ports_of_all_threads_are_drawn_from_the_whole_range_less_the_reserved() {
    let Some(place) = Place::namespace() else {
        return;
    };
    fs::write(
        "/proc/sys/net/ipv4/ip_local_port_range",
        format!("{FROM} {TO}"),
    )
    .unwrap();
    fs::write(
        "/proc/sys/net/ipv4/ip_local_reserved_ports",
        "35000-36999,50000",
    )
    .unwrap();
    let server = Hostile::start(place.socket_address(2, 5353), honest).await;
    let (address, admin) = (place.socket_address(1, 5353), place.socket_address(1, 9253));
    let configuration = format!(
        "listen: [\"{address}\"]\nadmin: \"{admin}\"\nworkers: {WORKERS}\n\
         zones: [{{name: ., forward: [\"{}\"], validate: false}}]\n",
        server.address
    );
    let launch = program::nodedns(&place)
        .arg("--config")
        .arg(write(&place, &configuration))
        .arg("--log-level=info");
    let node = Node::of(launch, address, admin).await;

    // A client asks one question after another, so the server sees them in the order of its clients'
    // names, and knows whose each is.
    let questions = 100_000 * tests::scale() as usize / CLIENTS;
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(ask(node.address, client, questions));
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }

    let asked = server.asked();
    let all: Vec<u16> = asked.iter().map(|asked| asked.from.port()).collect();
    assert!(all.len() >= questions * CLIENTS);
    let distinct: HashSet<u16> = all.iter().copied().collect();
    println!("{} questions left from {} ports", all.len(), distinct.len());
    assert!(distinct.len() >= 16_000, "{}", distinct.len());
    assert!(distinct.iter().all(|port| (FROM..=TO).contains(port)));
    for reserved in RESERVED {
        let used = distinct.iter().find(|port| reserved.contains(port));
        assert_eq!(used, None, "reserved");
    }
    assert_even("all threads", &all);
    for client in 0..CLIENTS {
        let ports: Vec<u16> = asked
            .iter()
            .filter(|asked| asked.client == client)
            .map(|asked| asked.from.port())
            .collect();
        assert!(ports.len() >= questions);
        assert_even(&format!("client {client}"), &ports);
        // Nor does one port tell the next.
        let steps: Vec<u16> = ports
            .windows(2)
            .map(|two| place_of(two[1]).wrapping_add(RANGE - place_of(two[0])) % RANGE)
            .map(|step| FROM + step)
            .collect();
        assert_even_places(
            &format!("steps of client {client}"),
            steps.iter().map(|step| step - FROM),
        );
    }
}

/// Asks for names of its own, in windows.
async fn ask(server: SocketAddr, client: usize, questions: usize) {
    const WINDOW: usize = 8;
    let socket = UdpSocket::bind((server.ip(), 0)).await;
    let socket = socket.unwrap();
    socket.connect(server).await.unwrap();
    let mut buffer = [0; 512];
    let mut sent = 0;
    let mut received = 0;
    while received < questions {
        while sent < questions && sent - received < WINDOW {
            socket.send(&query(client, sent)).await.unwrap();
            sent += 1;
        }
        let length = socket.recv(&mut buffer).await.unwrap();
        assert_eq!(buffer[3] & 0xf, 0, "an answer of {length} bytes");
        received += 1;
    }
}

/// `c<client>-<number>.example. A`
fn query(client: usize, number: usize) -> Vec<u8> {
    let label = format!("c{client}-{number}");
    let mut packet = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, label.len() as u8];
    packet.extend_from_slice(label.as_bytes());
    packet.extend_from_slice(b"\x07example\0\0\x01\0\x01");
    packet
}

/// How many ports may be drawn.
const RANGE: u16 = TO - FROM + 1 - 2_001;

/// The place of a port among those that may be drawn.
fn place_of(port: u16) -> u16 {
    let before = |range: &std::ops::RangeInclusive<u16>| {
        if port > *range.end() {
            range.end() - range.start() + 1
        } else {
            0
        }
    };
    port - FROM - RESERVED.iter().map(before).sum::<u16>()
}

fn assert_even(what: &str, ports: &[u16]) {
    assert_even_places(what, ports.iter().map(|port| place_of(*port)));
}

/// Pearson's test: over a hundred equal parts of the range the counts differ from each other as chance
/// has it. The sum has mean 99 and deviation 14; an even draw is beyond 200 once in 10^8 times.
fn assert_even_places(what: &str, places: impl ExactSizeIterator<Item = u16>) {
    const PARTS: usize = 100;
    let expected = places.len() as f64 / PARTS as f64;
    let mut counts = [0_u32; PARTS];
    for place in places {
        counts[usize::from(place) * PARTS / usize::from(RANGE)] += 1;
    }
    let sum: f64 = counts
        .iter()
        .map(|count| (f64::from(*count) - expected).powi(2) / expected)
        .sum();
    assert!(sum < 200.0, "{what}: {sum:.0}, {counts:?}");
}
