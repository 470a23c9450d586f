//! Requests of real Kubernetes clients to three real API servers, which are killed one after the other.
//!
//! Each request has a connection of its own, as those of a new client have.

use kube::{Client, Config};
use tests::kubernetes::Cluster;
use tests::place::Place;
use tokio::task::LocalSet;

use crate::load::{Load, kill};
use crate::scene::Rivers;

#[tokio::test]
async fn requests_go_on_while_api_servers_are_killed_and_come_back() {
    LocalSet::new().run_until(killed_and_restarted()).await;
}

async fn killed_and_restarted() {
    let place = Place::loopback();
    let Some(mut cluster) = Cluster::builder(&place).api_servers(3).start().await else {
        return;
    };
    let upstreams: Vec<_> = cluster
        .api_servers
        .iter()
        .map(|server| server.address())
        .collect();
    let rivers = Rivers::start(&place, &upstreams, &[]).await;
    for &upstream in &upstreams {
        rivers.believes(upstream, "up").await;
    }
    let mut load = Load::default();
    for _ in 0..CLIENTS {
        let config = config(&cluster, &rivers);
        load.client(move || version(config.clone()));
    }
    load.operations(50).await;

    let first = kill(&mut cluster.api_servers[0].peer);
    load.operations(100).await;
    rivers.believes(upstreams[0], "down").await;

    let second = kill(&mut cluster.api_servers[1].peer);
    load.operations(100).await;
    cluster.api_servers[1].restart().await;
    rivers.believes(upstreams[1], "up").await;
    load.operations(100).await;

    load.assert_no_failure_outside_of(&[first, second]);
}

async fn version(config: Config) -> Result<(), String> {
    let client = Client::try_from(config).unwrap();
    let version = client.apiserver_version().await;
    version.map(drop).map_err(|error| format!("{error:?}"))
}

/// The admin's, through rivers. Nothing is tried twice: what fails is to be seen.
fn config(cluster: &Cluster, rivers: &Rivers) -> Config {
    let mut config = Config::new(format!("https://{}", rivers.listen).parse().unwrap());
    config.root_cert = Some(Vec::new());
    config.root_cert_file = Some(cluster.pki.ca_file());
    config.auth_info.client_certificate = Some(cluster.admin.certificate.display().to_string());
    config.auth_info.client_key = Some(cluster.admin.key.display().to_string());
    config.default_retry = false;
    config
}

const CLIENTS: usize = 4;
