//! The units, under a real systemd.

use tests::launch::Output;
use tests::machine::{Machine, Machines};
use tests::node::images::root;
use tests::place::Place;
use tests::{program, wait};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::scene::DEADLINE;

/// The unit serves, a pod of the DaemonSet takes over, the unit waits beside it, and serves again once it is gone.
#[tokio::test]
async fn with_its_drop_in_the_unit_waits_beside_a_pod_and_serves_when_that_is_gone() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let upstream = place.socket_address(3, 6443);
    tokio::spawn(echo(TcpListener::bind(upstream).await.unwrap()));
    let Some(machines) = Machines::here(&place).await else {
        return;
    };
    let on = On {
        machine: &machines.list[0],
        place: &place,
    };
    let systemd = root().join("deploy/systemd");
    let unit = "/etc/systemd/system/rivers.service";
    for (from, to) in [
        (program::path("rivers"), "/usr/local/bin/rivers"),
        (systemd.join("rivers.service"), unit),
        (
            systemd.join("rivers-with-daemonset.conf"),
            &format!("{unit}.d/daemonset.conf"),
        ),
    ] {
        on.machine.install(&from, to);
    }
    let file = format!(
        "listeners: [{{listen: \\\"127.0.0.1:16443\\\", upstreams: [\\\"{upstream}\\\"], health: {{mode: tcp}}}}]"
    );
    on.run(&format!(
        "mkdir /etc/rivers && echo \"{file}\" >/etc/rivers/rivers.yml"
    ))
    .await
    .success();
    on.run("systemctl daemon-reload && systemctl start rivers")
        .await
        .success();
    let mut client = connected().await;

    // A pod's process has no capability, and is in another PID namespace than the unit's.
    on.run(
        "systemd-run --unit=pod --collect unshare --pid --fork --kill-child setpriv --bounding-set=-all \
         /usr/local/bin/rivers --config /etc/rivers/rivers.yml --generation=1 --when-replaced=wait",
    )
    .await
    .success();
    on.says("rivers", "replaced by another process").await;
    assert!(exchanges(&mut client).await);
    let main = on
        .run("systemctl show --property=MainPID,NRestarts,ActiveState rivers")
        .await
        .success();
    assert!(
        main.contains("NRestarts=0") && main.contains("ActiveState=active"),
        "{main}"
    );

    on.run("systemctl kill --signal=KILL pod").await.success();
    on.says("rivers", "nobody serves any more").await;
    connected().await;
    let main = on
        .run("systemctl show --property=NRestarts,ActiveState rivers")
        .await
        .success();
    assert!(
        main.contains("NRestarts=1") && main.contains("ActiveState=active"),
        "{main}"
    );
}

/// A machine, and the test's place on it.
struct On<'a> {
    machine: &'a Machine,
    place: &'a Place,
}

impl On<'_> {
    async fn run(&self, command: &str) -> Output {
        self.machine.run(self.place, command).await
    }

    /// Waits until the journal of a unit has these words.
    async fn says(&self, unit: &str, words: &str) {
        wait::until(words, DEADLINE, async || {
            let journal = self
                .run(&format!("journalctl --unit={unit} --no-pager"))
                .await;
            if journal.stdout.contains(words) {
                Ok(())
            } else {
                Err(journal)
            }
        })
        .await;
    }
}

/// Waits for a connection through rivers that carries bytes.
async fn connected() -> TcpStream {
    wait::until("rivers", DEADLINE, async || {
        let mut stream = TcpStream::connect("127.0.0.1:16443").await?;
        if exchanges(&mut stream).await {
            Ok(stream)
        } else {
            Err(std::io::Error::other("no echo"))
        }
    })
    .await
}

async fn exchanges(stream: &mut TcpStream) -> bool {
    let mut word = [0; 4];
    stream.write_all(b"word").await.is_ok()
        && stream.read_exact(&mut word).await.is_ok()
        && &word == b"word"
}

/// Gives everybody back what they send.
async fn echo(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let (mut from, mut to) = stream.split();
            let _ = tokio::io::copy(&mut from, &mut to).await;
        });
    }
}
