//! What a test can do to a process that it started.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use tests::launch::Launch;
use tests::peer::{Peer, Signal};
use tests::place::Place;
use tests::wait;

#[tokio::test]
async fn a_paused_process_stands_still_until_it_is_resumed() {
    let place = Place::loopback();
    let peer = shell(&place, "while :; do :; done");
    reaches(&peer, "R").await;
    peer.pause();
    reaches(&peer, "T").await;
    peer.resume();
    reaches(&peer, "R").await;
}

#[tokio::test]
async fn a_restarted_process_is_another_with_the_same_log() {
    let place = Place::loopback();
    let mut peer = shell(&place, "echo here; exec sleep 3600");
    says(&peer, "here\n").await;
    let before = peer.pid();
    peer.restart();
    says(&peer, "here\nhere\n").await;
    assert_ne!(peer.pid(), before);
    assert!(peer.is_running());
}

#[tokio::test]
async fn a_stopped_process_may_end_in_its_own_way_and_a_killed_one_may_not() {
    let place = Place::loopback();
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done";
    let mut peer = shell(&place, script);
    says(&peer, "ready\n").await;
    assert_eq!(peer.stop().await.code(), Some(7));

    peer.restart();
    assert_eq!(peer.kill().signal(), Some(Signal::KILL.as_raw()));
    assert!(!peer.is_running());
}

#[tokio::test]
#[should_panic(expected = "no such thing")]
async fn a_process_that_ends_before_it_is_ready_shows_its_log() {
    let place = Place::loopback();
    let mut peer = shell(&place, "echo no such thing");
    let never = async || Err::<(), _>("never");
    peer.ready(Duration::from_secs(10), never).await;
}

fn shell(place: &Place, script: &str) -> Peer {
    Launch::new(place, "sh", Path::new("/bin/sh"))
        .args(["-c", script])
        .start()
}

async fn says(peer: &Peer, expected: &str) {
    wait::until("its words", Duration::from_secs(10), async || {
        match peer.log() {
            log if log == expected => Ok(()),
            log => Err(format!("{log:?}")),
        }
    })
    .await;
}

/// Waits until the process is in this state, as `ps` writes it.
async fn reaches(peer: &Peer, state: &str) {
    let file = format!("/proc/{}/stat", peer.pid().as_raw_nonzero());
    wait::until("the state", Duration::from_secs(10), async || {
        let stat = fs::read_to_string(&file).map_err(|error| error.to_string())?;
        let found = stat.rsplit(") ").next().map_or("", |fields| &fields[..1]);
        if found == state {
            Ok(())
        } else {
            Err(format!("state {found}"))
        }
    })
    .await;
}
