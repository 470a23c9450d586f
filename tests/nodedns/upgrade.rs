//! One process takes the place of another while clients ask: no question is lost. `TEST_SCALE` has it happen more
//! often.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tests::clients::Clients;
use tests::coredns::CoreDns;
use tests::dns::{Question, RecordType};
use tests::launch::Launch;
use tests::peer::{Peer, Signal};
use tests::place::Place;
use tests::program;

use crate::node::{Node, configuration, launch, zone};
use crate::servers::coredns;

/// Four clients that never ask again, each with 16 questions on their way, from a new port now and then; the
/// process is replaced again and again meanwhile.
#[tokio::test]
async fn no_datagram_is_lost_while_a_process_takes_the_place_of_another() {
    let place = Place::loopback();
    let Some(Scene {
        node,
        zones,
        _server,
    }) = Scene::start(&place).await
    else {
        return;
    };
    let clients = Clients::start(node.address, "www.example.");
    let serving = replaced(&place, node.peer, &zones).await;
    let (asked, lost) = clients.stop();
    println!(
        "{asked} questions over {} hand-overs, {lost} of them lost",
        times()
    );
    assert!(asked > 10_000, "{asked}");
    assert_eq!(lost, 0, "of {asked}");
    drop(serving);
}

/// Clients that ask on kept connections, and on a new one each time. A connection that is closed before an
/// answer has come is what RFC 7766 §6.2.4 has a client expect: it asks again, once, on a new one. One that
/// does not come about is lost.
#[tokio::test]
async fn over_tcp_nothing_is_lost_either() {
    let place = Place::loopback();
    let Some(Scene {
        node,
        zones,
        _server,
    }) = Scene::start(&place).await
    else {
        return;
    };
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = [1_000_000, 50, 1]
        .into_iter()
        .map(|questions| {
            let (stop, address) = (Arc::clone(&stop), node.address);
            thread::spawn(move || over_tcp(address, questions, &stop))
        })
        .collect();
    let serving = replaced(&place, node.peer, &zones).await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        let Asked {
            answered,
            again,
            lost,
        } = client.join().unwrap();
        println!("{answered} answered, {again} of them asked again, {lost} lost");
        assert!(answered > 1_000, "{answered}");
        assert_eq!(lost, 0, "of {answered}");
        // Once for each process that went, at most: it says goodbye when nothing is on its way.
        assert!(again <= times(), "{again} of {answered}");
    }
    drop(serving);
}

#[derive(Default)]
struct Asked {
    answered: u64,
    again: u64,
    lost: u64,
}

/// Asks one question after the other, so many on a connection, until it is to stop.
fn over_tcp(server: SocketAddr, questions: u64, stop: &AtomicBool) -> Asked {
    let packet = Question::new("www.example.", RecordType::A).wire();
    let length = u16::try_from(packet.len()).unwrap();
    let message = [&length.to_be_bytes()[..], &packet].concat();
    let mut asked = Asked::default();
    while !stop.load(Ordering::Relaxed) {
        let mut stream = match TcpStream::connect(server) {
            Ok(stream) => stream,
            // So many connections in so short a time that their ports are not free again yet.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => continue,
            Err(error) => {
                println!("not connected: {error}");
                asked.lost += 1;
                continue;
            }
        };
        for _ in 0..questions {
            if exchange(&mut stream, &message).is_err() {
                asked.again += 1;
                let anew = TcpStream::connect(server).and_then(|mut stream| {
                    exchange(&mut stream, &message)?;
                    Ok(stream)
                });
                match anew {
                    Ok(anew) => stream = anew,
                    Err(_) => {
                        asked.lost += 1;
                        break;
                    }
                }
            }
            asked.answered += 1;
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    asked
}

fn exchange(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    stream.write_all(message)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer)
}

/// Two share the addresses, and one of them hangs: each probe is answered by the process that it asks about.
#[tokio::test]
async fn each_of_two_processes_says_itself_whether_it_answers() {
    let place = Place::loopback();
    let Some(scene) = Scene::start(&place).await else {
        return;
    };
    let first = &scene.node;
    let run_dir = place.folder().join("second");
    let run_dir = format!("--run-dir={}", run_dir.display());
    let second = Launch::new(&place, "nodedns", &program::path("nodedns"))
        .args([
            "--config",
            "nodedns.yml",
            "--state-dir=second-state",
            &run_dir,
        ])
        .start();
    second.says("listening").await;
    let of_first = async || program::nodedns(&place).arg("health").run().await;
    let of_second = async || {
        let nodedns = program::path("nodedns");
        Launch::new(&place, "health", &nodedns)
            .args(["health", &run_dir])
            .run()
            .await
    };
    // Ten times: whom the kernel gives a question to is chance.
    for _ in 0..10 {
        assert_eq!(of_first().await.success(), "ready\n");
        assert_eq!(of_second().await.success(), "ready\n");
    }
    first.peer.pause();
    assert_eq!(of_second().await.success(), "ready\n");
    let hung = of_first().await;
    assert_eq!(hung.code(), 1, "{hung}");
    assert!(hung.stderr.contains("no reply from"), "{hung}");
    first.peer.resume();
    assert_eq!(of_first().await.success(), "ready\n");
    drop(second);
    let gone = of_second().await;
    assert_eq!(gone.code(), 1, "{gone}");
    assert!(gone.stderr.contains("is it running"), "{gone}");
}

/// Has the process that serves replaced so many [`times`], and gives the last one.
async fn replaced(place: &Place, mut serving: Peer, zones: &str) -> Peer {
    for _ in 0..times() {
        let next = successor(place, zones).await;
        serving.signal(Signal::TERM);
        let status = serving.exited(Duration::from_secs(10)).await.unwrap();
        assert!(status.success(), "{status}");
        serving = next;
    }
    serving
}

/// Starts a process beside the one that serves, and waits until it answers, too.
async fn successor(place: &Place, zones: &str) -> Peer {
    let next = launch(place, &configuration(place, zones)).start();
    next.says("listening").await;
    next
}

/// A server, and a process that has its answer.
struct Scene {
    node: Node,
    zones: String,
    _server: CoreDns,
}

impl Scene {
    async fn start(place: &Place) -> Option<Self> {
        let server = coredns(place, 2, "example.", "www 3600 A 192.0.2.7").await?;
        let zones = zone(".", &[server.address().to_string()]);
        let node = Node::start(place, &zones).await;
        assert_eq!(node.addresses("www.example.").await, ["192.0.2.7"]);
        Some(Self {
            node,
            zones,
            _server: server,
        })
    }
}

fn times() -> u64 {
    4 * u64::from(tests::scale())
}
