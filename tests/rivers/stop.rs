//! How rivers stops.

use std::fs::{self, DirEntry};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use tests::binaries;
use tests::peer::Signal;
use tests::place::Place;
use tests::wait;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::scene::{PATIENCE, Rivers, echo, exchange};

/// A rivers with one client, which is being served.
async fn serving(place: &Place, flags: &[&str]) -> (Rivers, TcpStream) {
    let server = place.socket_address(2, 6443);
    echo(server).await;
    let rivers = Rivers::start(place, &[server], flags).await;
    let mut client = rivers.client().await;
    exchange(&mut client).await.unwrap();
    (rivers, client)
}

async fn refuses_clients(rivers: &Rivers) {
    wait::until(
        "the listener to close",
        PATIENCE,
        async || match TcpStream::connect(rivers.listen).await {
            Ok(_) => Err("a client was accepted"),
            Err(_) => Ok(()),
        },
    )
    .await;
}

#[tokio::test]
async fn after_sigterm_connections_go_on_and_their_end_is_the_end() {
    let place = Place::loopback();
    let (mut rivers, mut client) = serving(&place, &[]).await;
    rivers.peer.signal(Signal::TERM);
    refuses_clients(&rivers).await;
    let (_, waiting) = rivers.admin.get("/readyz").await.unwrap();
    assert!(waiting.contains("draining"), "{waiting}");
    exchange(&mut client).await.unwrap();

    drop(client);
    let status = rivers.peer.exited(Duration::from_secs(5)).await;
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
}

#[tokio::test]
async fn when_the_time_is_over_connections_are_closed() {
    let place = Place::loopback();
    let (mut rivers, mut client) = serving(&place, &["--shutdown-timeout=300ms"]).await;
    let begin = Instant::now();
    rivers.peer.signal(Signal::INT);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert!(begin.elapsed() >= Duration::from_millis(300));
    let status = rivers.peer.exited(PATIENCE).await;
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    assert!(rivers.peer.log().contains("reason=shutdown"));
}

#[tokio::test]
async fn a_timeout_of_0_waits_and_a_second_signal_does_not() {
    let place = Place::loopback();
    let (mut rivers, mut client) = serving(&place, &["-shutdown-timeout", "0"]).await;
    rivers.peer.signal(Signal::TERM);
    refuses_clients(&rivers).await;
    exchange(&mut client).await.unwrap();

    rivers.peer.signal(Signal::TERM);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    let status = rivers.peer.exited(PATIENCE).await;
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
}

#[tokio::test]
async fn a_worker_that_fails_ends_the_process_so_that_it_is_started_again() {
    let Some(strace) = binaries::packaged("strace") else {
        return;
    };
    let place = Place::loopback();
    let (mut rivers, _client) = serving(&place, &[]).await;
    // From now on the kernel refuses what the worker waits with.
    let mut kernel = Command::new(strace)
        .args(["-qq", "-o", "/dev/null"])
        .args(["-e", "inject=/^epoll_p?wait:error=EBADF"])
        .args(["-p", &thread_called("worker 0", rivers.peer.pid())])
        .spawn()
        .unwrap();
    let status = rivers.peer.exited(PATIENCE).await;
    let log = rivers.peer.log();
    kernel.kill().unwrap();
    kernel.wait().unwrap();
    assert_eq!(status.and_then(|status| status.code()), Some(1), "{log}");
    assert!(log.contains("a worker cannot go on"), "{log}");
    assert!(log.contains("worker 0 ended by itself"), "{log}");
}

/// The number of this thread of a process.
fn thread_called(name: &str, process: Pid) -> String {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let mut threads = threads.map(|thread| thread.unwrap());
    let is_called = |thread: &DirEntry| {
        let comm = fs::read_to_string(thread.path().join("comm")).unwrap();
        comm.trim_end() == name
    };
    let thread = threads.find(is_called).unwrap();
    thread.file_name().into_string().unwrap()
}
