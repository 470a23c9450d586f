//! Command lines and files: exit codes, and the one sentence that says what is wrong.

use std::fs;

use tests::launch::Output;
use tests::place::Place;
use tests::program;

use crate::scene::{admin, echo, listen};

async fn rivers(place: &Place, arguments: &[&str]) -> Output {
    program::rivers(place).args(arguments).run().await
}

async fn fails(place: &Place, arguments: &[&str], code: i32, sentence: &str) {
    let output = rivers(place, arguments).await;
    assert_eq!(output.code(), code, "{output}");
    assert_eq!(output.stderr.lines().last(), Some(sentence), "{output}");
}

#[tokio::test]
async fn what_is_missing_is_said_with_an_example() {
    let place = Place::loopback();
    let example =
        "for example: rivers --listen 127.0.0.1:16443 --upstreams 10.0.0.1:6443,10.0.0.2:6443";
    for (arguments, missing) in [
        (["--listen", ":16443"], "--upstreams is missing"),
        (["--upstreams", "10.0.0.1:6443"], "--listen is missing"),
    ] {
        fails(
            &place,
            &arguments,
            2,
            &format!("rivers: {missing}; {example}"),
        )
        .await;
    }
}

#[tokio::test]
async fn mistakes_in_flags_are_usage() {
    let place = Place::loopback();
    let flags = ["--listen=:1", "--upstreams=10.0.0.1:6443"];
    for (flag, sentence) in [
        (
            "--dial-timeout=0s",
            "rivers: --dial-timeout: must be between 50ms and 5m",
        ),
        (
            "--check-interval=1h",
            "rivers: --check-interval: must be between 100ms and 5m",
        ),
        (
            "-dial-keep-alive=1ms",
            "rivers: --dial-keep-alive: must be between 1s and 1h",
        ),
    ] {
        fails(&place, &[&flags[..], &[flag]].concat(), 2, sentence).await;
    }
    let output = rivers(&place, &["--lisen", ":1"]).await;
    assert_eq!(output.code(), 2, "{output}");
    assert!(
        output
            .stderr
            .contains("a similar argument exists: '--listen'"),
        "{output}"
    );
    let output = rivers(&place, &["chekc"]).await;
    assert_eq!(output.code(), 2, "{output}");
    assert!(
        output
            .stderr
            .contains("a similar subcommand exists: 'check'"),
        "{output}"
    );
}

#[tokio::test]
async fn a_mistake_in_a_file_is_usage_and_has_its_line() {
    let place = Place::loopback();
    let text =
        "listeners:\n- listen: ':16443'\n  upstreams: ['10.0.0.1:6443']\n  dial_timeout: 1h\n";
    fs::write(place.folder().join("rivers.yml"), text).unwrap();
    fails(
        &place,
        &["--config", "rivers.yml"],
        2,
        "rivers: rivers.yml:4:17: listeners[0].dial_timeout: must be between 50ms and 5m",
    )
    .await;
    fails(
        &place,
        &["--config", "none.yml"],
        2,
        "rivers: none.yml: no such file; --config names the one to read",
    )
    .await;
}

#[tokio::test]
async fn a_port_in_use_is_a_failure_that_names_the_way_out() {
    let place = Place::loopback();
    let taken = listen(&place);
    echo(taken).await;
    let arguments = [&format!("--listen={taken}"), "--upstreams=10.0.0.1:6443"];
    let sentence = format!(
        "rivers: cannot listen on {taken}: address in use (another process holds it: `ss -ltnp sport = :16443` names it)"
    );
    fails(&place, &arguments, 1, &sentence).await;
}

#[tokio::test]
async fn with_a_file_a_taken_admin_port_is_a_failure() {
    let place = Place::loopback();
    let (listen, admin) = (listen(&place), admin(&place));
    echo(admin).await;
    let text = format!(
        "listeners: [{{listen: '{listen}', upstreams: ['10.0.0.1:6443']}}]\nadmin: '{admin}'\n"
    );
    fs::write(place.folder().join("rivers.yml"), text).unwrap();
    let output = rivers(&place, &["--config", "rivers.yml"]).await;
    assert_eq!(output.code(), 1, "{output}");
    let sentence = format!("rivers: cannot listen on {admin} for the admin endpoint: ");
    assert!(
        output.stderr.lines().last().unwrap().starts_with(&sentence),
        "{output}"
    );
}

#[tokio::test]
async fn check_has_a_line_for_each_upstream_and_1_when_one_is_out_of_reach() {
    let place = Place::loopback();
    let [server, nobody] = [2, 3].map(|node| place.socket_address(node, 6443));
    echo(server).await;
    let listen = listen(&place);
    let flag = format!("--listen={listen}");
    let output = rivers(
        &place,
        &["check", &flag, &format!("--upstreams={server},{nobody}")],
    )
    .await;
    assert_eq!(output.code(), 1, "{output}");
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{output}");
    assert!(
        lines[0].starts_with(&format!("{listen} {server} connected in ")),
        "{output}"
    );
    assert_eq!(
        lines[1],
        format!("{listen} {nobody} FAILED: connection refused")
    );
    let output = rivers(&place, &["check", &flag, &format!("--upstreams={server}")]).await;
    assert_eq!(output.success().lines().count(), 1);
}

#[tokio::test]
async fn version_help_and_completions_are_no_failures() {
    let place = Place::loopback();
    let version = rivers(&place, &["--version"]).await.success();
    assert!(version.starts_with("rivers "), "{version}");
    assert!(
        rivers(&place, &["--help"])
            .await
            .success()
            .contains("Examples:")
    );
    assert!(
        rivers(&place, &["completions", "bash"])
            .await
            .success()
            .contains("--upstreams")
    );
}
