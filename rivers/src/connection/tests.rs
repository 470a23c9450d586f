//! Connections over real sockets of the loopback interface.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener as StdListener, TcpStream as StdStream},
    thread,
};

use rand::{Rng, SeedableRng};
use socket2::SockRef;
use tokio::{net::TcpListener, task::LocalSet};

use super::*;
use crate::{
    config::{Balance, Health, address::Address, listen::ListenAddress},
    decide::Core,
};

const ID: ListenerId = ListenerId(0);

/// A listener whose clients are served by [`run`], and an upstream that the test plays.
struct Case {
    here: Rc<Here>,
    close: watch::Sender<bool>,
    /// Kept, so that events have somewhere to go.
    events: mpsc::Receiver<Event>,
}

impl Case {
    fn new(upstreams: &[Address]) -> Self {
        let mut core = Core::new(1);
        let now = std::time::Instant::now();
        core.listen(ID, upstreams, Health::default(), now);
        let (sender, events) = mpsc::channel(16);
        let (close, closing) = watch::channel(false);
        let listener = Listener {
            name: "test".to_owned(),
            listen: ListenAddress::Any { port: 0 },
            upstreams: upstreams.to_vec(),
            discovery: None,
            balance: Balance::RoundRobin,
            dial_timeout: LIMIT,
            keepalive: LIMIT,
            health: Health::default(),
        };
        let here = Here {
            id: ID,
            listener: Arc::new(listener),
            snapshot: Arc::new(ArcSwap::from_pointee(core.snapshot())),
            events: sender,
            closing,
            buffer: Rc::new(Buffer::new()),
            rng: RefCell::new(SmallRng::seed_from_u64(1)),
            turn: Cell::new(0),
            to_upstream: Cell::new(0),
            to_client: Cell::new(0),
        };
        Self {
            here: Rc::new(here),
            close,
            events,
        }
    }

    /// Serves one client, which `play` plays on a thread of its own with blocking sockets.
    async fn serve<T: Send + 'static>(
        &self,
        play: impl FnOnce(StdStream) -> T + Send + 'static,
    ) -> (CloseReason, T) {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let player = thread::spawn(move || play(connect(address)));
        let (client, address) = socket.accept().await.unwrap();
        let local = LocalSet::new();
        let running = local.spawn_local(run(client, address, Rc::clone(&self.here)));
        let reason = tokio::time::timeout(LIMIT, local.run_until(running));
        let reason = reason.await.expect("the connection ends").unwrap();
        (reason, player.join().unwrap())
    }
}

fn connect(address: SocketAddr) -> StdStream {
    let stream = StdStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// An upstream that `play` plays with the one connection that it gets.
fn upstream<T: Send + 'static>(
    play: impl FnOnce(StdStream) -> T + Send + 'static,
) -> (Address, thread::JoinHandle<T>) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
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
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().into()
}

fn reset(stream: StdStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);
}

fn read_to_end(mut stream: &StdStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

fn random_bytes(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; 5_000_003];
    SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

#[tokio::test]
async fn bytes_arrive_unchanged_both_ways_at_once() {
    let exchange = |stream: StdStream, seed| {
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
    let (reason, received) = case.serve(move |stream| exchange(stream, 2)).await;
    assert!(matches!(reason, CloseReason::Finished(_)), "{reason}");
    assert!(received == random_bytes(1), "what the client got differs");
    assert!(
        server.join().unwrap() == random_bytes(2),
        "what the upstream got differs"
    );
    assert_eq!(case.here.to_upstream.get(), 5_000_003);
    assert_eq!(case.here.to_client.get(), 5_000_003);
}

#[tokio::test]
async fn a_fin_passes_while_the_other_direction_goes_on() {
    let (address, server) = upstream(|mut stream| {
        let request = read_to_end(&stream);
        stream.write_all(b"the answer").unwrap();
        request
    });
    let (reason, answer) = Case::new(&[address])
        .serve(|mut stream| {
            stream.write_all(b"the question").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            read_to_end(&stream)
        })
        .await;
    assert_eq!(reason.word(), "client_finished");
    assert_eq!(server.join().unwrap(), b"the question");
    assert_eq!(answer, b"the answer");
}

#[tokio::test]
async fn a_reset_by_the_upstream_reaches_the_client_after_its_last_words() {
    let (address, _) = upstream(|mut stream| {
        stream.read_exact(&mut [0; 2]).unwrap();
        stream.write_all(b"last words").unwrap();
        reset(stream);
    });
    let (reason, (words, error)) = Case::new(&[address])
        .serve(|mut stream| {
            stream.write_all(b"hi").unwrap();
            let mut words = [0; 10];
            stream.read_exact(&mut words).unwrap();
            (words, stream.read(&mut [0]).unwrap_err().kind())
        })
        .await;
    assert_eq!(reason.word(), "upstream_reset");
    assert_eq!(&words, b"last words");
    assert_eq!(error, io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_reset_by_the_client_reaches_the_upstream() {
    let (address, server) = upstream(|mut stream| {
        stream.write_all(b"hi").unwrap();
        stream.read(&mut [0]).unwrap_err().kind()
    });
    let (reason, ()) = Case::new(&[address])
        .serve(|mut stream| {
            stream.read_exact(&mut [0; 2]).unwrap();
            reset(stream);
        })
        .await;
    assert_eq!(reason.word(), "client_reset");
    assert_eq!(server.join().unwrap(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_client_that_has_finished_and_then_resets_is_not_waited_for() {
    let (address, server) = upstream(|mut stream| {
        let request = read_to_end(&stream);
        // Says nothing more, and would keep the connection for ever.
        (request, stream.read(&mut [0; 1]).unwrap_or(99), stream)
    });
    let (reason, ()) = Case::new(&[address])
        .serve(|mut stream| {
            stream.write_all(b"hi").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            thread::sleep(Duration::from_millis(50));
            reset(stream);
        })
        .await;
    assert_eq!(reason.word(), "client_reset");
    assert_eq!(server.join().unwrap().0, b"hi");
}

/// Writes until nothing is taken any more, and says how much was.
fn fill(mut stream: &StdStream) -> usize {
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

#[tokio::test]
async fn a_slow_reader_stops_its_writer_and_gets_every_byte() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let (address, server) = upstream(move |stream| {
        let _ = gone.recv();
        read_to_end(&stream).len()
    });
    let (_, written) = Case::new(&[address])
        .serve(move |stream| {
            let written = fill(&stream);
            drop(go);
            stream.shutdown(Shutdown::Write).unwrap();
            written
        })
        .await;
    // What two sockets and one copy buffer hold; not what a client might send.
    assert!(written < 32 * 1024 * 1024, "{written} bytes were taken");
    assert_eq!(server.join().unwrap(), written);
}

#[tokio::test]
async fn a_client_that_resets_while_its_upstream_reads_nothing_is_noticed() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let (address, _) = upstream(move |stream| {
        let _ = gone.recv();
        drop(stream);
    });
    let (reason, ()) = Case::new(&[address])
        .serve(|stream| {
            fill(&stream);
            reset(stream);
        })
        .await;
    assert_eq!(reason.word(), "client_reset");
    drop(go);
}

#[tokio::test]
async fn a_refusal_is_overcome_and_reported() {
    let (address, _) = upstream(drop);
    let mut case = Case::new(&[nobody(), address]);
    let (reason, received) = case.serve(|stream| read_to_end(&stream)).await;
    assert_eq!(reason.word(), "upstream_finished");
    assert!(received.is_empty());
    assert!(matches!(
        case.events.try_recv(),
        Ok(Event::DialFailed { .. })
    ));
}

#[tokio::test]
async fn without_an_upstream_the_client_is_reset_at_once() {
    let (reason, error) = Case::new(&[nobody(), nobody()])
        .serve(|mut stream| stream.read(&mut [0]).unwrap_err().kind())
        .await;
    assert_eq!(reason.word(), "no_upstream");
    assert_eq!(error, io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn closing_ends_a_connection_that_would_go_on() {
    let (address, server) = upstream(|mut stream| {
        stream.write_all(b"hi").unwrap();
        read_to_end(&stream)
    });
    let case = Case::new(&[address]);
    let close = case.close.clone();
    let (reason, received) = case
        .serve(move |mut stream| {
            stream.read_exact(&mut [0; 2]).unwrap();
            close.send_replace(true);
            read_to_end(&stream)
        })
        .await;
    assert_eq!(reason.word(), "shutdown");
    assert!(received.is_empty());
    assert!(server.join().unwrap().is_empty());
}

#[tokio::test]
async fn an_idle_connection_stays_small() {
    let case = Case::new(&[nobody()]);
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let player = connect(socket.local_addr().unwrap());
    let (client, address) = socket.accept().await.unwrap();
    let size = size_of_val(&run(client, address, Rc::clone(&case.here)));
    drop(player);
    assert!(
        size <= MAX_FUTURE,
        "the future of a connection has grown to {size} bytes"
    );
}

const LIMIT: Duration = Duration::from_secs(10);
/// Sockets and what tokio keeps for them come on top.
const MAX_FUTURE: usize = 2048;
