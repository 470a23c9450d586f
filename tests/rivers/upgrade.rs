//! A new process takes over from the one that serves.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tests::launch::Launch;
use tests::peer::{Peer, Signal};
use tests::place::Place;
use tests::{program, wait};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::scene::{PATIENCE, Rivers, admin, echo, exchange, listen};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_change_hands_and_not_a_byte_is_lost() {
    let place = Place::loopback();
    let server = server(&place).await;
    let mut old = first(&place, server, &[]).await;
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        let mut client = old.client().await;
        exchange(&mut client).await.unwrap();
        idle.push(client);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut busy = JoinSet::new();
    for number in 0..BUSY {
        busy.spawn(stream(old.client().await, number, Arc::clone(&stop)));
    }

    let new = next(&place, server, &[]);
    new.says("took over").await;
    let status = old.peer.exited(Duration::from_secs(2)).await;
    assert!(status.is_some_and(|status| status.success()), "{status:?}");

    for client in &mut idle {
        exchange(client).await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let streamed: u64 = busy.join_all().await.iter().sum();
    assert!(streamed > 0);
    println!("{BUSY} busy connections carried {streamed} bytes across the hand-over");
    exchange(&mut TcpStream::connect(old.listen).await.unwrap())
        .await
        .unwrap();
    assert_eq!(old.admin.get("/healthz").await.unwrap().0, 200);
}

#[tokio::test]
async fn a_client_that_waits_for_an_upstream_is_served_by_the_new_process() {
    let place = Place::loopback();
    let nobody = place.socket_address(2, 6443);
    let mut old = first(&place, nobody, &["--dial-timeout=30s"]).await;
    let mut client = old.client().await;
    client.write_all(b"word").await.unwrap();
    let new = next(&place, nobody, &["--dial-timeout=30s"]);
    new.says("took over").await;
    old.peer.exited(Duration::from_secs(2)).await.unwrap();
    echo(nobody).await;
    let mut word = [0; 4];
    client.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"word");
}

#[tokio::test]
async fn a_new_process_that_breaks_off_leaves_everything_with_the_old_one() {
    let place = Place::loopback();
    let server = server(&place).await;
    let mut old = first(&place, server, &[]).await;
    let mut client = old.client().await;
    exchange(&mut client).await.unwrap();
    for read in [0, 8, 100] {
        let mut line = line(&place).await;
        say(
            &mut line,
            r#"{"message":"hello","protocol":1,"version":"9.9.9","generation":9}"#,
        );
        line.read_exact(&mut vec![0; read]).unwrap();
        drop(line);
        exchange(&mut client).await.unwrap();
        exchange(&mut old.client().await).await.unwrap();
    }
    assert!(old.peer.is_running());
    // And a real one still can.
    let new = next(&place, server, &[]);
    new.says("took over").await;
    exchange(&mut client).await.unwrap();
}

#[tokio::test]
async fn another_protocol_is_refused_in_words_and_the_old_process_serves_on() {
    let place = Place::loopback();
    let server = server(&place).await;
    let old = first(&place, server, &[]).await;
    let mut line = line(&place).await;
    say(
        &mut line,
        r#"{"message":"hello","protocol":2,"version":"9.9.9","generation":9}"#,
    );
    let mut answer = Vec::new();
    line.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.contains("speaks protocol 1 of the hand-over and the new one 2"),
        "{answer}"
    );
    old.peer.says("refused to hand over").await;
    exchange(&mut old.client().await).await.unwrap();
}

#[tokio::test]
async fn an_older_generation_ends_with_a_clear_word() {
    let place = Place::loopback();
    let server = server(&place).await;
    let old = first(&place, server, &["--generation=7"]).await;
    let output = launch(&place, server, &["--generation=6"]).run().await;
    assert_eq!(output.code(), 1, "{output}");
    assert!(
        output
            .stderr
            .contains("it is of generation 7 and the new one of 6"),
        "{output}"
    );
    exchange(&mut old.client().await).await.unwrap();
}

/// Whoever may not look does not know whether anybody serves.
#[tokio::test]
async fn a_socket_of_another_user_is_named_with_what_to_do() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let server = server(&place).await;
    fs::create_dir(socket(&place).parent().unwrap()).unwrap();
    let _other = UnixListener::bind(socket(&place)).unwrap();
    fs::set_permissions(socket(&place), fs::Permissions::from_mode(0o000)).unwrap();
    // Root without the capability to go past that.
    let output = Launch::new(&place, "rivers", Path::new("setpriv"))
        .arg("--bounding-set=-all")
        .arg(program::path("rivers"))
        .args(arguments(&place, server))
        .run()
        .await;
    assert_eq!(output.code(), 1, "{output}");
    let said = "start this one as that user, or give it a --run-dir of its own\n";
    assert!(output.stderr.ends_with(said), "{output}");
}

#[tokio::test]
async fn in_a_pod_nothing_is_taken_back_by_an_older_generation() {
    let place = Place::loopback();
    let server = server(&place).await;
    let in_pod = |generation| ["--when-replaced=wait", generation];
    let mut old = first(&place, server, &in_pod("--generation=1")).await;
    let mut client = old.client().await;
    exchange(&mut client).await.unwrap();

    let mut new = next(&place, server, &in_pod("--generation=2"));
    new.says("took over").await;
    old.peer.says("waiting for SIGTERM").await;
    assert!(old.peer.is_running());
    exchange(&mut client).await.unwrap();

    // Its container ends all the same, and kubelet starts it again.
    old.peer.restart();
    old.peer.says("waiting until it is gone").await;
    exchange(&mut client).await.unwrap();
    exchange(&mut old.client().await).await.unwrap();
    assert!(new.is_running());

    // The new one is gone for good: better the old version than none.
    new.kill();
    let mut served = wait::until("the old one to serve", PATIENCE, async || {
        TcpStream::connect(old.listen).await
    })
    .await;
    exchange(&mut served).await.unwrap();

    old.peer.signal(Signal::TERM);
    drop(served);
    assert!(old.peer.exited(PATIENCE).await.unwrap().success());
}

#[tokio::test]
async fn a_process_that_waits_for_nothing_more_than_sigterm_ends_by_it() {
    let place = Place::loopback();
    let server = server(&place).await;
    let mut old = first(&place, server, &["--when-replaced=wait"]).await;
    let new = next(&place, server, &[]);
    new.says("took over").await;
    old.peer.says("waiting for SIGTERM").await;
    old.peer.signal(Signal::TERM);
    assert!(old.peer.exited(PATIENCE).await.unwrap().success());
}

/// A pod has processes of its own: neither sees the number of the other.
#[tokio::test]
async fn a_process_takes_over_from_one_of_another_pod() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let server = server(&place).await;
    let in_pod = |generation: &str| {
        Launch::new(&place, "rivers", Path::new("unshare"))
            .args(["--pid", "--fork", "--kill-child=KILL", "--"])
            .arg(program::path("rivers"))
            .args(arguments(&place, server))
            .args(["--when-replaced=wait", generation])
            .start()
    };
    let old = in_pod("--generation=1");
    let old = Rivers::accepting(old, listen(&place), admin(&place)).await;
    let mut client = old.client().await;
    exchange(&mut client).await.unwrap();
    let new = in_pod("--generation=2");
    new.says("took over").await;
    exchange(&mut client).await.unwrap();
}

/// Its supervisor starts it again, and then it serves: a unit beside a DaemonSet that has been deleted.
#[tokio::test]
async fn a_process_that_waits_ends_when_nobody_serves_any_more() {
    let place = Place::loopback();
    let server = server(&place).await;
    let mut old = first(&place, server, &["--when-replaced=wait"]).await;
    let mut new = next(&place, server, &["--generation=1"]);
    new.says("took over").await;
    old.peer.says("waiting for SIGTERM").await;
    new.kill();
    assert!(old.peer.exited(PATIENCE).await.unwrap().success());
    old.peer.says("nobody serves any more").await;
}

async fn server(place: &Place) -> SocketAddr {
    let server = place.socket_address(2, 6443);
    echo(server).await;
    server
}

async fn first(place: &Place, server: SocketAddr, flags: &[&str]) -> Rivers {
    let peer = launch(place, server, flags).start();
    let rivers = Rivers::accepting(peer, listen(place), admin(place)).await;
    // It accepts clients a moment before it can be asked for them.
    let socket = socket(place);
    wait::until("the socket of the hand-over", PATIENCE, async || {
        fs::metadata(&socket)
    })
    .await;
    rivers
}

/// The same program once more, as an upgrade starts it.
fn next(place: &Place, server: SocketAddr, flags: &[&str]) -> Peer {
    launch(place, server, flags).start()
}

fn launch(place: &Place, server: SocketAddr, flags: &[&str]) -> Launch {
    program::rivers(place)
        .args(arguments(place, server))
        .args(flags)
}

fn arguments(place: &Place, server: SocketAddr) -> [String; 4] {
    [
        format!("--listen={}", listen(place)),
        format!("--upstreams={server}"),
        format!("--admin={}", admin(place)),
        program::run_dir(place),
    ]
}

fn socket(place: &Place) -> PathBuf {
    place.folder().join(format!("run/{}.sock", listen(place)))
}

/// A conversation with the process that serves; its socket is there a moment before somebody listens.
async fn line(place: &Place) -> UnixStream {
    wait::until("the hand-over", PATIENCE, async || {
        UnixStream::connect(socket(place))
    })
    .await
}

/// Sends a message of the hand-over, without payload.
fn say(line: &mut UnixStream, text: &str) {
    let length = u32::try_from(text.len()).unwrap();
    let header = [length.to_le_bytes(), [0; 4]].concat();
    line.write_all(&[&header, text.as_bytes()].concat())
        .unwrap();
}

/// Sends bytes that are different everywhere, and reads them back, until it is told to stop. Gives how many.
async fn stream(client: TcpStream, number: u64, stop: Arc<AtomicBool>) -> u64 {
    let (mut from, mut to) = client.into_split();
    let writer = tokio::spawn(async move {
        let mut sent = 0;
        while !stop.load(Ordering::Relaxed) {
            to.write_all(&chunk(number, sent)).await.unwrap();
            sent += CHUNK;
            // As fast as they can they would keep the test itself from its turn.
            sleep(Duration::from_millis(20)).await;
        }
        to.shutdown().await.unwrap();
        sent
    });
    let mut received = 0;
    let mut bytes = vec![0; CHUNK as usize];
    // The echo ends with our FIN, at the end of a chunk.
    while from.read_exact(&mut bytes).await.is_ok() {
        assert!(
            bytes == chunk(number, received),
            "connection {number} at byte {received}"
        );
        received += CHUNK;
    }
    assert_eq!(received, writer.await.unwrap());
    received
}

fn chunk(number: u64, at: u64) -> Vec<u8> {
    (at..at + CHUNK)
        .step_by(8)
        .flat_map(|at| (at ^ number << 48).to_le_bytes())
        .collect()
}

const IDLE: usize = 900;
const BUSY: u64 = 100;
const CHUNK: u64 = 4 * 1024;
