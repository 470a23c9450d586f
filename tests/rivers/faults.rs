//! Servers that refuse, swallow, vanish and come back.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use tests::place::Place;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::scene::{PATIENCE, Rivers, echo, exchange};

#[tokio::test]
async fn a_server_that_refuses_costs_no_client() {
    let place = Place::loopback();
    let [nobody, server] = [2, 3].map(|node| place.socket_address(node, 6443));
    echo(server).await;
    let rivers = Rivers::start(&place, &[nobody, server], &[]).await;
    for _ in 0..50 {
        exchange(&mut rivers.client().await).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_swallows_costs_a_client_a_quarter_of_a_second() {
    let place = Place::loopback();
    let [hole, server] = [2, 3].map(|node| place.socket_address(node, 6443));
    let _hole = black_hole(hole).await;
    echo(server).await;
    let rivers = Rivers::start(&place, &[hole, server], &[]).await;
    for _ in 0..50 {
        let begin = Instant::now();
        exchange(&mut rivers.client().await).await.unwrap();
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    rivers.believes(hole, "down").await;
    rivers.believes(server, "up").await;
}

#[tokio::test]
async fn a_server_that_comes_back_gets_clients_again() {
    let place = Place::loopback();
    let server = place.socket_address(2, 6443);
    let flags = ["--check-interval=100ms", "--dial-timeout=1s"];
    let rivers = Rivers::start(&place, &[server], &flags).await;
    rivers.believes(server, "down").await;

    // Nobody is there, nor comes back in time: the client is told, and not with a FIN.
    let mut client = rivers.client().await;
    let read = timeout(PATIENCE, client.read(&mut [0])).await.unwrap();
    assert_eq!(
        read.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionReset
    );
    rivers.peer.says("every upstream is down").await;
    let refused = [("outcome", "refused")];
    let refused = rivers
        .admin
        .metric("rivers_dial_attempts_total", &refused)
        .await;
    assert!(refused >= 1.0, "{refused}");

    // All are dialled all the same: the first client needs no probe to go before it.
    echo(server).await;
    exchange(&mut rivers.client().await).await.unwrap();
    rivers.believes(server, "up").await;
}

#[tokio::test]
async fn a_client_that_waits_is_served_as_soon_as_one_of_all_comes_back() {
    let place = Place::loopback();
    let servers = [2, 3, 4].map(|node| place.socket_address(node, 6443));
    let rivers = Rivers::start(&place, &servers, &[]).await;
    for &server in &servers {
        rivers.believes(server, "down").await;
    }
    let mut waiting = rivers.client().await;
    let refused = timeout(Duration::from_millis(500), exchange(&mut waiting)).await;
    assert!(refused.is_err(), "nobody is there, and yet: {refused:?}");

    echo(servers[1]).await;
    let back = Instant::now();
    let mut late = rivers.client().await;
    exchange(&mut late).await.unwrap();
    // The word that was sent half a second ago comes back, too.
    waiting.read_exact(&mut [0; 4]).await.unwrap();
    let took = back.elapsed();
    println!("a client was served {took:?} after a server's return");
    // No repeated SYN and no probe was waited for.
    assert!(took < Duration::from_secs(1), "{took:?}");
}

/// Completes no handshake: the queue of connections to be accepted is full, so that the kernel drops
/// every SYN. Lasts as long as the result.
pub(crate) async fn black_hole(address: SocketAddr) -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    // As every listener does: connections of another test's server may still be in TIME_WAIT.
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    let listener = socket.listen(1).unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        queued.push(stream.unwrap());
    }
    (listener, queued)
}

/// From now on the network swallows what is sent to this address and from it, to any connection's end. For a
/// place of a namespace.
pub(crate) fn swallow(address: SocketAddr) {
    let (ip, port) = (address.ip(), address.port());
    let rules = format!(
        "table ip hole {{ chain input {{ type filter hook input priority 0; \
         ip daddr {ip} tcp dport {port} drop; ip saddr {ip} tcp sport {port} drop; }}; }}"
    );
    let nft = Command::new("nft").arg(rules).output().unwrap();
    assert!(nft.status.success(), "{nft:?}");
}
