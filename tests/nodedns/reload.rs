//! The configuration, changed while nodedns runs: what it says comes into force within two seconds, whole or
//! not at all, and what was learned stays unless the change makes it wrong.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use tests::clients::Clients;
use tests::coredns::CoreDns;
use tests::dns::{Question, RecordType};
use tests::peer::Signal;
use tests::place::Place;
use tests::{program, wait};

use crate::node::{Node, address, configuration, write, zone};
use crate::servers::coredns;

/// Two servers that know one name otherwise, and one of another zone.
struct Scene {
    place: Place,
    servers: [CoreDns; 2],
    other: CoreDns,
    node: Node,
}

impl Scene {
    /// A node that asks the first of the two.
    async fn start() -> Option<Self> {
        let place = Place::loopback();
        let first = coredns(&place, 2, "example.", "www 3600 A 192.0.2.1").await?;
        let second = coredns(&place, 3, "example.", "www 3600 A 192.0.2.2").await?;
        let other = coredns(
            &place,
            4,
            "test.",
            "www 3600 A 192.0.2.3\nto 3600 CNAME www.example.",
        )
        .await?;
        let zones = zones(&first, &other);
        Some(Self {
            node: Node::start(&place, &zones).await,
            place,
            servers: [first, second],
            other,
        })
    }

    /// What the file says when `example.` is asked of this server.
    fn text(&self, server: usize) -> String {
        configuration(&self.place, &zones(&self.servers[server], &self.other))
    }
}

fn zones(example: &CoreDns, test: &CoreDns) -> String {
    zone("example", &[example.address().to_string()]) + &zone("test", &[test.address().to_string()])
}

/// Has `change` done, and waits until what it made of the file is in force.
async fn in_force(node: &Node, change: impl FnOnce()) {
    said_after(node, IN_FORCE, change).await;
}

async fn said_after(node: &Node, text: &str, change: impl FnOnce()) {
    let before = node.peer.log().matches(text).count();
    let began = Instant::now();
    change();
    wait::until(text, WITHIN, async || {
        let log = node.peer.log();
        match log.matches(text).count() {
            times if times > before => Ok(()),
            _ => Err(log),
        }
    })
    .await;
    println!("{text}: after {:?}", began.elapsed());
}

#[tokio::test]
async fn another_server_is_asked_from_now_on_and_what_the_change_leaves_right_stays_known() {
    let Some(mut scene) = Scene::start().await else {
        return;
    };
    for (name, address) in [
        ("www.example.", "192.0.2.1"),
        ("www.test.", "192.0.2.3"),
        ("to.test.", "192.0.2.1"),
    ] {
        assert_eq!(scene.node.addresses(name).await, [address]);
    }
    let text = scene.text(1);
    in_force(&scene.node, || drop(write(&scene.place, &text))).await;
    assert_eq!(scene.node.addresses("www.example.").await, ["192.0.2.2"]);
    // Its alias is in a zone that is what it was; where it leads is not.
    assert_eq!(scene.node.addresses("to.test.").await, ["192.0.2.2"]);
    scene.other.peer.kill();
    let misses = scene.node.lookups("miss").await;
    assert_eq!(scene.node.addresses("www.test.").await, ["192.0.2.3"]);
    assert_eq!(scene.node.lookups("miss").await, misses);
}

/// Answers that are kept, fresh or after their time, are no way around a filter that was not there.
#[tokio::test]
async fn a_filter_of_addresses_counts_for_what_is_kept_as_well() {
    let place = Place::loopback();
    let names = "evil 3600 A 10.0.0.1\nbrief 1 A 10.0.0.2\ngood 3600 A 192.0.2.7";
    let Some(mut server) = coredns(&place, 2, "example.", names).await else {
        return;
    };
    let text = configuration(&place, &zone(".", &[server.address().to_string()]));
    let node = Node::start(&place, &text[text.find("- ").unwrap()..]).await;
    for (name, address) in [
        ("evil.example.", "10.0.0.1"),
        ("brief.example.", "10.0.0.2"),
        ("good.example.", "192.0.2.7"),
    ] {
        assert_eq!(node.addresses(name).await, [address]);
    }
    server.peer.kill();
    wait::until(
        "an answer after its time",
        Duration::from_secs(10),
        async || {
            let question = Question::new("brief.example.", RecordType::A);
            let reply = question.ask(node.address).await.unwrap();
            match &reply.extended_errors()[..] {
                [(3, _)] => Ok(()),
                others => Err(format!("{others:?}")),
            }
        },
    )
    .await;
    let filtered = text + "rebinding: {deny: [10.0.0.0/8]}\n";
    in_force(&node, || drop(write(&place, &filtered))).await;
    for name in ["evil.example.", "brief.example."] {
        let reply = Question::new(name, RecordType::A).ask(node.address).await;
        assert_eq!(reply.unwrap().code(), ResponseCode::ServFail, "{name}");
    }
    server.peer.restart();
    wait::until(
        "what is not filtered",
        Duration::from_secs(10),
        async || match &node.addresses("good.example.").await[..] {
            [address] if address == "192.0.2.7" => Ok(()),
            others => Err(format!("{others:?}")),
        },
    )
    .await;
}

#[tokio::test]
async fn a_volume_of_a_config_map_that_is_turned_is_a_change_and_sighup_has_the_same_read_again() {
    let Some(scene) = Scene::start().await else {
        return;
    };
    // As kubelet writes it: a folder for each version, a link to the one in force, and links through that.
    let volume = scene.place.folder().join("volume");
    let turn = |version: &str, text: &str| {
        fs::create_dir_all(volume.join(version)).unwrap();
        fs::write(volume.join(version).join("nodedns.yml"), text).unwrap();
        symlink(version, volume.join("..data_tmp")).unwrap();
        fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    };
    turn("..1", &scene.text(0));
    symlink("..data/nodedns.yml", volume.join("nodedns.yml")).unwrap();
    drop(scene.node);
    let node = Node::of(
        program::nodedns(&scene.place)
            .arg("--config")
            .arg(volume.join("nodedns.yml")),
        address(&scene.place),
        scene.place.socket_address(1, 9253),
    )
    .await;
    assert_eq!(node.addresses("www.example.").await, ["192.0.2.1"]);
    let hash = async || node.admin.metric("nodedns_config_hash", &[]).await;
    let before = hash().await;
    let text = configuration(&scene.place, &zones(&scene.servers[1], &scene.other));
    in_force(&node, || {
        turn("..2", &text);
        fs::remove_dir_all(volume.join("..1")).unwrap();
    })
    .await;
    assert_eq!(node.addresses("www.example.").await, ["192.0.2.2"]);
    assert_ne!(hash().await, before);
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    assert_eq!(node.admin.metric("nodedns_build_info", &version).await, 1.0);

    let misses = node.lookups("miss").await;
    in_force(&node, || node.peer.signal(Signal::HUP)).await;
    assert!(node.peer.log().contains("SIGHUP"), "{}", node.peer.log());
    assert_eq!(node.addresses("www.example.").await, ["192.0.2.2"]);
    assert_eq!(node.lookups("miss").await, misses, "nothing has changed");
}

#[tokio::test]
async fn a_bad_file_is_refused_in_one_line_and_the_one_before_stays_in_force() {
    let Some(scene) = Scene::start().await else {
        return;
    };
    let node = &scene.node;
    let state = async || {
        let name = "nodedns_config_last_reload_successful";
        let (_, ready) = node.admin.get("/readyz").await.unwrap();
        (node.admin.metric(name, &[]).await, ready)
    };
    assert_eq!(state().await.0, 1.0);
    let holder = UdpSocket::bind(scene.place.socket_address(1, 5454)).unwrap();
    let elsewhere = format!(
        "listen: [\"{}\"]\nzones: [{{name: ., forward: [192.0.2.53]}}]\n",
        holder.local_addr().unwrap()
    );
    for (text, message) in [
        (
            scene.text(1) + "cashe: {}\n",
            "nodedns.yml:7:1: unknown field `cashe`",
        ),
        (elsewhere, "the address is in use"),
        (
            "ca_file: none.pem\nzones: [{name: ., forward: [192.0.2.53]}]\n".to_owned(),
            "ca_file none.pem",
        ),
    ] {
        said_after(node, REFUSED, || drop(write(&scene.place, &text))).await;
        let log = node.peer.log();
        let line = log.lines().rfind(|line| line.contains(REFUSED)).unwrap();
        assert!(line.contains(message), "{line}");
        let (good, ready) = state().await;
        assert_eq!(good, 0.0);
        assert!(ready.contains(message), "{ready}");
        node.admin.ready().await.unwrap();
        let fresh = Question::new("none.example.", RecordType::A);
        let reply = fresh.ask(node.address).await.unwrap();
        assert_eq!(reply.code(), ResponseCode::NXDomain, "as before");
    }
    let failures = node
        .admin
        .metric("nodedns_config_reload_failures_total", &[])
        .await;
    assert_eq!(failures, 3.0);
    in_force(node, || drop(write(&scene.place, &scene.text(1)))).await;
    let (good, ready) = state().await;
    assert_eq!(good, 1.0);
    assert!(!ready.contains("refused"), "{ready}");
    assert_eq!(node.addresses("www.example.").await, ["192.0.2.2"]);
}

/// The addresses, the number of workers, the servers and the size of the cache change again and again, while
/// clients ask that never ask twice.
#[tokio::test]
async fn no_question_is_lost_whatever_changes() {
    let Some(scene) = Scene::start().await else {
        return;
    };
    let node = &scene.node;
    let second = scene.place.socket_address(1, 5454);
    let clients = Clients::start(node.address, "www.example.");
    for (workers, server, size) in [
        (2, 1, "32MiB"),
        (1, 0, "64MiB"),
        (3, 0, "1MiB"),
        (1, 1, "64MiB"),
    ] {
        let text = scene
            .text(server)
            .replacen('"', &format!("\"{second}\", \""), 1);
        let text = format!("{text}workers: {workers}\ncache: {{size: {size}}}\n");
        in_force(node, || drop(write(&scene.place, &text))).await;
        let reply = Question::new("www.test.", RecordType::A).ask(second).await;
        assert_eq!(reply.unwrap().data(RecordType::A), ["192.0.2.3"]);
        let health = program::nodedns(&scene.place).arg("health").run().await;
        assert_eq!(health.success(), "ready\n");
    }
    in_force(node, || drop(write(&scene.place, &scene.text(1)))).await;
    let (asked, lost) = clients.stop();
    println!("{asked} questions, {lost} of them lost");
    assert!(asked > 10_000, "{asked}");
    assert_eq!(lost, 0, "of {asked}");
    wait::until("the address to be given up", WITHIN, async || {
        UdpSocket::bind(second).map(drop)
    })
    .await;
}

#[tokio::test]
async fn a_question_on_its_way_is_answered_by_the_server_that_has_it() {
    let Some(scene) = Scene::start().await else {
        return;
    };
    scene.servers[0].peer.pause();
    let (asked, at) = (
        Question::new("www.example.", RecordType::A),
        scene.node.address,
    );
    let waiting = tokio::spawn(async move { asked.ask(at).await });
    scene.node.misses(1.0).await;
    in_force(&scene.node, || drop(write(&scene.place, &scene.text(1)))).await;
    scene.servers[0].peer.resume();
    let reply = waiting.await.unwrap().unwrap();
    assert_eq!(reply.data(RecordType::A), ["192.0.2.1"]);
    // It is not kept: the other is asked by now.
    assert_eq!(scene.node.addresses("www.example.").await, ["192.0.2.2"]);
}

#[tokio::test]
async fn what_was_not_validated_is_judged_once_it_is_to_be() {
    let Some(scene) = Scene::start().await else {
        return;
    };
    let node = &scene.node;
    assert_eq!(node.addresses("www.example.").await, ["192.0.2.1"]);
    assert_eq!(node.addresses("www.test.").await, ["192.0.2.3"]);
    let anchor = scene.place.folder().join("example.ds");
    fs::write(&anchor, DS).unwrap();
    let anchored = |validate: &str| {
        let text = scene.text(0).replacen("validate: false", validate, 1);
        format!("{text}trust_anchors: {{files: [{}]}}\n", anchor.display())
    };
    // Nothing there is signed, and from now on it must be.
    in_force(node, || {
        drop(write(&scene.place, &anchored("validate: true")))
    })
    .await;
    let reply = Question::new("www.example.", RecordType::A)
        .ask(node.address)
        .await
        .unwrap();
    assert_eq!(reply.code(), ResponseCode::ServFail);
    let misses = node.lookups("miss").await;
    assert_eq!(node.addresses("www.test.").await, ["192.0.2.3"]);
    assert_eq!(node.lookups("miss").await, misses);
    // Another anchor, which is not above it.
    fs::write(&anchor, DS.replace("example.", "elsewhere.")).unwrap();
    in_force(node, || node.peer.signal(Signal::HUP)).await;
    assert_eq!(node.addresses("www.example.").await, ["192.0.2.1"]);
}

const IN_FORCE: &str = "the configuration is in force";
const REFUSED: &str = "the configuration is refused; the one before stays in force";
/// The file is looked at four times a second.
const WITHIN: Duration = Duration::from_secs(2);
const DS: &str =
    "example. DS 12345 13 2 0000000000000000000000000000000000000000000000000000000000000000\n";
