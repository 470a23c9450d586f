//! `control demo`, as a person who has just built the project starts it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tests::binaries;
use tests::launch::Launch;
use tests::peer::Peer;
use tests::place::Place;
use tests::program;
use tests::wait;
use tokio::net::TcpStream;

#[tokio::test]
async fn nothing_fails_and_nothing_is_left() {
    let place = Place::loopback();
    let output = demo(&place, &["-o", "json"]).run().await;
    assert_eq!(output.code(), 0, "{output}");
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 9, "{output}");
    for row in rows {
        assert_ne!(row["result"], "failed", "{output}");
    }
    // The README promises 30 s; with a machine to itself the demo takes three.
    assert!(report["seconds"].as_f64().unwrap() < 30.0, "{output}");
    assert_empty(&temporary(&place));
}

#[tokio::test]
async fn what_a_healthy_machine_can_show_passes() {
    let place = Place::loopback();
    let output = demo(&place, &[]).run().await;
    for check in [
        "rivers reaches all three API servers",
        "it comes back",
        "a cluster name resolves",
        "… from the cache, its name server SIGKILLed",
        "… and anew, the name server back",
        "a signed name is validated",
        "a forged name is refused",
        "SIGTERM ends both with exit code 0",
    ] {
        let row = output.stdout.lines().find(|line| line.starts_with(check));
        let rest = row.and_then(|row| row.strip_prefix(check));
        assert!(
            rest.is_some_and(|rest| rest.trim_start().starts_with("passed")),
            "{check}: {output}"
        );
    }
}

#[tokio::test]
async fn real_parts_take_the_place_of_stand_ins() {
    let Some(kube_apiserver) = binaries::built("kube-apiserver") else {
        return;
    };
    let place = Place::loopback();
    let assets = kube_apiserver.parent().unwrap().to_str().unwrap();
    let output = demo(&place, &["--assets", assets, "-o", "json"])
        .run()
        .await;
    assert_eq!(output.code(), 0, "{output}");
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(report["assets"], assets);
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 9, "{output}");
    for row in rows {
        assert_eq!(row["result"], "passed", "{output}");
    }
    assert_empty(&temporary(&place));
}

#[tokio::test]
async fn real_parts_that_are_asked_for_have_to_be_there() {
    let place = Place::loopback();
    let nothing = temporary(&place).join("nothing");
    let output = demo(&place, &["--assets", nothing.to_str().unwrap()])
        .run()
        .await;
    assert_eq!(output.code(), 2, "{output}");
    let missing = "has no etcd, kube-apiserver, coredns";
    assert!(output.stderr.contains(missing), "{output}");
    // Nobody has asked for those of the tests.
    let output = demo(&place, &[])
        .env("KUBEBUILDER_ASSETS", &nothing)
        .run()
        .await;
    assert_eq!(output.code(), 0, "{output}");
    assert!(output.stderr.contains(missing), "{output}");
}

#[tokio::test]
async fn ctrl_c_ends_a_demo_that_stays_with_success() {
    let place = Place::loopback();
    let (mut demo, rivers) = staying(&place).await;
    demo.signal(Signal::INT);
    let status = demo.exited(Duration::from_secs(10)).await;
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    assert_refused(rivers).await;
    assert_empty(&temporary(&place));
}

#[tokio::test]
async fn ctrl_c_in_the_middle_leaves_nothing() {
    let place = Place::loopback();
    let mut demo = demo(&place, &[]).start();
    wait_for_log(&demo, "killing one of them under load").await;
    demo.signal(Signal::INT);
    let status = demo.exited(Duration::from_secs(10)).await;
    assert_eq!(status.and_then(|status| status.code()), Some(1));
    assert!(
        demo.log().contains("control: interrupted"),
        "{}",
        demo.log()
    );
    assert_empty(&temporary(&place));
}

#[tokio::test]
async fn a_killed_demo_leaves_no_process() {
    let place = Place::loopback();
    let (mut demo, rivers) = staying(&place).await;
    demo.kill();
    assert_refused(rivers).await;
}

fn demo(place: &Place, arguments: &[&str]) -> Launch {
    let temporary = temporary(place);
    fs::create_dir_all(&temporary).unwrap();
    program::control(place)
        .arg("demo")
        .args(arguments)
        .env("TMPDIR", temporary)
        .env("KUBEBUILDER_ASSETS", "")
}

/// Where the demo makes its folder.
fn temporary(place: &Place) -> PathBuf {
    place.folder().join("tmp")
}

/// A demo that has done its checks and runs on, and where its rivers listens.
async fn staying(place: &Place) -> (Peer, SocketAddr) {
    let demo = demo(place, &["--stay"]).start();
    wait_for_log(&demo, "nodedns' metrics").await;
    let log = demo.log();
    let rivers = log
        .split_once(" https://")
        .and_then(|(_, rest)| rest.split_once("/version"))
        .unwrap_or_else(|| panic!("{log}"));
    let rivers = rivers.0.parse().unwrap();
    TcpStream::connect(rivers).await.unwrap();
    (demo, rivers)
}

async fn wait_for_log(demo: &Peer, text: &str) {
    wait::until(text, Duration::from_secs(30), async || {
        let log = demo.log();
        if log.contains(text) { Ok(()) } else { Err(log) }
    })
    .await;
}

/// Waits until nobody listens at `address` any more.
async fn assert_refused(address: SocketAddr) {
    wait::until(
        "the end of rivers",
        Duration::from_secs(5),
        async || match TcpStream::connect(address).await {
            Ok(_) => Err("still there"),
            Err(_) => Ok(()),
        },
    )
    .await;
}

#[track_caller]
fn assert_empty(folder: &Path) {
    let left: Vec<_> = fs::read_dir(folder).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
