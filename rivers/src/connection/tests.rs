//! Connections over real sockets of the loopback interface, on a worker of their own.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
};

use daemon::readiness::Readiness;
use rand::{Rng, SeedableRng};
use socket2::SockRef;

use super::*;
use crate::{
    config::{Balance, Health, Listener, address::Address, listen::ListenAddress},
    decide::{Core, ListenerId},
    published::Published,
    vanished::Vanished,
    worker::{Shared, alone::Alone, slots::Slots},
};

const ID: ListenerId = ListenerId(0);

/// A listener whose clients are served, and an upstream that the test plays.
struct Case {
    listener: Listener,
    shared: Shared,
    /// Kept, so that events have somewhere to go.
    events: mpsc::Receiver<Event>,
}

impl Case {
    fn new(upstreams: &[Address]) -> Self {
        let mut core = Core::new(1);
        core.listen(ID, upstreams, Health::default(), Instant::now());
        let (sender, events) = mpsc::channel(16);
        Self {
            listener: Listener {
                name: "test".to_owned(),
                listen: ListenAddress::Any { port: 0 },
                upstreams: upstreams.to_vec(),
                discovery: None,
                balance: Balance::RoundRobin,
                dial_timeout: Duration::from_secs(3),
                keepalive: LIMIT,
                replay: Replay::Tls,
                rebalance: None,
                health: Health::default(),
            },
            shared: Shared {
                published: Arc::new(Published::new(core.snapshot())),
                events: sender,
                slots: Slots::new(16),
                readiness: Readiness::new(),
            },
            events,
        }
    }

    /// Serves one client, which `play` plays on a thread of its own with blocking sockets.
    fn serve<T: Send + 'static>(
        &self,
        play: impl FnOnce(TcpStream) -> T + Send + 'static,
    ) -> (CloseReason, T) {
        self.serve_with(|_| {}, play)
    }

    /// The same, and calls `meanwhile` between the turns of the loop.
    fn serve_with<T: Send + 'static>(
        &self,
        meanwhile: impl FnMut(&mut Alone),
        play: impl FnOnce(TcpStream) -> T + Send + 'static,
    ) -> (CloseReason, T) {
        let mut worker = Alone::new(&self.shared, ID, &self.listener);
        let address = worker.address;
        let player = thread::spawn(move || play(connect(address)));
        let reason = worker.until_a_connection_ends(LIMIT, meanwhile);
        (reason, player.join().unwrap())
    }
}

#[test]
fn a_fault_ends_the_connections_that_meet_it_and_the_worker_serves_on() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let case = Case::new(&[listener.local_addr().unwrap().into()]);
    let mut worker = Alone::new(&case.shared, ID, &case.listener);
    let broken = connect(worker.address);
    worker.until_alive(1, LIMIT);
    worker.break_all();
    worker.until_alive(0, LIMIT);
    // Its sockets are closed.
    assert_eq!(read_to_end(&broken), b"");

    let mut client = connect(worker.address);
    client.write_all(b"word").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let server = thread::spawn(move || {
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            // The first one was the broken one's.
            if read_to_end(&stream) == b"word" {
                stream.write_all(b"answer").unwrap();
                return;
            }
        }
    });
    let reason = worker.until_a_connection_ends(LIMIT, |_| {});
    assert_eq!(reason, CloseReason::Finished(Side::Client));
    assert_eq!(read_to_end(&client), b"answer");
    server.join().unwrap();
}

#[test]
fn of_any_number_of_connections_those_whose_clients_have_vanished_are_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut case = Case::new(&[listener.local_addr().unwrap().into()]);
    // More than are looked at in two turns of the loop.
    case.shared.slots = Slots::new(150);
    let mut worker = Alone::new(&case.shared, ID, &case.listener);
    let server = thread::spawn(move || {
        let serve = |_| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"!").unwrap();
            stream
        };
        (0..150).map(serve).collect::<Vec<_>>()
    });
    let client = |_| {
        let client = connect(worker.address);
        // So that the queue of the listener is never full.
        worker.turn();
        client
    };
    let clients: Vec<_> = (0..150).map(client).collect();
    // They are served once they have heard something.
    for client in &clients {
        client.set_nonblocking(true).unwrap();
        while client.peek(&mut [0]).is_err() {
            worker.turn();
        }
    }
    let (vanished, live) = clients.split_at(140);
    let ends = |client: &TcpStream| [client.peer_addr().unwrap(), client.local_addr().unwrap()];
    worker.bury(Vanished::of(vanished.iter().map(ends)));
    worker.until_alive(live.len(), LIMIT);
    for mut client in vanished {
        let error = client.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    for mut client in live {
        let error = client.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
    drop(server.join().unwrap());
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// An upstream that `play` plays with the one connection that it gets.
fn upstream<T: Send + 'static>(
    play: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (Address, thread::JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().into();
    let player = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        play(stream)
    });
    (address, player)
}

/// An address on which nobody listens.
fn nobody() -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().into()
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);
}

fn read_to_end(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

fn random_bytes(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; 5_000_003];
    SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

#[test]
fn bytes_arrive_unchanged_both_ways_at_once() {
    let exchange = |stream: TcpStream, seed| {
        let sending = stream.try_clone().unwrap();
        let sender = thread::spawn(move || {
            (&sending).write_all(&random_bytes(seed)).unwrap();
            sending.shutdown(Shutdown::Write).unwrap();
        });
        let received = read_to_end(&stream);
        sender.join().unwrap();
        received
    };
    let (address, server) = upstream(move |stream| exchange(stream, 1));
    let case = Case::new(&[address]);
    let (reason, received) = case.serve(move |stream| exchange(stream, 2));
    assert!(matches!(reason, CloseReason::Finished(_)), "{reason}");
    assert!(received == random_bytes(1), "what the client got differs");
    assert!(
        server.join().unwrap() == random_bytes(2),
        "what the upstream got differs"
    );
}

#[test]
fn a_fin_passes_while_the_other_direction_goes_on() {
    let (address, server) = upstream(|mut stream| {
        let request = read_to_end(&stream);
        stream.write_all(b"the answer").unwrap();
        request
    });
    let (reason, answer) = Case::new(&[address]).serve(|mut stream| {
        stream.write_all(b"the question").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        read_to_end(&stream)
    });
    assert_eq!(reason.word(), "client_finished");
    assert_eq!(server.join().unwrap(), b"the question");
    assert_eq!(answer, b"the answer");
}

#[test]
fn a_reset_by_the_upstream_reaches_the_client_after_its_last_words() {
    let (address, _) = upstream(|mut stream| {
        stream.read_exact(&mut [0; 2]).unwrap();
        stream.write_all(b"last words").unwrap();
        reset(stream);
    });
    let (reason, (words, error)) = Case::new(&[address]).serve(|mut stream| {
        stream.write_all(b"hi").unwrap();
        let mut words = [0; 10];
        stream.read_exact(&mut words).unwrap();
        (words, stream.read(&mut [0]).unwrap_err().kind())
    });
    assert_eq!(reason.word(), "upstream_reset");
    assert_eq!(&words, b"last words");
    assert_eq!(error, io::ErrorKind::ConnectionReset);
}

#[test]
fn a_reset_by_the_client_reaches_the_upstream() {
    let (address, server) = upstream(|mut stream| {
        stream.write_all(b"hi").unwrap();
        stream.read(&mut [0]).unwrap_err().kind()
    });
    let (reason, ()) = Case::new(&[address]).serve(|mut stream| {
        stream.read_exact(&mut [0; 2]).unwrap();
        reset(stream);
    });
    assert_eq!(reason.word(), "client_reset");
    assert_eq!(server.join().unwrap(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_client_that_has_finished_and_then_resets_is_not_waited_for() {
    let (address, server) = upstream(|mut stream| {
        let request = read_to_end(&stream);
        // Says nothing more, and would keep the connection for ever.
        (request, stream.read(&mut [0; 1]).unwrap_or(99), stream)
    });
    let (reason, ()) = Case::new(&[address]).serve(|mut stream| {
        stream.write_all(b"hi").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        thread::sleep(Duration::from_millis(50));
        reset(stream);
    });
    assert_eq!(reason.word(), "client_reset");
    assert_eq!(server.join().unwrap().0, b"hi");
}

/// Writes until nothing is taken any more, and says how much was.
fn fill(mut stream: &TcpStream) -> usize {
    stream
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut written = 0;
    let chunk = [7; 16 * 1024];
    while let Ok(bytes) = stream.write(&chunk) {
        written += bytes;
    }
    written
}

#[test]
fn a_slow_reader_stops_its_writer_and_gets_every_byte() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let (address, server) = upstream(move |stream| {
        let _ = gone.recv();
        read_to_end(&stream).len()
    });
    let (_, written) = Case::new(&[address]).serve(move |stream| {
        let written = fill(&stream);
        drop(go);
        stream.shutdown(Shutdown::Write).unwrap();
        written
    });
    // What two sockets and one copy buffer hold; not what a client might send.
    assert!(written < 32 * 1024 * 1024, "{written} bytes were taken");
    assert_eq!(server.join().unwrap(), written);
}

#[test]
fn a_client_that_resets_while_its_upstream_reads_nothing_is_noticed() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let (address, _) = upstream(move |stream| {
        let _ = gone.recv();
        drop(stream);
    });
    let (reason, ()) = Case::new(&[address]).serve(|stream| {
        fill(&stream);
        reset(stream);
    });
    assert_eq!(reason.word(), "client_reset");
    drop(go);
}

#[test]
fn a_refusal_is_overcome_and_reported() {
    let (address, _) = upstream(|mut stream| stream.write_all(b"hi").unwrap());
    let mut case = Case::new(&[nobody(), address]);
    let (reason, received) = case.serve(|stream| read_to_end(&stream));
    assert_eq!(reason.word(), "upstream_finished");
    assert_eq!(received, b"hi");
    assert!(matches!(
        case.events.try_recv(),
        Ok(Event::DialFailed { .. })
    ));
}

#[test]
fn without_an_upstream_the_client_waits_and_is_reset_in_the_end() {
    let mut case = Case::new(&[nobody(), nobody()]);
    case.listener.dial_timeout = Duration::from_millis(400);
    let (reason, (waited, error)) = case.serve(|mut stream| {
        let begin = Instant::now();
        let error = stream.read(&mut [0]).unwrap_err().kind();
        (begin.elapsed(), error)
    });
    assert_eq!(reason.word(), "no_upstream");
    assert_eq!(error, io::ErrorKind::ConnectionReset);
    assert!(waited >= Duration::from_millis(350), "{waited:?}");
}

#[test]
fn a_client_that_waits_is_served_by_an_upstream_that_comes_back() {
    let address = nobody();
    let socket = address.to_string();
    let server = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        let listener = TcpListener::bind(socket).unwrap();
        (&listener.accept().unwrap().0).write_all(b"hi").unwrap();
    });
    let case = Case::new(&[address]);
    let (_, received) = case.serve(|stream| read_to_end(&stream));
    server.join().unwrap();
    assert_eq!(received, b"hi");
}

#[test]
fn closing_ends_a_connection_that_would_go_on() {
    let (address, server) = upstream(|mut stream| {
        stream.write_all(b"hi").unwrap();
        read_to_end(&stream)
    });
    let case = Case::new(&[address]);
    let (greeted, has_been_greeted) = std::sync::mpsc::channel();
    let (reason, received) = case.serve_with(
        move |worker| {
            if has_been_greeted.try_recv().is_ok() {
                worker.close();
            }
        },
        move |mut stream| {
            stream.read_exact(&mut [0; 2]).unwrap();
            greeted.send(()).unwrap();
            read_to_end(&stream)
        },
    );
    assert_eq!(reason.word(), "shutdown");
    assert!(received.is_empty());
    assert!(server.join().unwrap().is_empty());
}

#[test]
fn an_idle_connection_stays_small() {
    let size = size_of::<Connection>();
    assert!(size <= MAX_SIZE, "a connection has grown to {size} bytes");
}

/// A ClientHello with nothing in it that a test needs.
fn hello() -> Vec<u8> {
    let mut hello = vec![22, 3, 1, 0, 204, 1, 0, 0, 200];
    hello.resize(5 + 204, 9);
    hello
}

/// An upstream that takes `bytes` bytes and then hangs up, with a FIN or a reset.
fn fickle(bytes: usize, hang_up: fn(TcpStream)) -> (Address, thread::JoinHandle<Vec<u8>>) {
    upstream(move |mut stream| {
        let mut taken = vec![0; bytes];
        stream.read_exact(&mut taken).unwrap();
        hang_up(stream);
        taken
    })
}

/// An upstream that answers once it has got so many bytes.
fn answering(bytes: usize) -> (Address, thread::JoinHandle<Vec<u8>>) {
    upstream(move |mut stream| {
        let mut taken = vec![0; bytes];
        stream.read_exact(&mut taken).unwrap();
        stream.write_all(b"answer").unwrap();
        taken
    })
}

#[test]
fn a_hello_is_sent_again_when_an_upstream_hangs_up_before_it_speaks() {
    for (taken, hang_up) in [
        (0, drop as fn(TcpStream)),
        (0, reset),
        (hello().len(), drop),
        (hello().len(), reset),
    ] {
        let (first, _) = fickle(taken, hang_up);
        let (second, server) = answering(hello().len());
        let mut case = Case::new(&[first, second]);
        let (_, answer) = case.serve(|mut stream| {
            stream.write_all(&hello()).unwrap();
            read_to_end(&stream)
        });
        assert_eq!(answer, b"answer");
        assert_eq!(server.join().unwrap(), hello());
        // That an upstream hung up is known to the core.
        assert!(matches!(
            case.events.try_recv(),
            Ok(Event::DialFailed { .. })
        ));
    }
}

#[test]
fn a_request_in_plain_text_is_never_sent_twice() {
    let (first, server) = fickle(8, drop);
    let second = TcpListener::bind("127.0.0.1:0").unwrap();
    let case = Case::new(&[first, second.local_addr().unwrap().into()]);
    let (reason, answer) = case.serve(|mut stream| {
        stream.write_all(b"question").unwrap();
        read_to_end(&stream)
    });
    assert_eq!(reason.word(), "upstream_finished");
    assert!(answer.is_empty());
    assert_eq!(server.join().unwrap(), b"question");
    second.set_nonblocking(true).unwrap();
    assert!(second.accept().is_err(), "the other upstream was dialled");
}

#[test]
fn with_replay_any_it_is() {
    let (first, _) = fickle(8, drop);
    let (second, server) = answering(8);
    let mut case = Case::new(&[first, second]);
    case.listener.replay = Replay::Any;
    let (_, answer) = case.serve(|mut stream| {
        stream.write_all(b"question").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        read_to_end(&stream)
    });
    assert_eq!(answer, b"answer");
    assert_eq!(server.join().unwrap(), b"question");
}

#[test]
fn after_its_first_byte_an_upstream_is_the_only_one() {
    let (first, _) = upstream(|mut stream| {
        stream.read_exact(&mut [0; 209]).unwrap();
        stream.write_all(b"!").unwrap();
    });
    let second = TcpListener::bind("127.0.0.1:0").unwrap();
    let case = Case::new(&[first, second.local_addr().unwrap().into()]);
    let (reason, answer) = case.serve(|mut stream| {
        stream.write_all(&hello()).unwrap();
        read_to_end(&stream)
    });
    assert_eq!(reason.word(), "upstream_finished");
    assert_eq!(answer, b"!");
    second.set_nonblocking(true).unwrap();
    assert!(second.accept().is_err(), "the other upstream was dialled");
}

#[test]
fn who_only_looks_whether_the_port_is_open_is_not_carried_on() {
    let (first, server) = upstream(|stream| read_to_end(&stream));
    let second = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut case = Case::new(&[first, second.local_addr().unwrap().into()]);
    let (reason, ()) = case.serve(drop);
    assert_eq!(reason.word(), "client_finished");
    assert!(server.join().unwrap().is_empty());
    assert!(case.events.try_recv().is_err());
    second.set_nonblocking(true).unwrap();
    assert!(second.accept().is_err(), "the other upstream was dialled");
}

const LIMIT: Duration = Duration::from_secs(10);
/// Of user memory; the goal for everything that an idle connection takes is 512 bytes.
const MAX_SIZE: usize = 448;
