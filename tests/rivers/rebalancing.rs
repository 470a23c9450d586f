//! Connections drift back to a server that was away, where that is wanted.

use std::fs;
use std::net::SocketAddr;

use tests::place::Place;
use tests::{program, wait};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::scene::{PATIENCE, Rivers, admin, exchange, listen};

/// Two listeners before the same three servers, one of which drifts; a server goes away and comes back, and
/// the clients that it had connect again.
#[tokio::test]
async fn connections_drift_to_a_server_that_came_back_only_where_that_is_wanted() {
    let place = Place::loopback();
    let servers = [2, 3, 4].map(|node| place.socket_address(node, 6443));
    let (drifts, stays) = (listen(&place), place.socket_address(1, 16444));
    let file = place.folder().join("rivers.yml");
    fs::write(&file, text(&place, &servers, drifts, stays)).unwrap();
    let _others = [serve(servers[0]).await, serve(servers[1]).await];
    let peer = program::rivers(&place)
        .arg(program::run_dir(&place))
        .arg("--config")
        .arg(&file)
        .start();
    let rivers = Rivers::accepting(peer, drifts, admin(&place)).await;
    for up in &servers[..2] {
        rivers.believes(*up, "up").await;
    }
    wait::until("the third to be down", PATIENCE, async || {
        let third = servers[2].to_string();
        let labels = [
            ("listener", "drifts"),
            ("upstream", third.as_str()),
            ("state", "down"),
        ];
        let is_down = rivers.admin.metric("rivers_upstream_state", &labels).await;
        if is_down > 0.5 {
            Ok(())
        } else {
            Err("not yet")
        }
    })
    .await;

    let mut moved = connect(drifts).await;
    let mut stayed = connect(stays).await;
    let _back = serve(servers[2]).await;
    wait::until("the drift", PATIENCE, async || {
        replace_closed(&mut moved, drifts).await;
        let said = rivers.times("the upstream that came back has its share");
        if said > 0 { Ok(()) } else { Err("not yet") }
    })
    .await;

    let third = CLIENTS / 3;
    let closed = [("listener", "drifts"), ("reason", "rebalanced")];
    let closed = rivers.admin.metric("rivers_close_total", &closed).await;
    assert!(closed > 0.5 && closed < third as f64 + 1.5, "{closed}");
    wait::until("the share", PATIENCE, async || {
        replace_closed(&mut moved, drifts).await;
        let upstream = servers[2].to_string();
        let labels = [("listener", "drifts"), ("upstream", upstream.as_str())];
        let has = rivers
            .admin
            .metric("rivers_connections_active", &labels)
            .await;
        if has > third as f64 - 0.5 {
            Ok(())
        } else {
            Err(format!("{has} connections"))
        }
    })
    .await;
    let labels = [("listener", "drifts")];
    assert!(
        rivers
            .admin
            .metric("rivers_rebalanced_total", &labels)
            .await
            > 0.5
    );
    for client in &mut stayed {
        exchange(client).await.unwrap();
    }
    let closed = [("listener", "stays"), ("reason", "rebalanced")];
    assert_eq!(
        rivers.admin.metric("rivers_close_total", &closed).await,
        0.0
    );
}

fn text(place: &Place, servers: &[SocketAddr], drifts: SocketAddr, stays: SocketAddr) -> String {
    let servers: Vec<String> = servers.iter().map(|it| format!("'{it}'")).collect();
    let servers = servers.join(", ");
    format!(
        "admin: '{}'\nlisteners:\n\
         - {{name: drifts, listen: '{drifts}', upstreams: [{servers}], rebalance: true, rebalance_pace: 600}}\n\
         - {{name: stays, listen: '{stays}', upstreams: [{servers}]}}\n",
        admin(place)
    )
}

async fn connect(address: SocketAddr) -> Vec<TcpStream> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(client(address).await);
    }
    clients
}

/// A client that has been served.
async fn client(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    exchange(&mut client).await.unwrap();
    client
}

/// As clients do whose connection was closed. A close is an orderly one.
async fn replace_closed(clients: &mut [TcpStream], address: SocketAddr) {
    for it in clients {
        match it.try_read(&mut [0]) {
            Ok(0) => *it = client(address).await,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            other => panic!("neither open nor closed in order: {other:?}"),
        }
    }
}

/// An echo that ends with all its connections when this is dropped.
async fn serve(address: SocketAddr) -> Server {
    let listener = TcpListener::bind(address).await.unwrap();
    Server(tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.spawn(async move {
                let (mut from, mut to) = stream.split();
                // Ends when the client does, however that is.
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    }))
}

struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

const CLIENTS: usize = 12;
