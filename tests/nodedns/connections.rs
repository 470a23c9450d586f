//! Many clients together open more TCP connections than there are places. `TEST_SCALE` has them try more.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tests::dns::{Question, RecordType};
use tests::place::Place;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{interval, timeout};

use crate::limits::{hung_and_well, resident};
use crate::node::Node;

/// Some say nothing, most ask for what nobody answers, so that they have something to wait for.
#[tokio::test]
async fn a_flood_of_connections_costs_another_client_no_answer() {
    let place = Place::loopback();
    let Some((_hung, _well, node)) = hung_and_well(&place, "limits: {exempt: []}\n").await else {
        return;
    };
    let mut other = Other::new(&node, place.address(8)).await;
    other.round("before").await;
    let before = resident(&node.peer);

    let evicted = async || node.admin.metric("nodedns_tcp_evicted_total", &[]).await;
    let (tried, is_over) = (Cell::new(0), Cell::new(false));
    let flooding = async {
        let hogs: Vec<IpAddr> = (10..250).map(|last| place.address(last)).collect();
        flood(&hogs, node.address, &tried, &is_over).await
    };
    let enough = 3 * PLACES * usize::try_from(tests::scale()).unwrap();
    let (mut memory, mut open) = (0, 0.0_f64);
    let measuring = async {
        while tried.get() < enough || evicted().await < PLACES as f64 {
            other.round("during").await;
            let connections = node.admin.metric("nodedns_tcp_connections", &[]);
            open = open.max(connections.await);
            memory = memory.max(resident(&node.peer).saturating_sub(before));
        }
        is_over.set(true);
    };
    let both = async { tokio::join!(flooding, measuring) };
    timeout(Duration::from_secs(500), both).await.unwrap();
    println!(
        "{} connections tried, {open} at once, {} made room; {} rounds of another client, {} of which asked on a \
         new connection; {} KiB more",
        tried.get(),
        evicted().await,
        other.rounds,
        other.again,
        memory >> 10
    );
    // Those that make room may still be on their way out.
    assert!(open <= (PLACES + 256) as f64, "{open} at once");
    // That of the connections, and of the questions that wait on them: in a build for tests some 6 KiB each.
    assert!(memory < 160 << 20, "{} MiB", memory >> 20);
    assert_eq!(node.admin.metric("nodedns_panics_total", &[]).await, 0.0);
}

/// A client of its own, which asks in every way, and has to be answered each time.
struct Other<'a> {
    node: &'a Node,
    from: IpAddr,
    kept: TcpStream,
    rounds: u32,
    again: u32,
}

impl<'a> Other<'a> {
    async fn new(node: &'a Node, from: IpAddr) -> Self {
        Self {
            node,
            from,
            kept: connect(from, node.address).await.unwrap(),
            rounds: 0,
            again: 0,
        }
    }

    /// Asks over UDP, on a new connection, and on the one that it keeps: first what the cache has not, then what
    /// it has.
    async fn round(&mut self, word: &str) {
        let number = self.rounds;
        self.rounds += 1;
        let question = |way| {
            let name = format!("{way}{number}.{word}.well.");
            Question::new(&name, RecordType::A).from(self.from)
        };
        let each = [question("udp"), question("tcp").tcp()];
        let on_kept = question("kept");
        for _ in 0..2 {
            for question in &each {
                let reply = question.ask(self.node.address).await.unwrap();
                assert_eq!(reply.data(RecordType::A), ["192.0.2.8"]);
            }
            let exchange = self.exchange(&on_kept);
            let answers = timeout(Duration::from_secs(5), exchange).await.unwrap();
            assert_eq!(answers.unwrap(), 1, "record on the connection that is kept");
        }
    }

    /// A connection on which nothing was asked for a second may be closed: then on a new one.
    async fn exchange(&mut self, question: &Question) -> io::Result<u16> {
        if let Ok(answers) = exchange(&mut self.kept, question).await {
            return Ok(answers);
        }
        self.again += 1;
        self.kept = connect(self.from, self.node.address).await?;
        exchange(&mut self.kept, question).await
    }
}

/// Opens connection after connection, 2,000 a second at most, from one address after the other; holds twice as many
/// as there are places, and asks something on three of four.
async fn flood(hogs: &[IpAddr], server: SocketAddr, tried: &Cell<usize>, is_over: &Cell<bool>) {
    let mut held = VecDeque::new();
    let mut pace = interval(Duration::from_millis(1));
    while !is_over.get() {
        pace.tick().await;
        for _ in 0..2 {
            let number = tried.get();
            tried.set(number + 1);
            let hog = hogs[number % hogs.len()];
            // Whatever becomes of it.
            let Ok(Ok(stream)) = timeout(Duration::from_secs(1), connect(hog, server)).await else {
                continue;
            };
            if !number.is_multiple_of(4) {
                let question = Question::new(&format!("h{number}.hung."), RecordType::A);
                let _ = stream.try_write(&framed(&question));
            }
            held.push_back(stream);
            if held.len() > 2 * PLACES {
                held.pop_front();
            }
        }
    }
}

async fn connect(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    socket.connect(to).await
}

/// Asks, and gives how many records the answer has.
async fn exchange(stream: &mut TcpStream, question: &Question) -> io::Result<u16> {
    stream.write_all(&framed(question)).await?;
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    Ok(u16::from_be_bytes([answer[6], answer[7]]))
}

fn framed(question: &Question) -> Vec<u8> {
    let wire = question.wire();
    [&(wire.len() as u16).to_be_bytes()[..], &wire].concat()
}

/// At one address of one worker.
const PLACES: usize = 4_096;
