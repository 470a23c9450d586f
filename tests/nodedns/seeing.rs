//! What people and their programs see of nodedns: metrics, probes, the status, the query log; and what it
//! makes of an unbound.conf.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tests::binaries;
use tests::coredns::CoreDns;
use tests::dns::{Question, RecordType};
use tests::launch::Launch;
use tests::place::Place;
use tests::{program, wait};
use tokio::net::UdpSocket;
use tokio::task::yield_now;

use crate::limits::limited;
use crate::node::{Node, zone};
use crate::servers::coredns;

/// nodedns with a zone that has names, and one that nobody serves.
async fn node(place: &Place, lines: &str) -> Option<(CoreDns, Node)> {
    let server = coredns(place, 2, "example.", "* A 192.0.2.7").await?;
    let zones = zone(".", &[server.address().to_string()])
        + &zone("refused.", &[place.socket_address(9, 53).to_string()]);
    let node = limited(place, &zones, lines).await;
    Some((server, node))
}

/// Names of metrics, those of a histogram's parts being that of the histogram.
fn names(metrics: &str) -> BTreeSet<&str> {
    let series = metrics
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let names = series.map(|line| line.split(['{', ' ']).next().unwrap());
    names
        .map(|name| {
            let parts = ["_bucket", "_sum", "_count"];
            parts
                .iter()
                .find_map(|part| name.strip_suffix(part))
                .unwrap_or(name)
        })
        .collect()
}

#[tokio::test]
async fn metrics_are_those_of_the_table_and_few_whatever_is_asked() {
    let place = Place::loopback();
    let Some((_server, node)) = node(&place, "").await else {
        return;
    };
    for number in 0..200_u16 {
        let name = format!("n{number}.example.");
        for kind in [RecordType::A, RecordType::from(number)] {
            let question = Question::new(&name, kind).from(place.address(10 + number as u8 % 100));
            // Some are refused, and some types ask for no answer at all.
            let _ = question.ask(node.address).await;
        }
    }
    node.addresses("a.refused.").await;
    let (_, metrics) = node.admin.get("/metrics").await.unwrap();
    let series = metrics
        .lines()
        .filter(|line| line.starts_with("nodedns_"))
        .count();
    assert!(series < 300, "{series} series");
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nodedns/README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let missing: Vec<_> = names(&metrics)
        .into_iter()
        .filter(|name| !readme.contains(&format!("`{name}`")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    for secret in ["example", "127."] {
        let labels = metrics
            .lines()
            .filter(|line| line.contains(secret) && !line.contains("server="));
        assert_eq!(labels.count(), 0, "no label is a name or a client");
    }
}

#[tokio::test]
async fn probes_answer_while_questions_come_faster_than_they_can_be_answered() {
    let place = Place::loopback();
    let Some((_server, node)) = node(&place, "").await else {
        return;
    };
    let socket = UdpSocket::bind((place.address(9), 0)).await.unwrap();
    socket.connect(node.address).await.unwrap();
    let question = Question::new("www.example.", RecordType::A).wire();
    let is_over = AtomicBool::new(false);
    let flooding = async {
        while !is_over.load(Ordering::Relaxed) {
            for _ in 0..64 {
                // A full buffer is what is wanted.
                let _ = socket.try_send(&question);
            }
            yield_now().await;
        }
    };
    let probing = async {
        let lost = async || {
            let labels = [("reason", "lost")];
            for path in ["/healthz", "/readyz"] {
                let (status, body) = node.admin.get(path).await.unwrap();
                assert_eq!(status, 200, "{path}: {body}");
            }
            match node.admin.metric("nodedns_unanswered_total", &labels).await {
                0.0 => Err("nothing is lost yet"),
                _ => Ok(()),
            }
        };
        wait::until("questions to be lost", Duration::from_secs(60), lost).await;
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(flooding, probing);
}

#[tokio::test]
async fn the_status_has_who_asks_most_and_what_fails_and_why() {
    let place = Place::loopback();
    let Some((_server, node)) = node(&place, "").await else {
        return;
    };
    for _ in 0..64 {
        let question = Question::new("www.example.", RecordType::A).from(place.address(9));
        question.ask(node.address).await.unwrap();
    }
    node.addresses("a.refused.").await;
    let status = async |more: &[&str]| {
        let command = program::nodedns(&place).arg("status").args(more);
        command.run().await.success()
    };
    let text = status(&[]).await;
    let client = format!("{}\n", place.address(9));
    for part in [
        "65 queries",
        "NOERROR 64",
        "SERVFAIL 1",
        &client,
        "www.example.\n",
        "a.refused.  ",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let json: serde_json::Value = serde_json::from_str(&status(&["-o", "json"]).await).unwrap();
    assert_eq!(
        (&json["hits"], &json["misses"]),
        (&63.into(), &2.into()),
        "{json}"
    );
    assert_eq!(json["seen"]["failing"][0]["what"], "a.refused.", "{json}");
    // Nobody else reaches this admin address.
    let (_, page) = node.admin.get("/").await.unwrap();
    assert!(
        page.contains("a.refused.") && page.contains("NOERROR 64"),
        "{page}"
    );
    let (_, again) = node.admin.get("/status.json").await.unwrap();
    let again: serde_json::Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["queries"], 65);
}

#[tokio::test]
async fn single_questions_are_in_the_log_for_those_who_want_them() {
    let place = Place::loopback();
    let lines = "query_log: {one_in: 2, failed: true}\n";
    let Some((_server, node)) = node(&place, lines).await else {
        return;
    };
    for _ in 0..4 {
        node.addresses("www.example.").await;
    }
    for _ in 0..2 {
        node.addresses("a.refused.").await;
    }
    let log = node.peer.log();
    let with = |parts: &[&str]| {
        let lines = log.lines().filter(|line| line.contains(" answered "));
        lines
            .filter(|line| parts.iter().all(|part| line.contains(part)))
            .count()
    };
    assert_eq!(with(&["why=sampled", "www.example. A"]), 2, "{log}");
    assert_eq!(
        with(&["why=failed", "a.refused. A", "SERVFAIL"]),
        2,
        "{log}"
    );
    assert_eq!(with(&["from=servers", "client=127.0.0.1"]), 2, "{log}");
}

#[tokio::test]
async fn an_unbound_conf_that_unbound_takes_becomes_a_file_that_check_takes() {
    let place = Place::loopback();
    let names = "a.cluster.local A 192.0.2.7\nwww.example A 192.0.2.7";
    let Some(server) = coredns(&place, 2, ".", names).await else {
        return;
    };
    let Some(checkconf) = binaries::packaged("unbound-checkconf") else {
        return;
    };
    let ip = server.address().ip();
    let text = format!(
        "server:\n  chroot: \"\"\n  username: \"\"\n  directory: \"{folder}\"\n  interface: {own}\n  port: 5353\n\
         \x20 access-control: 127.0.0.0/8 allow\n  so-rcvbuf: 4m\n  tcp-upstream: yes\n\
         \x20 local-zone: \"10.in-addr.arpa.\" transparent\n  domain-insecure: \"cluster.local\"\n\
         \x20 domain-insecure: \"10.in-addr.arpa.\"\n  module-config: \"iterator\"\n  do-not-query-localhost: no\n\
         stub-zone:\n  name: \"cluster.local\"\n  stub-addr: {ip}@5353\n\
         forward-zone:\n  name: \"in-addr.arpa.\"\n  forward-addr: {ip}@5353\n\
         forward-zone:\n  name: \".\"\n  forward-addr: {ip}@5353\n",
        folder = place.folder().display(),
        own = place.address(1),
    );
    let file = place.folder().join("unbound.conf");
    fs::write(&file, text).unwrap();
    Launch::new(&place, "checkconf", &checkconf)
        .arg(&file)
        .run()
        .await
        .success();
    let import = program::nodedns(&place).arg("import-unbound").arg(&file);
    let yaml = import.run().await.success();
    assert!(
        yaml.contains("#   8  so-rcvbuf: has no counterpart"),
        "{yaml}"
    );
    let admin = format!("admin: \"{}\"\n", place.socket_address(1, 9253));
    let yaml = yaml.replace("admin: 0.0.0.0:9253\n", &admin);
    let config = place.folder().join("imported.yml");
    fs::write(&config, &yaml).unwrap();
    let check = program::nodedns(&place)
        .arg("check")
        .arg("--config")
        .arg(&config);
    check.run().await.success();
    let launch = program::nodedns(&place).arg("--config").arg(&config);
    let node = Node::of(
        launch,
        place.socket_address(1, 5353),
        place.socket_address(1, 9253),
    )
    .await;
    assert_eq!(node.addresses("a.cluster.local.").await, ["192.0.2.7"]);
    assert_eq!(node.addresses("www.example.").await, ["192.0.2.7"]);

    fs::write(&file, "server:\n  what is this\n").unwrap();
    let wrong = program::nodedns(&place)
        .arg("import-unbound")
        .arg(&file)
        .run()
        .await;
    assert_eq!(wrong.code(), 2, "{wrong}");
    assert!(wrong.stderr.contains("line 2: `what is this`"), "{wrong}");
}
