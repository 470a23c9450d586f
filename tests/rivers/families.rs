//! IPv4 and IPv6: listeners, upstreams and mixtures of both, and names.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use tests::place::Place;
use tests::program;
use tokio::net::{TcpListener, TcpStream};

use crate::scene::{Rivers, admin, exchange, named_echo, whom};

/// Starts rivers with these listeners, and waits until `accepting` is listened to.
async fn start(place: &Place, listeners: &str, accepting: SocketAddr) -> Rivers {
    let file = place.folder().join("rivers.yml");
    let text = format!("admin: '{}'\nlisteners:\n{listeners}", admin(place));
    fs::write(&file, text).unwrap();
    let peer = program::rivers(place).arg("--config").arg(&file).start();
    Rivers::accepting(peer, accepting, admin(place)).await
}

/// One server on each family, which says which it is.
async fn servers(place: &Place) -> (SocketAddr, SocketAddr) {
    let (four, six) = (
        place.socket_address(2, 6443),
        place.socket_address6(2, 6443),
    );
    named_echo(four, "4").await;
    named_echo(six, "6").await;
    (four, six)
}

async fn asks(listen: SocketAddr) -> String {
    let mut client = TcpStream::connect(listen).await.unwrap();
    let name = whom(&mut client).await;
    exchange(&mut client).await.unwrap();
    name
}

#[tokio::test]
async fn a_listener_of_either_family_reaches_upstreams_of_the_other() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let (four, six) = servers(&place).await;
    let [of_four, of_six] = [
        place.socket_address(1, 1006),
        place.socket_address6(1, 1004),
    ];
    let listeners = format!(
        "- {{listen: '{of_four}', upstreams: ['{six}']}}\n- {{listen: '{of_six}', upstreams: ['{four}']}}\n"
    );
    let rivers = start(&place, &listeners, of_six).await;
    assert_eq!(asks(of_four).await, "6");
    assert_eq!(asks(of_six).await, "4");
    rivers.believes(six, "up").await;
}

#[tokio::test]
async fn a_port_alone_takes_clients_of_both_families_to_upstreams_of_both() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let (four, six) = servers(&place).await;
    let clients = [1, 3].map(|node| place.socket_address(node, 16443));
    let clients6 = [1, 3].map(|node| place.socket_address6(node, 16443));
    let listeners = format!(
        "- {{listen: ':16443', balance: round_robin, upstreams: ['{four}', '{six}']}}\nworkers: 1\n"
    );
    let rivers = start(&place, &listeners, clients[0]).await;
    // Turns are taken among those of which the same is believed.
    for upstream in [four, six] {
        rivers.believes(upstream, "up").await;
    }
    for listen in clients.into_iter().chain(clients6) {
        let mut names = [asks(listen).await, asks(listen).await];
        names.sort();
        assert_eq!(names, ["4", "6"], "through {listen}");
    }
}

#[tokio::test]
async fn an_ipv6_upstream_out_of_reach_costs_no_client() {
    let Some(place) = Place::namespace() else {
        return;
    };
    // Documentation addresses (RFC 3849), to which a namespace has no route.
    let (four, nowhere) = (place.socket_address(2, 6443), "[2001:db8::1]:6443");
    named_echo(four, "4").await;
    let listen = place.socket_address6(1, 16443);
    let listeners = format!("- {{listen: '{listen}', upstreams: ['{nowhere}', '{four}']}}\n");
    let rivers = start(&place, &listeners, listen).await;
    for _ in 0..20 {
        assert_eq!(asks(listen).await, "4");
    }
    rivers.believes(nowhere.parse().unwrap(), "down").await;
}

#[tokio::test]
async fn an_upstream_may_be_a_name() {
    let place = Place::loopback();
    // A name that every host has; the port is the kernel's choice, since the address is everybody's.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let server = free.local_addr().unwrap();
    drop(free);
    named_echo(server, "n").await;
    let listen = place.socket_address(1, 16443);
    let listeners = format!(
        "- {{listen: '{listen}', upstreams: ['localhost:{}', 'nowhere.invalid:6443']}}\n",
        server.port()
    );
    let rivers = start(&place, &listeners, listen).await;
    rivers.ready().await;
    for _ in 0..10 {
        assert_eq!(asks(listen).await, "n");
    }
}
