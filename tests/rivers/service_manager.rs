//! Under a service manager that speaks systemd's protocols, played by the test: sockets that it passes, what it
//! is told, and a reload once another version of the program has been installed.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tests::launch::Launch;
use tests::peer::Signal;
use tests::place::Place;
use tests::program;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::scene::{PATIENCE, Rivers, admin, echo, exchange, listen};

#[tokio::test]
async fn a_client_that_comes_after_a_crash_is_served_by_the_next_process() {
    let place = Place::loopback();
    let server = server(&place).await;
    let socket = TcpListener::bind(listen(&place)).unwrap();
    // As systemd does: the number is set when the process is there, and the socket is its fourth descriptor.
    let script = r#"exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0" "$@""#;
    let peer = Launch::new(&place, "rivers", Path::new("sh"))
        .args(["-c", script])
        .arg(program::path("rivers"))
        .args(flags(&place, server))
        .stdin(socket)
        .start();
    // The socket takes clients in any case, so only an answer shows that somebody serves them.
    let mut rivers = Rivers::accepting(peer, listen(&place), admin(&place)).await;
    exchange(&mut rivers.client().await).await.unwrap();

    rivers.peer.kill();
    let mut client = rivers.client().await;
    client.write_all(b"word").await.unwrap();
    rivers.peer.restart();
    let mut word = [0; 4];
    client.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"word");
}

#[tokio::test]
async fn the_manager_hears_of_start_reload_life_and_stop() {
    let place = Place::loopback();
    let server = server(&place).await;
    let manager = Manager::new(&place);
    let peer = program::rivers(&place)
        .args(flags(&place, server))
        .env("NOTIFY_SOCKET", &manager.path)
        .env("WATCHDOG_USEC", "200000")
        .start();
    assert_eq!(manager.next().await, "READY=1");
    for _ in 0..3 {
        assert_eq!(manager.next().await, "WATCHDOG=1");
    }

    peer.signal(Signal::HUP);
    let reloading = manager.next_but("WATCHDOG=1").await;
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(manager.next_but("WATCHDOG=1").await, "READY=1");
    peer.signal(Signal::TERM);
    assert_eq!(manager.next_but("WATCHDOG=1").await, "STOPPING=1");
}

#[tokio::test]
async fn a_reload_starts_the_program_that_was_installed_meanwhile() {
    let place = Place::loopback();
    let server = server(&place).await;
    let installed = install(&place, &program::path("rivers"));
    let _successors = Killed(installed.clone());
    let manager = Manager::new(&place);
    let peer = Launch::new(&place, "rivers", &installed)
        .args(flags(&place, server))
        .env("NOTIFY_SOCKET", &manager.path)
        .start();
    let mut old = Rivers::accepting(peer, listen(&place), admin(&place)).await;
    let mut client = old.client().await;
    exchange(&mut client).await.unwrap();

    // The same file again is no other version: the reload is one of the configuration.
    old.peer.signal(Signal::HUP);
    old.peer.says("SIGHUP changes nothing").await;

    install(&place, &program::path("rivers"));
    old.peer.signal(Signal::HUP);
    let successor = loop {
        if let Some(pid) = manager.next().await.strip_prefix("MAINPID=") {
            break pid.to_owned();
        }
    };
    let status = old.peer.exited(Duration::from_secs(2)).await;
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    let runs = fs::read_link(format!("/proc/{successor}/exe")).unwrap();
    assert_eq!(runs, installed);
    exchange(&mut client).await.unwrap();
    exchange(&mut old.client().await).await.unwrap();
}

#[tokio::test]
async fn a_program_that_cannot_run_leaves_the_old_one_serving() {
    let place = Place::loopback();
    let server = server(&place).await;
    let installed = install(&place, &program::path("rivers"));
    let peer = Launch::new(&place, "rivers", &installed)
        .args(flags(&place, server))
        .start();
    let old = Rivers::accepting(peer, listen(&place), admin(&place)).await;
    let mut client = old.client().await;
    exchange(&mut client).await.unwrap();

    install(&place, Path::new("/bin/false"));
    old.peer.signal(Signal::HUP);
    old.peer
        .says("the program that was started has ended")
        .await;
    exchange(&mut client).await.unwrap();
    exchange(&mut old.client().await).await.unwrap();
}

async fn server(place: &Place) -> SocketAddr {
    let server = place.socket_address(2, 6443);
    echo(server).await;
    server
}

/// Puts a program where rivers is started from. Another process copies it: one that this process forks meanwhile
/// for another test would have the file open for writing, and nobody could start it.
fn install(place: &Place, program: &Path) -> PathBuf {
    let [next, installed] = ["rivers.next", "rivers"].map(|name| place.folder().join(name));
    let copied = Command::new("cp").arg(program).arg(&next).status();
    assert!(copied.is_ok_and(|status| status.success()));
    fs::rename(&next, &installed).unwrap();
    installed
}

fn flags(place: &Place, server: SocketAddr) -> [String; 4] {
    [
        format!("--listen={}", listen(place)),
        format!("--upstreams={server}"),
        format!("--admin={}", admin(place)),
        program::run_dir(place),
    ]
}

/// The manager's ear.
struct Manager {
    path: PathBuf,
    socket: tokio::net::UnixDatagram,
}

impl Manager {
    fn new(place: &Place) -> Self {
        let path = place.folder().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            socket: tokio::net::UnixDatagram::from_std(socket).unwrap(),
            path,
        }
    }

    async fn next(&self) -> String {
        let mut message = [0; 256];
        let received = tokio::time::timeout(PATIENCE, self.socket.recv(&mut message)).await;
        let length = received.expect("the manager is told something").unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    async fn next_but(&self, ignored: &str) -> String {
        loop {
            let message = self.next().await;
            if message != ignored {
                return message;
            }
        }
    }
}

/// Processes that were not started by the test itself end with it all the same: all that run this file.
struct Killed(PathBuf);

impl Drop for Killed {
    fn drop(&mut self) {
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let runs = fs::read_link(process.path().join("exe"));
            let pid = process.file_name().to_str().and_then(|it| it.parse().ok());
            if runs.is_ok_and(|runs| runs == self.0)
                && let Some(pid) = pid.and_then(rustix::process::Pid::from_raw)
            {
                // It may have ended meanwhile.
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
    }
}
