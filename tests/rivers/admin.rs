//! What can be seen from outside.

use tests::place::Place;
use tests::{program, wait};

use crate::scene::{PATIENCE, Rivers, admin, echo, exchange, listen};

#[tokio::test]
async fn it_is_alive_at_once_and_ready_with_its_first_upstream() {
    let place = Place::loopback();
    let server = place.socket_address(2, 6443);
    let rivers = Rivers::start(&place, &[server], &["--check-interval=100ms"]).await;
    assert_eq!(rivers.admin.get("/healthz").await.unwrap().0, 200);
    let (status, waiting) = rivers.admin.get("/readyz").await.unwrap();
    assert_eq!(status, 503, "{waiting}");
    assert!(
        waiting.contains(&format!("an upstream of {}", rivers.listen)),
        "{waiting}"
    );
    echo(server).await;
    rivers.ready().await;
}

#[tokio::test]
async fn connections_attempts_and_bytes_are_counted() {
    let place = Place::loopback();
    let [nobody, server] = [2, 3].map(|node| place.socket_address(node, 6443));
    echo(server).await;
    let rivers = Rivers::start(&place, &[nobody, server], &["--check-interval=5m"]).await;
    // The one by which the test saw that it listens.
    rivers.peer.says("connection ended").await;
    let upstream = server.to_string();
    let of_server = [("upstream", upstream.as_str())];
    let before = rivers
        .admin
        .metric("rivers_connections_total", &of_server)
        .await;
    for _ in 0..8 {
        exchange(&mut rivers.client().await).await.unwrap();
    }
    let connections = rivers
        .admin
        .metric("rivers_connections_total", &of_server)
        .await
        - before;
    assert!((connections - 8.0).abs() < 0.5, "{connections}");

    for direction in ["to_upstream", "to_client"] {
        wait::until(direction, PATIENCE, async || {
            let labels = [("direction", direction)];
            let bytes = rivers.admin.metric("rivers_bytes_total", &labels).await;
            if (bytes - 32.0).abs() < 0.5 {
                Ok(())
            } else {
                Err(bytes)
            }
        })
        .await;
    }
    wait::until("all connections to have ended", PATIENCE, async || {
        let active = rivers.admin.metric("rivers_connections_active", &[]).await;
        if active < 0.5 { Ok(()) } else { Err(active) }
    })
    .await;
    let connected = [("outcome", "connected")];
    let connected = rivers
        .admin
        .metric("rivers_dial_attempts_total", &connected)
        .await;
    assert!(connected >= 8.0, "{connected}");
    assert!(
        rivers
            .admin
            .metric("rivers_probe_failures_total", &[])
            .await
            >= 1.0
    );
    assert!(
        rivers
            .admin
            .metric("rivers_dial_duration_seconds_count", &[])
            .await
            >= 8.0
    );
}

#[tokio::test]
async fn a_second_rivers_by_flags_goes_on_without_the_admin_port() {
    let place = Place::loopback();
    let server = place.socket_address(2, 6443);
    echo(server).await;
    let first = Rivers::start(&place, &[server], &[]).await;
    let second = place.socket_address(1, 12379);
    let peer = program::rivers(&place)
        .arg(format!("--listen={second}"))
        .arg(format!("--upstreams={server}"))
        .arg(format!("--admin={}", admin(&place)))
        .arg(program::run_dir(&place))
        .start();
    let second = Rivers::accepting(peer, second, admin(&place)).await;
    exchange(&mut second.client().await).await.unwrap();
    second.peer.says("going on without").await;
    assert_eq!(first.listen, listen(&place));
}
