//! A test that cannot run here says so.

use std::env;
use std::fs;
use std::process::Command;

use tests::place::Place;

#[test]
fn a_test_without_its_peers_passes_and_is_reported_as_skipped() {
    let place = Place::loopback();
    let report = place.folder().join("skipped");
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "cluster::a_stopped_api_server_ends_in_order"])
        .env_remove("KUBEBUILDER_ASSETS")
        .env("PEERS_CACHE", place.folder().join("empty"))
        .env("TESTS_SKIPPED", &report)
        .output()
        .unwrap();

    let expected = "kube-apiserver: not found; run tests/peers/build\n";
    assert!(output.status.success());
    assert_eq!(fs::read_to_string(report).unwrap(), expected);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr, format!("skipped: {expected}"));
}
