//! With a CA given, not one byte of a client goes to a server whose certificate has not been verified.

use std::fs;
use std::net::SocketAddr;

use tests::kubernetes::Cluster;
use tests::pki::Pki;
use tests::place::Place;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::discovery::{Slices, watching};
use crate::scene::{PATIENCE, Rivers, exchange};
use crate::tls::Server;

#[tokio::test]
async fn a_certificate_of_another_ca_or_an_expired_one_gets_no_client_byte() {
    let place = Place::loopback();
    let [another, expired, good] = [2, 3, 4].map(|node| place.socket_address(node, 6443));
    let pki = Pki::new(&place.folder().join("pki"));
    let other_pki = Pki::new(&place.folder().join("other"));
    let of_another =
        Server::start(another, &other_pki.server("another", &[], &[another.ip()])).await;
    let of_expired = Server::start(expired, &pki.expired_server("expired", &[expired.ip()])).await;
    let of_good = Server::start(good, &pki.server("good", &[], &[good.ip()])).await;

    let ca_file = format!("--ca-file={}", pki.ca_file().display());
    let upstreams = [another, expired, good];
    let rivers = Rivers::start(&place, &upstreams, &[&ca_file, "--dial-timeout=2s"]).await;
    // The first ones come before anything has been probed.
    for _ in 0..30 {
        exchange(&mut rivers.client().await).await.unwrap();
    }
    assert!(of_good.clients() >= 30);
    rivers
        .peer
        .says("certificate signed by unknown authority")
        .await;
    rivers.peer.says("certificate has expired").await;

    // Not even when nobody else is there.
    of_good.stop();
    rivers.believes(good, "down").await;
    let failure = async {
        // The reset may be there before the connect is over.
        if let Ok(mut client) = TcpStream::connect(rivers.listen).await {
            exchange(&mut client).await.unwrap_err();
        }
    };
    timeout(PATIENCE, failure).await.unwrap();
    assert_eq!((of_another.clients(), of_expired.clients()), (0, 0));
}

#[tokio::test]
async fn a_certificate_for_another_address_is_no_good() {
    let place = Place::loopback();
    let [server, other] = [2, 3].map(|node| place.socket_address(node, 6443));
    let pki = Pki::new(&place.folder().join("pki"));
    let certificate = pki.server("server", &["kubernetes"], &[other.ip()]);
    let recorder = Server::start(server, &certificate).await;
    let ca_file = format!("--ca-file={}", pki.ca_file().display());
    let rivers = Rivers::start(&place, &[server], &[&ca_file, "--dial-timeout=1s"]).await;
    rivers
        .peer
        .says(&format!("certificate is not for {}", server.ip()))
        .await;
    let read = timeout(PATIENCE, rivers.client().await.read(&mut [0])).await;
    assert!(read.unwrap().is_err());
    assert_eq!(recorder.clients(), 0);
}

#[tokio::test]
async fn a_ca_bundle_that_changes_on_disk_is_in_force_without_a_restart() {
    let place = Place::loopback();
    let server = place.socket_address(2, 6443);
    let [old, new] = ["old", "new"].map(|name| Pki::new(&place.folder().join(name)));
    let recorder = Server::start(server, &new.server("server", &[], &[server.ip()])).await;
    let bundle = place.folder().join("ca.crt");
    fs::copy(old.ca_file(), &bundle).unwrap();
    let ca_file = format!("--ca-file={}", bundle.display());
    let rivers = Rivers::start(&place, &[server], &[&ca_file]).await;
    rivers
        .peer
        .says("certificate signed by unknown authority")
        .await;

    // A client that waits is served once the bundle holds both, as in a rotation.
    let mut client = rivers.client().await;
    let both = [old.ca_file(), new.ca_file()].map(|file| fs::read_to_string(file).unwrap());
    replace(&bundle, &both.concat());
    exchange(&mut client).await.unwrap();

    replace(&bundle, "no certificate at all");
    rivers.peer.says("CA bundle cannot be used").await;
    exchange(&mut rivers.client().await).await.unwrap();

    // The CA of the server is taken out again.
    let clients = recorder.clients();
    replace(&bundle, &both[0]);
    rivers.peer.says("certificate is not good any more").await;
    let mut client = rivers.client().await;
    replace(&bundle, &both[1]);
    exchange(&mut client).await.unwrap();
    assert_eq!(recorder.clients(), clients + 1);
}

#[tokio::test]
async fn bad_certificates_get_no_client_byte_when_a_slice_or_the_cache_names_them() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let Some(mut cluster) = Cluster::builder(&place).start().await else {
        return;
    };
    let seed = cluster.api_servers[0].address();
    let bad = [3, 4].map(|node| place.socket_address(node, 6443));
    let other_pki = Pki::new(&place.folder().join("other"));
    let of_another = other_pki.server("another", &[], &[bad[0].ip()]);
    let expired = cluster.pki.expired_server("expired", &[bad[1].ip()]);
    let servers = [
        Server::start(bad[0], &of_another).await,
        Server::start(bad[1], &expired).await,
    ];
    let clients = || servers.each_ref().map(Server::clients);
    // They do notice clients.
    for address in bad {
        let mut client = TcpStream::connect(address).await.unwrap();
        exchange(&mut client).await.unwrap();
    }
    assert_eq!(clients(), [1, 1]);

    Slices::of(&cluster).name(&[seed, bad[0], bad[1]]).await;
    let kubeconfig = cluster.kubeconfig("https://192.0.2.1:6443");
    let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
    let ca_file = format!("--ca-file={}", cluster.pki.ca_file().display());
    let flags = [kubeconfig.as_str(), ca_file.as_str(), "--dial-timeout=1s"];
    let mut rivers = Rivers::start(&place, &[seed], &flags).await;
    watching(&rivers).await;
    are_known_as_bad(&rivers, bad).await;
    for _ in 0..30 {
        speak(&rivers).await;
    }
    // Not even when nobody else is there.
    cluster.api_servers[0].peer.kill();
    rivers.believes(seed, "down").await;
    speak(&rivers).await;
    assert!(rivers.peer.stop().await.success());

    // The next run knows them from the cache alone, and has a client before it has probed anybody.
    let rivers = Rivers::start(&place, &[seed], &flags).await;
    speak(&rivers).await;
    are_known_as_bad(&rivers, bad).await;
    speak(&rivers).await;
    assert_eq!(clients(), [1, 1]);
}

/// Waits until rivers has said what is wrong with the one of another CA and with the expired one.
async fn are_known_as_bad(rivers: &Rivers, [another, expired]: [SocketAddr; 2]) {
    assert!(rivers.knows(another).await && rivers.knows(expired).await);
    let unknown = "certificate signed by unknown authority";
    rivers.peer.says(unknown).await;
    rivers.peer.says("certificate has expired").await;
}

/// A client that says a word and waits for its end.
async fn speak(rivers: &Rivers) {
    // The reset may be there before the connect is over.
    if let Ok(mut client) = TcpStream::connect(rivers.listen).await {
        // Two lines that end a request, so that an API server answers and closes.
        let _ = client.write_all(b"word\r\n\r\n").await;
        let mut answer = Vec::new();
        let ended = timeout(PATIENCE, client.read_to_end(&mut answer)).await;
        let _ = ended.expect("an end in time");
    }
}

/// As Kubernetes and careful people replace a file: whole, or not at all.
fn replace(path: &std::path::Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}
