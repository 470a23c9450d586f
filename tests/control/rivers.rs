//! `control rivers`: rivers on machines with a real systemd and a real SSH server.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use serde_json::Value;
use tests::launch::Launch;
use tests::machine::{Machines, USER};
use tests::place::Place;
use tests::{program, wait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::scene::{Scene, json};

/// A cluster whose workers are machines.
struct Fleet {
    scene: Scene,
    machines: Machines,
}

impl Fleet {
    async fn start(number: u8) -> Option<Self> {
        let scene = Scene::start_in(Place::namespace()?, 1, &[]).await?;
        let machines = Machines::start(scene.place(), number).await?;
        let fleet = Self { scene, machines };
        fleet.scene.ssh_key(&fleet.machines.key());
        fleet.write_cluster_yml("");
        Some(fleet)
    }

    /// The machines are nodes, `node-1` and so on; each carries connections of a port of its own to
    /// an echo of the test, too. `config` is more of `rivers.yml`.
    fn write_cluster_yml(&self, config: &str) {
        let nodes: String = (1..)
            .zip(&self.machines.list)
            .map(|(number, machine)| {
                let address = machine.address();
                format!("- {{address: {address}, hostname: node-{number}, user: {USER}}}\n")
            })
            .collect();
        let options = format!(
            "options:\n  rivers:\n    config:\n      {config}\n      listeners:\n      \
             - {{name: echo, listen: ':{ECHO}', upstreams: ['10.9.0.1:{ECHO}']}}\n"
        );
        self.scene.cluster_yml(&nodes, &options);
    }

    /// `control rivers …` for the machines among the nodes.
    fn rivers(&self, arguments: &[&str], binary: &Path) -> Launch {
        let nodes = (1..=self.machines.list.len()).map(|number| format!("--node=node-{number}"));
        self.scene
            .control(&["rivers"])
            .args(arguments)
            .arg("--known-hosts")
            .arg(self.machines.known_hosts())
            .arg("--binary")
            .arg(binary)
            .args(nodes)
    }

    /// What became of each node, in their order, as `rivers deploy -o json` says.
    async fn deploy(&self, binary: &Path, code: i32) -> Vec<String> {
        let output = self
            .rivers(&["deploy", "-o", "json", "--at-once", "8"], binary)
            .run_within(DEPLOY_DEADLINE)
            .await;
        assert_eq!(output.code(), code, "{output}");
        let nodes = json(&output)["nodes"].as_array().unwrap().clone();
        nodes.iter().map(words).collect()
    }

    /// A version of rivers that differs from others in its bytes alone.
    fn version(&self, number: u8) -> PathBuf {
        let path = self.scene.folder().join(format!("rivers-{number}"));
        let mut content = fs::read(program::path("rivers")).unwrap();
        content.push(number);
        fs::write(&path, content).unwrap();
        path
    }

    /// A program that says yes to `check` and does not run.
    fn bad_version(&self) -> PathBuf {
        let path = self.scene.folder().join("rivers-bad");
        let text = "#!/bin/sh\n[ \"$1\" = check ] && exit 0\necho no service today >&2\nexit 1\n";
        fs::write(&path, text).unwrap();
        path
    }

    /// The SHA-256 of the rivers that runs on a machine.
    async fn running(&self, machine: usize) -> String {
        let command = "sha256sum < /proc/$(systemctl show -P MainPID rivers)/exe";
        let machine = &self.machines.list[machine];
        machine.run(self.scene.place(), command).await.success()
    }

    /// An echo through the rivers of a machine, kept open.
    async fn client(&self, machine: usize) -> TcpStream {
        let at = SocketAddr::new(self.machines.list[machine].address(), ECHO);
        let mut client = TcpStream::connect(at).await.unwrap();
        echoes(&mut client).await;
        client
    }
}

/// Has a connection carry a word there and back.
async fn echoes(client: &mut TcpStream) {
    client.write_all(b"word").await.unwrap();
    let mut word = [0; 4];
    let read = tokio::time::timeout(Duration::from_secs(20), client.read_exact(&mut word));
    read.await.expect("an echo").unwrap();
    assert_eq!(&word, b"word");
}

async fn echo() {
    let listener = TcpListener::bind(("10.9.0.1", ECHO)).await.unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
}

fn words(node: &Value) -> String {
    let text = |field: &str| node[field].as_str().unwrap_or_default().to_owned();
    [text("node"), text("result"), text("error")]
        .join(" ")
        .trim()
        .to_owned()
}

#[tokio::test]
async fn twenty_nodes_are_updated_without_closing_a_connection_and_each_stops_only_itself() {
    let Some(mut fleet) = Fleet::start(NODES).await else {
        return;
    };
    echo().await;
    // One has a key that nobody knows, and one is away.
    let known = fs::read_to_string(fleet.machines.known_hosts()).unwrap();
    let all_but_one: String = known
        .lines()
        .skip(1)
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(fleet.machines.known_hosts(), all_but_one).unwrap();
    fleet.machines.list[1].peer.kill();

    let first = fleet.version(1);
    let fates = fleet.deploy(&first, 1).await;
    assert!(
        fates[0].starts_with("node-1 not_reached SSH to 10.9.1.1: "),
        "{}",
        fates[0]
    );
    assert!(
        fates[0].contains("Host key verification failed"),
        "{}",
        fates[0]
    );
    assert!(fates[1].starts_with("node-2 not_reached"), "{}", fates[1]);
    let rest: Vec<_> = (3..=NODES).map(|n| format!("node-{n} updated")).collect();
    assert_eq!(fates[2..], rest);

    // Once more there is nothing to do, but for the one whose key is known now.
    fs::write(fleet.machines.known_hosts(), known).unwrap();
    let fates = fleet.deploy(&first, 1).await;
    assert_eq!(fates[0], "node-1 updated");
    let rest: Vec<_> = (3..=NODES).map(|n| format!("node-{n} right")).collect();
    assert_eq!(fates[2..], rest);

    let mut clients = Vec::new();
    for machine in (0..usize::from(NODES)).filter(|&machine| machine != 1) {
        clients.push(fleet.client(machine).await);
    }
    // Killed in the middle, then done by the next one, which begins no node anew.
    let second = fleet.version(2);
    let deploy = fleet.rivers(&["deploy", "--at-once", "2"], &second);
    let mut killed = deploy.start();
    wait::until("some updates", Duration::from_secs(180), async || {
        let log = killed.log();
        if log.contains("[3/19]") {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;
    killed.kill();
    let updated = killed.log().matches(": updated in").count();
    let fates = fleet.deploy(&second, 1).await;
    let is = |fate: &str| fates.iter().filter(|line| line.ends_with(fate)).count();
    assert!(is(" right") >= updated, "{updated}: {fates:?}");
    assert_eq!(
        is(" right") + is(" updated"),
        usize::from(NODES) - 1,
        "{fates:?}"
    );
    for client in &mut clients {
        echoes(client).await;
    }
    let wanted = fleet.running(0).await;
    for machine in 2..usize::from(NODES) {
        assert_eq!(fleet.running(machine).await, wanted);
    }

    let output = fleet.rivers(&["status"], &second).run().await;
    assert_eq!(output.code(), 1, "{output}");
    assert!(output.stdout.contains(" on 19: "), "{output}");
    assert!(
        output.stdout.contains("node-2: SSH to 10.9.1.2"),
        "{output}"
    );
}

#[tokio::test]
async fn a_bad_version_reaches_the_canary_alone_and_leaves_it_as_it_was() {
    let Some(fleet) = Fleet::start(3).await else {
        return;
    };
    echo().await;
    let good = fleet.version(1);
    let bad = fleet.bad_version();

    // Where there was nothing, there is nothing afterwards.
    let fates = fleet.deploy(&bad, 1).await;
    assert!(
        fates[0].starts_with("node-1 rolled_back it does not run"),
        "{fates:?}"
    );
    assert!(fates[0].contains("no service today"), "{fates:?}");
    assert_eq!(fates[1..], ["node-2 not_begun", "node-3 not_begun"]);
    let left = "ls /usr/local/bin/rivers /etc/rivers/rivers.yml /etc/systemd/system/rivers.service";
    let machine = &fleet.machines.list[0];
    assert_ne!(machine.run(fleet.scene.place(), left).await.code(), 0);

    let fates = fleet.deploy(&good, 0).await;
    assert_eq!(
        fates,
        ["node-1 updated", "node-2 updated", "node-3 updated"]
    );
    let before = fleet.running(0).await;
    let mut client = fleet.client(0).await;
    let fates = fleet.deploy(&bad, 1).await;
    assert!(
        fates[0].starts_with("node-1 rolled_back it does not run"),
        "{fates:?}"
    );
    assert_eq!(fates[1..], ["node-2 not_begun", "node-3 not_begun"]);
    assert_eq!(fleet.running(0).await, before);
    echoes(&mut client).await;

    // One that cannot even begin there is not installed.
    let foreign = fleet.scene.folder().join("rivers-foreign");
    fs::write(&foreign, b"\x7fELF of another world").unwrap();
    let fates = fleet.deploy(&foreign, 1).await;
    assert!(
        fates[0].starts_with("node-1 refused `rivers check` ends with 12"),
        "{fates:?}"
    );
    assert_eq!(fleet.running(0).await, before);

    let output = fleet.rivers(&["status", "-o", "json"], &good).run().await;
    assert_eq!(output.code(), 0, "{output}");
    echoes(&mut client).await;
}

#[tokio::test]
async fn a_changed_configuration_is_delivered_and_what_somebody_else_changed_is_mended() {
    let Some(fleet) = Fleet::start(2).await else {
        return;
    };
    echo().await;
    let binary = fleet.version(1);
    fleet.deploy(&binary, 0).await;
    let mut client = fleet.client(0).await;

    fleet.write_cluster_yml("max_connections: 1000");
    let output = fleet.rivers(&["status"], &binary).run().await;
    assert!(
        output.stdout.contains("node-1: configuration\n"),
        "{output}"
    );
    let fates = fleet.deploy(&binary, 0).await;
    assert_eq!(fates, ["node-1 updated", "node-2 updated"]);
    let machine = &fleet.machines.list[0];
    let place = fleet.scene.place();
    let config = machine
        .run(place, "cat /etc/rivers/rivers.yml")
        .await
        .success();
    assert!(config.contains("max_connections: 1000"), "{config}");
    echoes(&mut client).await;

    machine
        .run(
            place,
            "systemctl disable --now rivers; echo >> /etc/systemd/system/rivers.service",
        )
        .await
        .success();
    let fates = fleet.deploy(&binary, 0).await;
    assert_eq!(fates, ["node-1 updated", "node-2 right"]);
    wait::until("a service that runs", Duration::from_secs(10), async || {
        let mut client = fleet.client(0).await;
        echoes(&mut client).await;
        Ok::<(), String>(())
    })
    .await;

    // Without the right to log in nothing happens, and the key is shown nowhere.
    let other = fleet.machines.other_key();
    fleet.scene.ssh_key(&other);
    let output = fleet.rivers(&["deploy"], &binary).run().await;
    assert_eq!(output.code(), 1, "{output}");
    assert!(output.stdout.contains("Permission denied"), "{output}");
    for line in other.lines().filter(|line| line.len() > 20) {
        assert!(!output.to_string().contains(line), "{output}");
    }
}

#[tokio::test]
async fn status_tells_builds_and_names_kubelets_that_bypass_rivers() {
    let Some(fleet) = Fleet::start(3).await else {
        return;
    };
    echo().await;
    let [first, second] = [1, 2].map(|number| fleet.version(number));
    fleet.deploy(&first, 0).await;
    let deploy = ["deploy", "--node=node-2"].map(str::to_owned);
    let known_hosts = fleet.machines.known_hosts();
    fleet
        .scene
        .control(&["rivers"])
        .args(deploy)
        .arg("--binary")
        .arg(&second)
        .arg("--known-hosts")
        .arg(&known_hosts)
        .run()
        .await
        .success();
    // One where CKE has it, one that a kubelet was told, and one in JSON.
    for (machine, script) in fleet.machines.list.iter().zip([
        "mkdir -p /etc/kubernetes/kubelet
         echo \"    server: 'https://localhost:16443'\" >/etc/kubernetes/kubelet/kubeconfig",
        "mkdir -p /etc/kubernetes/kubelet
         echo 'server: https://localhost:16443' >/etc/kubernetes/kubelet/kubeconfig
         printf 'clusters:\\n- cluster:\\n    server: https://10.9.0.2:6443\\nusers: [{token: canary}]\\n' >/etc/own.yml
         printf '#!/bin/sh\\nsleep 3600\\n' >/usr/local/bin/kubelet
         chmod 755 /usr/local/bin/kubelet
         systemd-run --quiet /usr/local/bin/kubelet --v=2 --kubeconfig /etc/own.yml",
        "echo '{\"clusters\":[{\"cluster\":{\"server\":\"https://127.0.0.1:16443\",\"tls-server-name\":\"a\"}}]}' >/etc/kubernetes/kubelet.conf",
    ]) {
        let script = format!("mkdir -p /etc/kubernetes\n{script}");
        machine.run(fleet.scene.place(), &script).await.success();
    }

    let without = fleet.scene.control(&["status"]).run().await;
    assert!(
        without
            .stdout
            .contains("rivers: open, no pod of a DaemonSet rivers is there"),
        "{without}"
    );
    let status = fleet
        .scene
        .control(&["status", "--hosts", "ssh", "--known-hosts"])
        .arg(&known_hosts)
        .run()
        .await;
    assert_eq!(status.code(), 1, "{status}");
    for line in [
        "kubelets' API server: bad, kubelet bypasses rivers on node-2 (https://10.9.0.2:6443);",
        " on 2 nodes (node-1, node-3)",
        " on 1 nodes (node-2)",
        "not reached: SSH to 10.9.0.2",
    ] {
        assert!(status.stdout.contains(line), "{line} in {status}");
    }
    assert!(!status.to_string().contains("canary"), "{status}");
}

#[tokio::test]
async fn nodes_whose_api_servers_have_all_moved_are_told_where_they_are() {
    let Some(mut fleet) = Fleet::start(2).await else {
        return;
    };
    echo().await;
    let binary = fleet.version(1);
    fleet.deploy(&binary, 0).await;
    let version = "curl --silent --insecure --max-time 5 https://127.0.0.1:16443/version";
    let api = async |fleet: &Fleet, machine: usize| {
        let machine = &fleet.machines.list[machine];
        machine.run(fleet.scene.place(), version).await.code()
    };
    for machine in [0, 1] {
        assert_eq!(api(&fleet, machine).await, 0);
    }

    fleet.scene.move_api_servers(5).await;
    for machine in [0, 1] {
        assert_ne!(api(&fleet, machine).await, 0);
    }
    fleet.write_cluster_yml("");
    let fates = fleet.deploy(&binary, 0).await;
    assert_eq!(fates, ["node-1 updated", "node-2 updated"]);
    for machine in [0, 1] {
        assert_eq!(api(&fleet, machine).await, 0);
    }
    fleet.scene.sync().await;
    let slices: Api<EndpointSlice> = Api::default_namespaced(fleet.scene.client());
    let slice = slices.get("kubernetes").await.unwrap();
    assert_eq!(slice.endpoints[0].addresses, ["10.9.0.5"]);
}

/// As many as a computer of two cores has room for.
const NODES: u8 = 20;
/// To all of them, on a computer that has other work too.
const DEPLOY_DEADLINE: Duration = Duration::from_secs(300);
const ECHO: u16 = 7007;
