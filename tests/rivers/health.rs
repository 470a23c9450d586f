//! Real API servers that hang, are slow, or shut down.

use std::time::{Duration, Instant};

use kube::Client as Kube;
use tests::etcd::Etcd;
use tests::kubernetes::Cluster;
use tests::peer::Signal;
use tests::pki::Pki;
use tests::place::Place;
use tests::wait;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::faults::swallow;
use crate::scene::{PATIENCE, Rivers, echo, exchange};
use crate::tls::Client;

/// Three API servers, a rivers in front of them that believes in all, and clients that have been served.
async fn scene(place: &Place, flags: &[&str]) -> Option<(Cluster, Rivers, Vec<Client>)> {
    let cluster = Cluster::builder(place)
        .api_servers(3)
        .flag("--shutdown-delay-duration=20s")
        .start()
        .await?;
    let upstreams: Vec<_> = cluster
        .api_servers
        .iter()
        .map(|server| server.address())
        .collect();
    let ca_file = format!("--ca-file={}", cluster.pki.ca_file().display());
    let rivers = Rivers::start(place, &upstreams, &[&[ca_file.as_str()], flags].concat()).await;
    for &upstream in &upstreams {
        rivers.believes(upstream, "up").await;
    }
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(client(&cluster, &rivers).await);
    }
    Some((cluster, rivers, clients))
}

async fn client(cluster: &Cluster, rivers: &Rivers) -> Client {
    let mut client = Client::connect(rivers.listen, &cluster.pki).await.unwrap();
    client.version().await.unwrap();
    client
}

async fn of_upstream(rivers: &Rivers, metric: &str, cluster: &Cluster, index: usize) -> f64 {
    let upstream = cluster.api_servers[index].address().to_string();
    rivers
        .admin
        .metric(metric, &[("upstream", &upstream)])
        .await
}

async fn closed_as_dead(rivers: &Rivers) -> f64 {
    rivers
        .admin
        .metric("rivers_close_total", &[("reason", "upstream_down")])
        .await
}

#[tokio::test]
async fn slow_api_servers_keep_their_connections_and_a_hung_one_loses_them() {
    let place = Place::loopback();
    let Some((cluster, rivers, mut clients)) = scene(&place, &[]).await else {
        return;
    };

    for server in &cluster.api_servers {
        server.peer.pause();
        sleep(Duration::from_secs(1)).await;
        server.peer.resume();
    }
    for client in &mut clients {
        client.version().await.unwrap();
    }
    assert!(closed_as_dead(&rivers).await < 0.5);

    let theirs = of_upstream(&rivers, "rivers_connections_active", &cluster, 0).await;
    assert!(theirs > 0.5, "no client is at the first API server");
    let hung = Instant::now();
    cluster.api_servers[0].peer.pause();
    let ends: Vec<_> = clients
        .into_iter()
        .map(|client| tokio::spawn(timeout(Duration::from_secs(8), client.ended())))
        .collect();

    sleep(Duration::from_secs(3)).await;
    let before = of_upstream(&rivers, "rivers_connections_total", &cluster, 0).await;
    for _ in 0..CLIENTS {
        client(&cluster, &rivers).await;
    }
    let after = of_upstream(&rivers, "rivers_connections_total", &cluster, 0).await;
    assert!(
        (after - before).abs() < 0.5,
        "a client was sent to the hung one"
    );

    are_closed_as_dead(&rivers, theirs).await;
    let took = hung.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let mut closed = 0;
    for end in ends {
        closed += u32::from(end.await.unwrap().is_ok());
    }
    assert!(
        (f64::from(closed) - theirs).abs() < 0.5,
        "{closed} closed, of {theirs}"
    );
    rivers.peer.says("no answer to a PING").await;

    cluster.api_servers[0].peer.resume();
    rivers
        .believes(cluster.api_servers[0].address(), "up")
        .await;
}

#[tokio::test]
async fn an_api_server_that_shuts_down_gets_no_new_clients_and_keeps_its_old_ones() {
    let place = Place::loopback();
    let Some((cluster, rivers, mut clients)) = scene(&place, &["--check-interval=1s"]).await else {
        return;
    };
    let address = cluster.api_servers[0].address();
    cluster.api_servers[0].peer.signal(Signal::TERM);
    rivers.believes(address, "draining").await;
    rivers.peer.says("readyz says 500: shutdown").await;

    let before = of_upstream(&rivers, "rivers_connections_total", &cluster, 0).await;
    for _ in 0..CLIENTS {
        client(&cluster, &rivers).await;
    }
    let after = of_upstream(&rivers, "rivers_connections_total", &cluster, 0).await;
    assert!(
        (after - before).abs() < 0.5,
        "a client was sent to the draining one"
    );
    for client in &mut clients {
        client.version().await.unwrap();
    }
}

#[tokio::test]
async fn probes_leave_no_handshake_errors_at_an_api_server() {
    let place = Place::loopback();
    let Some(cluster) = Cluster::builder(&place).start().await else {
        return;
    };
    let api_server = &cluster.api_servers[0];
    let kube = api_server.client();
    let ca_file = format!("--ca-file={}", cluster.pki.ca_file().display());
    let rivers = Rivers::start(&place, &[api_server.address()], &[&ca_file]).await;
    rivers.believes(api_server.address(), "up").await;
    // Before probes are watched: the connect that told the scene that rivers accepts clients.
    let before = wait::until("the first connect to be counted", PATIENCE, async || {
        let now = handshake_errors(&kube).await;
        if now > 0.5 { Ok(now) } else { Err(now) }
    })
    .await;
    sleep(PROBING * tests::scale()).await;
    let probes = rivers
        .admin
        .metric("rivers_probe_duration_seconds_count", &[])
        .await;
    assert!(probes >= 5.0, "{probes}");
    let after = handshake_errors(&kube).await;
    println!("{probes} probes, handshake errors: {before} before, {after} after");
    assert!((after - before).abs() < 0.5, "{before} became {after}");

    // It does count: a bare connect is what probes must not be.
    drop(TcpStream::connect(api_server.address()).await.unwrap());
    wait::until("a bare connect to be counted", PATIENCE, async || {
        let now = handshake_errors(&kube).await;
        if now > after + 0.5 { Ok(()) } else { Err(now) }
    })
    .await;
}

async fn handshake_errors(kube: &Kube) -> f64 {
    let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
    let text = kube.request_text(request).await.unwrap();
    text.lines()
        .find_map(|line| line.strip_prefix("apiserver_tls_handshake_errors_total "))
        .map_or(0.0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn when_every_probe_fails_every_client_is_served_all_the_same() {
    let place = Place::loopback();
    let upstreams = [2, 3].map(|node| place.socket_address(node, 6443));
    for upstream in upstreams {
        echo(upstream).await;
    }
    // They speak no TLS.
    let rivers = Rivers::start(&place, &upstreams, &["--health-mode=readyz"]).await;
    for upstream in upstreams {
        rivers.believes(upstream, "down").await;
    }
    rivers.peer.says("speaks no TLS").await;
    for _ in 0..50 {
        exchange(&mut rivers.client().await).await.unwrap();
    }
}

#[tokio::test]
async fn etcd_which_wants_client_certificates_is_judged_by_connects() {
    let place = Place::loopback();
    let pki = Pki::new(&place.folder().join("pki"));
    let Some(etcd) = Etcd::start(&place, &pki).await else {
        return;
    };
    let ca_file = format!("--ca-file={}", pki.ca_file().display());
    let address = etcd.address();
    let rivers = Rivers::start(&place, &[address], &[&ca_file]).await;
    rivers.believes(address, "up").await;
    // Who it is has been proved before it refused us.
    rivers.peer.says("certificate is verified").await;
    rivers
        .peer
        .says("reason=\"wants a client certificate\"")
        .await;
    rivers.client().await;
}

#[tokio::test]
async fn connections_of_a_black_holed_upstream_are_closed_within_eight_seconds() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let [hole, other] = [2, 3].map(|node| place.socket_address(node, 6443));
    for upstream in [hole, other] {
        echo(upstream).await;
    }
    let rivers = Rivers::start(&place, &[hole, other], &[]).await;
    for upstream in [hole, other] {
        rivers.believes(upstream, "up").await;
    }
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = rivers.client().await;
        exchange(&mut client).await.unwrap();
        clients.push(client);
    }
    let labels = [("upstream", &*hole.to_string())];
    let theirs = rivers
        .admin
        .metric("rivers_connections_active", &labels)
        .await;
    assert!(theirs > 0.5, "no client is there");

    swallow(hole);
    let begin = Instant::now();
    // Half of them speak, the others are idle.
    for client in clients.iter_mut().step_by(2) {
        client.write_all(b"word").await.unwrap();
    }
    are_closed_as_dead(&rivers, theirs).await;
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    rivers.peer.says("no answer to a connect").await;
    exchange(&mut rivers.client().await).await.unwrap();
}

/// Waits until so many connections have been closed because their upstream was dead.
async fn are_closed_as_dead(rivers: &Rivers, count: f64) {
    wait::until("its connections to be closed", PATIENCE, async || {
        let closed = closed_as_dead(rivers).await;
        if closed > count - 0.5 {
            Ok(())
        } else {
            Err(closed)
        }
    })
    .await;
}

const CLIENTS: usize = 12;
/// With `TEST_SCALE=30` five minutes.
const PROBING: Duration = Duration::from_secs(10);
