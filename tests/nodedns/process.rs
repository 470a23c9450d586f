//! The program: what it refuses, how it ends, what `check` says.

use std::net::UdpSocket;
use std::time::Duration;

use tests::coredns::CoreDns;
use tests::dns::{Question, RecordType};
use tests::place::Place;
use tests::program;

use crate::node::{Node, address, configuration, launch, write, zone};
use crate::servers::coredns;

#[tokio::test]
async fn a_bad_configuration_is_refused_with_its_line() {
    let place = Place::loopback();
    for (zones, message) in [
        (
            "- {name: ., forward: [192.0.2.53]}\ntrust_anchors:\n  files: [none.ds]\n",
            "nodedns.yml:6:11: trust_anchors.files[0]: cannot read none.ds",
        ),
        (
            "- name: .\n  forward: [\"tls://192.0.2.53#a b\"]\n",
            "nodedns.yml:5:13: zones[0].forward[0]: `#a b` is nothing that a server can prove",
        ),
        (
            "- name: .\n  forwards: []\n",
            "nodedns.yml:5:3: zones[0]: unknown field",
        ),
    ] {
        for command in [&[][..], &["check"]] {
            let ended = launch(&place, &configuration(&place, zones))
                .args(command)
                .run()
                .await;
            assert_eq!(ended.code(), 2, "{ended}");
            assert!(ended.stderr.starts_with("nodedns: "), "{ended}");
            assert!(ended.stderr.contains(message), "{ended}");
            assert_eq!(ended.stderr.lines().count(), 1, "{ended}");
        }
    }
}

#[tokio::test]
async fn a_missing_file_and_a_wrong_flag_are_usage() {
    let place = Place::loopback();
    let missing = program::nodedns(&place)
        .arg("--config=none.yml")
        .run()
        .await;
    assert_eq!(missing.code(), 2, "{missing}");
    assert_eq!(
        missing.stderr,
        "nodedns: none.yml: no such file; --config names the one to read\n"
    );
    let wrong = program::nodedns(&place).arg("--confg=none.yml").run().await;
    assert_eq!(wrong.code(), 2, "{wrong}");
    assert!(wrong.stderr.contains("--config"), "{wrong}");
}

#[tokio::test]
async fn an_address_in_use_is_a_failure_that_names_the_way_to_its_holder() {
    let place = Place::loopback();
    let holder = UdpSocket::bind(address(&place)).unwrap();
    let zones = zone(".", &["192.0.2.53".to_owned()]);
    let ended = launch(&place, &configuration(&place, &zones)).run().await;
    assert_eq!(ended.code(), 1, "{ended}");
    let address = holder.local_addr().unwrap();
    let message = format!("cannot listen on {address}/udp: the address is in use; `ss ");
    assert!(ended.stderr.contains(&message), "{ended}");
}

#[tokio::test]
async fn help_completions_and_version_are_there() {
    let place = Place::loopback();
    let run = async |args: &[&str]| program::nodedns(&place).args(args).run().await.success();
    assert!(
        run(&["--help"])
            .await
            .contains("forward: [\"tcp://10.96.0.10\"]")
    );
    assert!(run(&["--version"]).await.starts_with("nodedns "));
    assert!(run(&["completions", "bash"]).await.contains("complete -F"));
}

#[tokio::test]
async fn sigterm_lets_questions_that_wait_be_answered() {
    let place = Place::loopback();
    let Some(server) = server(&place).await else {
        return;
    };
    let mut node = Node::start(&place, &zone(".", &[server.address().to_string()])).await;
    server.peer.pause();
    let (asked, address) = (Question::new("www.example.", RecordType::A), node.address);
    let (over_udp, over_tcp) = (asked.clone(), asked.tcp());
    let over_udp = tokio::spawn(async move { over_udp.ask(address).await });
    let over_tcp = tokio::spawn(async move { over_tcp.ask(address).await });
    node.misses(2.0).await;
    node.peer.signal(tests::peer::Signal::TERM);
    node.peer.says("draining").await;
    server.peer.resume();
    for answer in [over_udp, over_tcp] {
        let reply = answer.await.unwrap().unwrap();
        assert_eq!(reply.data(RecordType::A), ["192.0.2.7"]);
    }
    let status = node.peer.exited(Duration::from_secs(5)).await.unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn a_second_signal_forces() {
    let place = Place::loopback();
    let Some(server) = server(&place).await else {
        return;
    };
    let mut node = Node::start(&place, &zone(".", &[server.address().to_string()])).await;
    server.peer.pause();
    let (asked, address) = (Question::new("www.example.", RecordType::A), node.address);
    tokio::spawn(async move { asked.ask(address).await });
    node.misses(1.0).await;
    node.peer.signal(tests::peer::Signal::TERM);
    node.peer.says("draining").await;
    node.peer.signal(tests::peer::Signal::INT);
    let status = node.peer.exited(Duration::from_secs(2)).await.unwrap();
    assert_eq!(status.code(), Some(1));
}

#[tokio::test]
async fn check_names_who_answers_and_who_does_not() {
    let place = Place::loopback();
    let Some(server) = server(&place).await else {
        return;
    };
    let (fine, dead) = (
        server.address().to_string(),
        place.socket_address(9, 53).to_string(),
    );
    let check = async |zones: String| {
        let file = write(&place, &configuration(&place, &zones));
        program::nodedns(&place)
            .arg("check")
            .arg("--config")
            .arg(file)
            .run()
            .await
    };
    let half = check(zone("example.", &[fine.clone(), dead.clone()])).await;
    assert_eq!(half.code(), 0, "{half}");
    let line = format!("zone example.: udp://{fine} answers (NOERROR in ");
    assert!(half.stdout.contains(&line), "{half}");
    assert!(
        half.stdout
            .contains(&format!("udp://{dead} cannot be asked")),
        "{half}"
    );
    let none = check(zone("example.", &[fine]) + &zone(".", &[dead])).await;
    assert_eq!(none.code(), 1, "{none}");
    assert!(none.stdout.contains("zone .: NO server answers"), "{none}");
}

#[tokio::test]
async fn check_names_who_passes_no_signatures_on() {
    let place = Place::loopback();
    let Some(unsigned) = coredns(&place, 2, ".", "www A 192.0.2.7").await else {
        return;
    };
    let zones = format!("- {{name: ., forward: [\"{}\"]}}\n", unsigned.address());
    let file = write(&place, &configuration(&place, &zones));
    let check = program::nodedns(&place)
        .arg("check")
        .arg("--config")
        .arg(file);
    let ended = check.run().await;
    assert_eq!(ended.code(), 1, "{ended}");
    let line = "gives no signed DNSKEY for .; what is signed will fail";
    assert!(ended.stdout.contains(line), "{ended}");
}

async fn server(place: &Place) -> Option<CoreDns> {
    coredns(place, 2, "example.", "www A 192.0.2.7").await
}

#[tokio::test]
async fn a_second_process_answers_beside_the_first_and_takes_its_place() {
    let place = Place::loopback();
    let Some(server) = server(&place).await else {
        return;
    };
    let zones = zone(".", &[server.address().to_string()]);
    let mut first = Node::start(&place, &zones).await;
    let mut second = launch(&place, &configuration(&place, &zones)).start();
    second.says("waiting for it").await;
    first.peer.signal(tests::peer::Signal::TERM);
    let status = first.peer.exited(Duration::from_secs(5)).await.unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(first.addresses("www.example.").await, ["192.0.2.7"]);
    let admin = &first.admin;
    second
        .ready(Duration::from_secs(5), async || admin.ready().await)
        .await;
}

#[tokio::test]
async fn health_is_that_of_the_process_itself_and_not_of_the_one_before_it() {
    let place = Place::loopback();
    let Some(server) = server(&place).await else {
        return;
    };
    let health = async || program::nodedns(&place).arg("health").run().await;
    let none = health().await;
    assert_eq!(none.code(), 1, "{none}");
    assert!(none.stderr.contains("is it running"), "{none}");

    let zones = zone(".", &[server.address().to_string()]);
    let first = Node::start(&place, &zones).await;
    assert_eq!(health().await.success(), "ready\n");
    let mut second = launch(&place, &configuration(&place, &zones)).start();
    second.says("waiting for it").await;
    second.says("listening").await;
    assert_eq!(health().await.success(), "ready\n");
    second.kill();
    let gone = health().await;
    assert_eq!(
        gone.code(),
        1,
        "the first one, which is ready, does not answer: {gone}"
    );
    assert!(first.admin.ready().await.is_ok());
}
