//! The configuration file, changed while rivers runs: what it says comes into force within a second, whole
//! or not at all, and no connection closes for it.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tests::peer::Signal;
use tests::place::Place;
use tests::{program, wait};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::scene::{PATIENCE, Rivers, admin, echo, exchange, listen, named_echo, whom};

/// A rivers with this file, which has one listener `main`.
struct Scene {
    place: Place,
    rivers: Rivers,
    file: PathBuf,
    /// Each tells its name to who connects.
    servers: [SocketAddr; 2],
}

impl Scene {
    async fn new() -> Self {
        let place = Place::loopback();
        let servers = [2, 3].map(|node| place.socket_address(node, 6443));
        named_echo(servers[0], "a").await;
        named_echo(servers[1], "b").await;
        let file = place.folder().join("rivers.yml");
        fs::write(&file, text(&place, &main(&place, servers[0]))).unwrap();
        let rivers = start(&place, &file).await;
        Self {
            place,
            rivers,
            file,
            servers,
        }
    }

    /// Puts these listeners into the file, as an editor does, and waits until they are in force.
    async fn change_to(&self, listeners: &str) {
        let before = self.in_force();
        let begin = Instant::now();
        self.write(&text(&self.place, listeners));
        self.rivers
            .said_again("the configuration is in force", before)
            .await;
        assert!(begin.elapsed() < WITHIN, "{:?}", begin.elapsed());
    }

    fn in_force(&self) -> usize {
        self.rivers.times("the configuration is in force")
    }

    fn write(&self, text: &str) {
        let new = self.file.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &self.file).unwrap();
    }
}

async fn start(place: &Place, file: &std::path::Path) -> Rivers {
    let peer = program::rivers(place)
        .arg("--config")
        .arg(file)
        .arg(format!(
            "--state-dir={}",
            place.folder().join("state").display()
        ))
        .start();
    Rivers::accepting(peer, listen(place), admin(place)).await
}

fn text(place: &Place, listeners: &str) -> String {
    format!("admin: '{}'\nlisteners:\n{listeners}", admin(place))
}

fn main(place: &Place, upstream: SocketAddr) -> String {
    listener("main", listen(place), upstream)
}

fn listener(name: &str, listen: SocketAddr, upstream: SocketAddr) -> String {
    format!("- {{name: {name}, listen: '{listen}', upstreams: ['{upstream}']}}\n")
}

#[tokio::test]
async fn another_upstream_gets_the_clients_from_now_on_and_connections_stay() {
    let scene = Scene::new().await;
    let mut old = scene.rivers.client().await;
    assert_eq!(whom(&mut old).await, "a");

    scene.change_to(&main(&scene.place, scene.servers[1])).await;
    for _ in 0..10 {
        assert_eq!(whom(&mut scene.rivers.client().await).await, "b");
    }
    exchange(&mut old).await.unwrap();
    assert_eq!(
        scene
            .rivers
            .admin
            .metric("rivers_close_total", &[("reason", "shutdown")])
            .await,
        0.0
    );
}

#[tokio::test]
async fn listeners_come_move_and_go_and_their_connections_stay() {
    let scene = Scene::new().await;
    let [second, third] = [12379, 12380].map(|port| scene.place.socket_address(1, port));
    let [a, b] = scene.servers;
    let both = main(&scene.place, a) + &listener("second", second, b);
    scene.change_to(&both).await;
    let mut old = TcpStream::connect(second).await.unwrap();
    assert_eq!(whom(&mut old).await, "b");

    let moved = main(&scene.place, a) + &listener("second", third, b);
    scene.change_to(&moved).await;
    assert_eq!(
        whom(&mut TcpStream::connect(third).await.unwrap()).await,
        "b"
    );
    refuses(second).await;
    exchange(&mut old).await.unwrap();

    scene.change_to(&main(&scene.place, a)).await;
    refuses(third).await;
    exchange(&mut old).await.unwrap();
    assert_eq!(whom(&mut scene.rivers.client().await).await, "a");
}

async fn refuses(address: SocketAddr) {
    wait::until(
        "the listener to close",
        PATIENCE,
        async || match TcpStream::connect(address).await {
            Ok(_) => Err("a client was accepted"),
            Err(_) => Ok(()),
        },
    )
    .await;
}

#[tokio::test]
async fn two_listeners_that_swap_their_addresses_take_each_others_clients() {
    let scene = Scene::new().await;
    let other = scene.place.socket_address(1, 12379);
    let [a, b] = scene.servers;
    scene
        .change_to(&(main(&scene.place, a) + &listener("second", other, b)))
        .await;
    let swapped = listener("main", other, a) + &listener("second", scene.rivers.listen, b);
    scene.change_to(&swapped).await;
    assert_eq!(whom(&mut scene.rivers.client().await).await, "b");
    assert_eq!(
        whom(&mut TcpStream::connect(other).await.unwrap()).await,
        "a"
    );
}

#[tokio::test]
async fn a_bad_file_is_refused_with_its_line_and_the_old_one_stays_in_force() {
    let scene = Scene::new().await;
    let failures = async || {
        let admin = scene.rivers.admin;
        let failures = admin
            .metric("rivers_config_reload_failures_total", &[])
            .await;
        let good = admin
            .metric("rivers_config_last_reload_successful", &[])
            .await;
        (failures, good)
    };
    assert_eq!(failures().await, (0.0, 1.0));

    scene.write("listeners:\n- {listen: ':16443', upstreams: ['10.0.0.1']}\n");
    let sentence = "the configuration is refused; the one before stays in force";
    scene.rivers.peer.says(sentence).await;
    let line = scene.rivers.peer.log();
    let line = line.lines().find(|line| line.contains(sentence)).unwrap();
    assert!(line.contains("rivers.yml:2:34: "), "{line}");
    assert!(line.contains("`10.0.0.1` has no port"), "{line}");
    assert_eq!(failures().await, (1.0, 0.0));
    scene.rivers.ready().await;
    let (status, ready) = scene.rivers.admin.get("/readyz").await.unwrap();
    assert_eq!(status, 200);
    assert!(
        ready.contains("configuration: refused, the one before is in force: ")
            && ready.contains("rivers.yml:2:34"),
        "{ready}"
    );
    assert_eq!(whom(&mut scene.rivers.client().await).await, "a");

    scene.change_to(&main(&scene.place, scene.servers[1])).await;
    assert_eq!(failures().await, (1.0, 1.0));
    assert_eq!(scene.rivers.times(sentence), 1, "once, not at each poll");
    let (_, ready) = scene.rivers.admin.get("/readyz").await.unwrap();
    assert!(!ready.contains("configuration"), "{ready}");
}

#[tokio::test]
async fn an_address_that_cannot_be_listened_on_refuses_all_of_the_file() {
    let scene = Scene::new().await;
    let taken = scene.place.socket_address(1, 12379);
    echo(taken).await;
    let [_, b] = scene.servers;
    scene.write(&text(
        &scene.place,
        &(main(&scene.place, b) + &listener("second", taken, b)),
    ));
    scene.rivers.peer.says("the configuration is refused").await;
    scene
        .rivers
        .peer
        .says(&format!("cannot listen on {taken}: address in use"))
        .await;
    assert_eq!(whom(&mut scene.rivers.client().await).await, "a");
}

#[tokio::test]
async fn sighup_reads_the_file_at_once() {
    let scene = Scene::new().await;
    scene.write(&text(&scene.place, &main(&scene.place, scene.servers[1])));
    scene.rivers.peer.signal(Signal::HUP);
    scene.rivers.peer.says("cause=SIGHUP").await;
    assert_eq!(whom(&mut scene.rivers.client().await).await, "b");
    assert_eq!(scene.in_force(), 1, "and not once more for the same change");
}

#[tokio::test]
async fn sighup_does_not_end_a_rivers_that_was_started_by_flags() {
    let place = Place::loopback();
    let server = place.socket_address(2, 6443);
    echo(server).await;
    let rivers = Rivers::start(&place, &[server], &[]).await;
    rivers.peer.signal(Signal::HUP);
    rivers
        .peer
        .says("the configuration was given by flags")
        .await;
    exchange(&mut rivers.client().await).await.unwrap();
}

#[tokio::test]
async fn a_config_map_that_kubelet_replaces_is_seen() {
    let place = Place::loopback();
    let servers = [2, 3].map(|node| place.socket_address(node, 6443));
    named_echo(servers[0], "a").await;
    named_echo(servers[1], "b").await;
    let volume = place.folder().join("volume");
    for (version, server) in ["..v1", "..v2"].iter().zip(servers) {
        let folder = volume.join(version);
        fs::create_dir_all(&folder).unwrap();
        fs::write(
            folder.join("rivers.yml"),
            text(&place, &main(&place, server)),
        )
        .unwrap();
    }
    symlink("..v1", volume.join("..data")).unwrap();
    symlink("..data/rivers.yml", volume.join("rivers.yml")).unwrap();
    let rivers = start(&place, &volume.join("rivers.yml")).await;
    assert_eq!(whom(&mut rivers.client().await).await, "a");

    let begin = Instant::now();
    symlink("..v2", volume.join("..data_tmp")).unwrap();
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    fs::remove_dir_all(volume.join("..v1")).unwrap();
    rivers.peer.says("the configuration is in force").await;
    assert!(begin.elapsed() < WITHIN, "{:?}", begin.elapsed());
    assert_eq!(whom(&mut rivers.client().await).await, "b");
}

#[tokio::test]
async fn the_number_of_connections_that_there_may_be_changes_and_those_that_are_there_stay() {
    let scene = Scene::new().await;
    let [a, _] = scene.servers;
    let limited = |count: u32| main(&scene.place, a) + &format!("max_connections: {count}\n");
    let mut first = scene.rivers.client().await;
    let mut second = scene.rivers.client().await;
    for client in [&mut first, &mut second] {
        assert_eq!(whom(client).await, "a");
    }

    scene.change_to(&limited(1)).await;
    let mut third = scene.rivers.client().await;
    let waits = timeout(Duration::from_millis(500), whom(&mut third)).await;
    assert!(waits.is_err(), "{waits:?}");
    drop(first);
    let waits = timeout(Duration::from_millis(500), third.readable()).await;
    assert!(waits.is_err(), "there is one still");
    exchange(&mut second).await.unwrap();

    scene.change_to(&limited(2)).await;
    let name = timeout(PATIENCE, whom(&mut third)).await.unwrap();
    assert_eq!(name, "a");
}

#[tokio::test]
async fn the_log_level_changes_and_what_cannot_change_is_named() {
    let scene = Scene::new().await;
    assert_eq!(whom(&mut scene.rivers.client().await).await, "a");
    assert_eq!(scene.rivers.times("connection ended"), 0);
    let listeners = main(&scene.place, scene.servers[0]);
    let more = "log: {level: debug, format: json}\nworkers: 3\n";
    scene.change_to(&(listeners + more)).await;
    assert_eq!(whom(&mut scene.rivers.client().await).await, "a");
    scene.rivers.peer.says("connection ended").await;
    scene
        .rivers
        .peer
        .says("these take effect only when rivers is restarted fields=\"workers, log.format\"")
        .await;
}

/// From the change to its effect.
const WITHIN: Duration = Duration::from_secs(1);
