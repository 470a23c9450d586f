//! One upstream of three fails each client that it gets, from the first moment, and no client notices.
//!
//! Clients make one request on a connection of their own and never try again. All servers are the test's,
//! and rivers runs with its defaults: once where probes can find out who is well, and once where no server
//! answers them, so that all look the same and clients alone meet the fault.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::server::Acceptor;
use tests::place::Place;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use crate::encrypted::Tls;
use crate::faults::black_hole;
use crate::scene::{PATIENCE, Rivers};

#[tokio::test]
async fn tls_clients_of_a_server_that_refuses_all_succeed() {
    for scene in &Scene::both() {
        scene.a_thousand_tls_clients_succeed().await;
    }
}

#[tokio::test]
async fn tls_clients_of_a_server_that_accepts_and_closes_all_succeed() {
    for scene in &Scene::both() {
        faulty(scene.faulty, |stream| async { drop(stream) }).await;
        scene.a_thousand_tls_clients_succeed().await;
    }
}

#[tokio::test]
async fn tls_clients_of_a_server_that_takes_the_hello_and_closes_all_succeed() {
    for scene in &Scene::both() {
        faulty(scene.faulty, |mut stream| async move {
            // Less than a hello: what is left unread makes the end a reset.
            let _ = stream.read(&mut [0; 100]).await;
        })
        .await;
        scene.a_thousand_tls_clients_succeed().await;
    }
}

#[tokio::test]
async fn tls_clients_of_a_server_that_accepts_and_resets_all_succeed() {
    for scene in &Scene::both() {
        faulty(scene.faulty, |stream| async move {
            stream.set_zero_linger().unwrap();
        })
        .await;
        scene.a_thousand_tls_clients_succeed().await;
    }
}

#[tokio::test]
async fn tls_clients_of_a_black_hole_all_succeed_after_one_stagger() {
    for (scene, other) in Scene::both().iter().zip(&Scene::both()) {
        // A server that refuses costs a client next to nothing: so long this machine takes for the rest.
        let [_, without] = median_and_p99(other.a_thousand_tls_clients_succeed().await);
        let _hole = black_hole(scene.faulty).await;
        let waits = scene.a_thousand_tls_clients_succeed().await;
        let staggered = waits.iter().filter(|&&wait| wait >= STAGGER).count();
        let [median, p99] = median_and_p99(waits);
        println!(
            "black hole, probes {:?}: {staggered} of {CLIENTS} clients met it; \
             from connect to first byte: median {median:?}, p99 {p99:?}; without it p99 {without:?}",
            scene.probes
        );
        assert!(p99 <= Duration::from_millis(300) + without, "{p99:?}");
    }
}

fn median_and_p99(mut waits: Vec<Duration>) -> [Duration; 2] {
    waits.sort_unstable();
    [50, 99].map(|percent| waits[waits.len() * percent / 100])
}

#[tokio::test]
async fn plain_clients_all_succeed_with_replay_any() {
    let scene = Scene::new(Probes::Answered);
    faulty(scene.faulty, |mut stream| async move {
        let _ = stream.read(&mut [0; 8]).await;
    })
    .await;
    for &server in &scene.servers {
        let listener = TcpListener::bind(server).await.unwrap();
        tokio::spawn(serve(listener, |stream| async { answer(stream).await }));
    }
    let rivers = scene.rivers(&["--replay=any"]).await;
    clients(|client| {
        let listen = rivers.listen;
        async move { ask(TcpStream::connect(listen).await?, client).await }
    })
    .await;
}

#[tokio::test]
async fn by_default_no_plain_request_is_sent_twice() {
    let scene = Scene::new(Probes::Answered);
    let seen = Arc::new(Mutex::new(BTreeMap::<u64, u32>::new()));
    let note = {
        let seen = Arc::clone(&seen);
        move |request| *seen.lock().unwrap().entry(request).or_default() += 1
    };
    for address in [&[scene.faulty], &scene.servers[..]].concat() {
        let note = note.clone();
        faulty(address, move |mut stream| {
            let note = note.clone();
            async move {
                match stream.read_u64().await {
                    // Else the hello of a probe, or nothing.
                    Ok(request) if request < 100 => note(request),
                    _ => {}
                }
            }
        })
        .await;
    }
    let rivers = scene.rivers(&[]).await;
    let mut asking = JoinSet::new();
    for client in 0..100 {
        let mut stream = rivers.client().await;
        asking.spawn(async move {
            stream.write_u64(client).await.unwrap();
            // The server hung up without an answer, and nobody else was asked.
            let _ = timeout(PATIENCE, stream.read(&mut [0])).await.unwrap();
        });
    }
    asking.join_all().await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 100);
    assert!(seen.values().all(|&times| times == 1), "{seen:?}");
}

/// What rivers' probes get from servers that are well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probes {
    Answered,
    Unanswered,
}

/// Three servers, of which the test plays one badly.
struct Scene {
    probes: Probes,
    place: Place,
    faulty: SocketAddr,
    servers: [SocketAddr; 2],
    tls: Tls,
}

impl Scene {
    /// To be kept until the end: servers listen on their addresses for as long.
    fn both() -> [Self; 2] {
        [Probes::Answered, Probes::Unanswered].map(Self::new)
    }

    fn new(probes: Probes) -> Self {
        let place = Place::loopback();
        let [faulty, one, other] = [2, 3, 4].map(|node| place.socket_address(node, 6443));
        let tls = Tls::new(&place);
        Self {
            probes,
            place,
            faulty,
            servers: [one, other],
            tls,
        }
    }

    async fn rivers(&self, flags: &[&str]) -> Rivers {
        let upstreams = [&[self.faulty], &self.servers[..]].concat();
        Rivers::start(&self.place, &upstreams, flags).await
    }

    /// How long each waited for the first byte.
    async fn a_thousand_tls_clients_succeed(&self) -> Vec<Duration> {
        for &server in &self.servers {
            let listener = TcpListener::bind(server).await.unwrap();
            let (acceptor, probes) = (self.tls.acceptor.clone(), self.probes);
            tokio::spawn(serve(listener, move |stream| {
                let acceptor = acceptor.clone();
                async move { answer_tls(stream, &acceptor, probes).await }
            }));
        }
        let rivers = self.rivers(&[]).await;
        clients(|client| {
            let (listen, connector) = (rivers.listen, self.tls.connector.clone());
            async move {
                let begin = Instant::now();
                let stream = TcpStream::connect(listen).await?;
                let stream = connector.connect(Tls::name(), stream).await?;
                let waited = begin.elapsed();
                ask(stream, client).await?;
                Ok(waited)
            }
        })
        .await
    }
}

/// Runs all clients, some at a time. Each has to succeed.
async fn clients<T, F>(client: impl Fn(u64) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>> + Send + 'static,
{
    let mut running = JoinSet::new();
    let mut gave = Vec::new();
    for number in 0..CLIENTS {
        if running.len() >= AT_A_TIME {
            gave.extend(running.join_next().await.map(Result::unwrap));
        }
        let asking = client(number);
        running.spawn(async move {
            let asked = timeout(PATIENCE, asking).await.expect("an answer in time");
            asked.unwrap_or_else(|error| panic!("client {number}: {error}"))
        });
    }
    gave.extend(running.join_all().await);
    gave
}

/// Makes a request.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, client: u64) -> io::Result<()> {
    stream.write_u64(client).await?;
    stream.flush().await?;
    assert_eq!(stream.read_u64().await?, client + 1);
    Ok(())
}

/// Answers one request.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let request = stream.read_u64().await?;
    stream.write_u64(request + 1).await?;
    stream.shutdown().await
}

/// Answers one request over TLS. A probe, which names no server, may be kept waiting.
async fn answer_tls(stream: TcpStream, acceptor: &TlsAcceptor, probes: Probes) -> io::Result<()> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let is_probe = hello.client_hello().server_name().is_none();
    if is_probe && probes == Probes::Unanswered {
        return pending().await;
    }
    let config = Arc::clone(acceptor.config());
    answer(hello.into_stream(config).await?).await
}

/// A server that does this with each connection.
async fn faulty<F>(address: SocketAddr, play: impl Fn(TcpStream) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(serve(listener, move |stream| {
        let played = play(stream);
        async {
            played.await;
            Ok(())
        }
    }));
}

async fn serve<F>(listener: TcpListener, play: impl Fn(TcpStream) -> F)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(play(stream));
    }
}

const CLIENTS: u64 = 1_000;
const AT_A_TIME: usize = 20;
/// After which rivers tries the next one, while the first attempt goes on.
const STAGGER: Duration = Duration::from_millis(200);
