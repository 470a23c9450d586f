//! What happens when there is not enough of something.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, prlimit};
use tests::place::Place;
use tests::{program, wait};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::scene::{PATIENCE, Rivers, admin, echo, exchange, listen};

#[tokio::test]
async fn clients_beyond_the_limit_wait_and_none_is_lost() {
    let place = Place::loopback();
    let rivers = limited(&place, "max_connections: 10").await;
    let mut served = Vec::new();
    for _ in 0..10 {
        let mut client = rivers.client().await;
        exchange(&mut client).await.unwrap();
        served.push(client);
    }
    let waiting = JoinSet::from_iter((0..50).map(|_| {
        let listen = rivers.listen;
        async move {
            let mut client = TcpStream::connect(listen).await.unwrap();
            exchange(&mut client).await
        }
    }));
    rivers
        .peer
        .says("as many connections as there may be")
        .await;
    // The limit holds for clients, not for those who look.
    assert_eq!(rivers.admin.get("/healthz").await.unwrap().0, 200);

    drop(served);
    for exchanged in waiting.join_all().await {
        exchanged.unwrap();
    }
    exchange(&mut rivers.client().await).await.unwrap();
    rivers.peer.says("accepts clients again").await;
}

#[tokio::test]
async fn without_descriptors_rivers_waits_and_does_not_spin() {
    let place = Place::loopback();
    let rivers = limited(&place, "max_connections: 1000").await;
    let few = Rlimit {
        current: Some(FILES),
        maximum: Some(FILES),
    };
    prlimit(Some(rivers.peer.pid()), Resource::Nofile, few).unwrap();
    let mut clients = Vec::new();
    for _ in 0..FILES {
        // One that took the last descriptor is reset: none is left to dial with.
        if let Ok(client) = TcpStream::connect(rivers.listen).await {
            clients.push(client);
        }
    }
    rivers.peer.says("cannot accept clients").await;
    let before = cpu_ticks(&rivers);
    // A wait, not a condition: what is looked for is that nothing happens.
    let _ = timeout(Duration::from_secs(1), std::future::pending::<()>()).await;
    let spent = cpu_ticks(&rivers) - before;
    assert!(spent < 30, "{spent} ticks of CPU in a second of waiting");

    drop(clients);
    wait::until("a client to be served", PATIENCE, async || {
        let mut client = rivers.client().await;
        let exchanged = timeout(Duration::from_secs(5), exchange(&mut client)).await;
        exchanged
            .map_err(|late| late.to_string())?
            .map_err(|error| error.to_string())
    })
    .await;
    rivers.peer.says("accepts clients again").await;
    assert!(rivers.admin.metric("rivers_accept_errors_total", &[]).await >= 1.0);
}

/// A rivers with this line in its file, in front of one server.
async fn limited(place: &Place, line: &str) -> Rivers {
    let (listen, admin) = (listen(place), admin(place));
    let server = place.socket_address(2, 6443);
    let text = format!(
        "listeners: [{{listen: '{listen}', upstreams: ['{server}']}}]\nadmin: '{admin}'\n{line}\n"
    );
    fs::write(place.folder().join("rivers.yml"), text).unwrap();
    echo(server).await;
    let rivers = program::rivers(place)
        .args(["--config", "rivers.yml"])
        .arg(program::run_dir(place));
    Rivers::accepting(rivers.start(), listen, admin).await
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

const FILES: u64 = 64;
