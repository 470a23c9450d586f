//! Nothing is left of a test, however it ends.
//!
//! The ends are those of a child: this test binary again, with [`victim`] as its only test.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, future, io};

use rustix::process::{Pid, Signal, kill_process};
use tests::launch::Launch;
use tests::place::Place;
use tests::wait;

#[tokio::test]
async fn after_a_panic() {
    let (mut child, peer) = start_victim("panics");
    assert!(!child.wait().unwrap().success());
    assert_gone(peer).await;
}

#[tokio::test]
async fn after_ctrl_c() {
    assert_gone_after(Signal::INT).await;
}

#[tokio::test]
async fn after_sigkill() {
    assert_gone_after(Signal::KILL).await;
}

/// Started by the tests above, in a process of its own.
#[tokio::test]
async fn victim() {
    let Ok(end) = env::var(VICTIM) else { return };
    let place = Place::loopback();
    let peer = Launch::new(&place, "sleep", Path::new("/bin/sleep"))
        .arg("3600")
        .start();
    println!("{MARK}{}", peer.pid().as_raw_nonzero());
    assert_ne!(end, "panics");
    future::pending::<()>().await;
}

async fn assert_gone_after(signal: Signal) {
    let (mut child, peer) = start_victim("waits");
    kill_process(Pid::from_child(&child), signal).unwrap();
    child.wait().unwrap();
    assert_gone(peer).await;
}

/// Gives the child, and its peer.
fn start_victim(end: &str) -> (Child, Pid) {
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "gone::victim", "--nocapture"])
        .env(VICTIM, end)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(io::Result::ok);
    let peer = lines
        .into_iter()
        .find_map(|line| Some(line.split_once(MARK)?.1.parse().unwrap()))
        .unwrap();
    (child, Pid::from_raw(peer).unwrap())
}

async fn assert_gone(peer: Pid) {
    // Not a signal 0: where nobody reaps orphans, a dead one still takes signals.
    let program = format!("/proc/{}/exe", peer.as_raw_nonzero());
    wait::until(
        "the end of the peer",
        Duration::from_secs(5),
        async || match fs::read_link(&program) {
            Ok(program) => Err(format!("{} still runs", program.display())),
            Err(_) => Ok(()),
        },
    )
    .await;
}

/// Says to [`victim`] how to end.
const VICTIM: &str = "HARNESS_VICTIM";

/// Stands before the number of the victim's peer.
const MARK: &str = "peer: ";
