//! What happens when there is not enough of something.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tests::binaries;
use tests::launch::Launch;
use tests::place::Place;
use tests::{program, wait};
use tokio::time::timeout;

use crate::scene::{PATIENCE, Rivers, admin, echo, exchange, listen};

#[tokio::test]
async fn without_descriptors_clients_wait_and_are_served_once_there_are_some() {
    let place = Place::loopback();
    let Some(prlimit) = binaries::packaged("prlimit") else {
        return;
    };
    let server = place.socket_address(2, 6443);
    echo(server).await;
    let rivers = with_few_descriptors(&place, &prlimit, &server.to_string()).await;
    rivers.ready().await;

    // The kernel completes their handshakes; rivers has descriptors for a part of them.
    let mut clients = Vec::new();
    for _ in 0..FILES {
        clients.push(rivers.client().await);
    }
    rivers.says("cannot accept clients").await;
    let before = cpu_ticks(&rivers);
    assert!(rivers.metric("rivers_accept_errors_total", &[]).await >= 1.0);
    let spent = {
        // A wait, not a condition: what is looked for is that nothing happens.
        let _ = timeout(Duration::from_secs(1), std::future::pending::<()>()).await;
        cpu_ticks(&rivers) - before
    };
    assert!(spent < 30, "{spent} ticks of CPU in a second of waiting");

    drop(clients);
    wait::until("a client to be served", PATIENCE, async || {
        let exchanged = timeout(Duration::from_secs(5), async {
            exchange(&mut rivers.client().await).await
        });
        exchanged
            .await
            .map_err(|late| late.to_string())?
            .map_err(|error| error.to_string())
    })
    .await;
    rivers.says("accepts clients again").await;
}

async fn with_few_descriptors(place: &Place, prlimit: &Path, upstream: &str) -> Rivers {
    let (listen, admin) = (listen(place), admin(place));
    // The program's path is the harness's to know; its command line begins with it.
    let command = program::rivers(place)
        .arg(format!("--listen={listen}"))
        .arg(format!("--upstreams={upstream}"))
        .arg(format!("--admin={admin}"))
        .to_string();
    let peer = Launch::new(place, "rivers", prlimit)
        .arg(format!("--nofile={FILES}:{FILES}"))
        .args(command.split(' '))
        .start();
    Rivers::accepting(peer, listen, admin).await
}

/// The CPU time that it has used, in clock ticks of 10 ms.
fn cpu_ticks(rivers: &Rivers) -> u64 {
    let pid = rivers.peer.pid().as_raw_nonzero();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // proc_pid_stat(5): the name, in parentheses, is the second field; utime and stime are 14 and 15.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = fields.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

const FILES: usize = 64;
