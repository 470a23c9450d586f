//! What connections cost while nothing happens on them.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tests::peer::Peer;
use tests::place::Place;
use tokio::net::TcpStream;

use crate::scene::{Rivers, echo, exchange};

#[tokio::test]
async fn ten_thousand_idle_connections_cost_half_a_kibibyte_each() {
    let place = Place::loopback();
    let server = place.socket_address(2, 6443);
    echo(server).await;
    let connections = as_many_as_can_be_open();
    let rivers = Rivers::start(&place, &[server], &[]).await;
    // What is needed once, or for the first ones, is nobody's.
    let mut clients = served(&rivers, WARM).await;
    let before = [
        user_bytes(&rivers.peer),
        kernel_bytes(),
        pipes(&rivers.peer),
    ];

    let more = connections - WARM;
    clients.extend(served(&rivers, more).await);
    let after = [
        user_bytes(&rivers.peer),
        kernel_bytes(),
        pipes(&rivers.peer),
    ];
    let [user, kernel] = [0, 1].map(|it| after[it].saturating_sub(before[it]) / more);
    println!(
        "{connections} idle connections: {user} bytes of user memory each; {kernel} bytes each of the \
         kernel's slabs, for all four ends, half of which are rivers'"
    );
    assert!(user <= 512, "{user}");
    assert_eq!(after[2], before[2], "an idle connection holds a pipe");
}

/// Ten thousand, unless this user may not have so many descriptors: rivers, which inherits the limit, takes
/// two each, and so does this process.
fn as_many_as_can_be_open() -> usize {
    let hard = getrlimit(Resource::Nofile).maximum;
    let all = Rlimit {
        current: hard,
        maximum: hard,
    };
    setrlimit(Resource::Nofile, all).unwrap();
    let most = hard.map_or(usize::MAX, |hard| usize::try_from(hard).unwrap());
    assert!(
        most >= 4_096,
        "{most} descriptors are too few to tell anything"
    );
    CONNECTIONS.min(most / 2 - SPARE)
}

/// Clients that have got an answer, and say nothing any more.
async fn served(rivers: &Rivers, count: usize) -> Vec<TcpStream> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = rivers.client().await;
        exchange(&mut client).await.unwrap();
        clients.push(client);
    }
    clients
}

/// The memory of a process that is no file's.
pub(crate) fn user_bytes(peer: &Peer) -> usize {
    let status = format!("/proc/{}/status", peer.pid().as_raw_nonzero());
    kibibytes(&status, "RssAnon:")
}

/// The structures of the kernel: sockets, files, what epoll keeps of them.
fn kernel_bytes() -> usize {
    kibibytes("/proc/meminfo", "Slab:")
}

fn kibibytes(file: &str, name: &str) -> usize {
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    1_024 * number.parse::<usize>().unwrap()
}

/// How many ends of pipes a process holds.
fn pipes(peer: &Peer) -> usize {
    let descriptors = format!("/proc/{}/fd", peer.pid().as_raw_nonzero());
    let descriptors = fs::read_dir(descriptors).unwrap().flatten();
    let targets = descriptors.filter_map(|it| fs::read_link(it.path()).ok());
    targets
        .filter(|it| it.to_string_lossy().starts_with("pipe:"))
        .count()
}

const CONNECTIONS: usize = 10_000;
const WARM: usize = 500;
/// Descriptors for all else, other tests at the same time included, in pairs.
const SPARE: usize = 500;
