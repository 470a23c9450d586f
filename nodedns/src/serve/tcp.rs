//! Queries in streams (RFC 7766): several at once on a connection, each answered
//! as soon as its answer is there.
//!
//! ```text
//! read ─► frame ─► answer ──hit──► write
//!                    └──miss──► Misses ─► replies ─► write
//! ```

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use daemon::shutdown::Drain;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, warn};

use crate::answer::{Answers, IDLE, Outcome};
use crate::client::{Arrival, Client};
use crate::metrics::{Limit, Unanswered};
use crate::serve::guests::{Guests, Seat};
use crate::serve::reply::{Owed, Reply};
use crate::serve::{Latest, Service, Turn, aside};
use crate::wire::patch::Transport;
use crate::wire::u16_at;

/// What becomes of a listener, from which all workers accept, once the drain has started.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It is left to another worker.
    LetGo,
    /// It is closed, when no connection can come to it any more.
    StepAside,
}

/// Accepts connections until the drain starts, then lets those that are open
/// finish what they asked.
///
/// # Errors
/// The listener cannot be used.
pub(crate) async fn serve(
    listener: std::net::TcpListener,
    end: End,
    service: Arc<Service>,
    mut latest: Latest,
    mut drain: Drain,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let guests = Guests::new(MAX_CONNECTIONS);
    let welcome = |stream, client, latest: &mut Latest| {
        Connection::of(stream, client, &guests, &service, latest)
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => {
                    if let Some(connection) = welcome(stream, client, &mut latest) {
                        connections.spawn(connection.run(drain.clone()));
                    }
                }
                Err(error) => {
                    warn!(%error, "cannot accept; is the limit of open files too low?");
                    guests.make_room();
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next(), if !connections.is_empty() => note(&service, ended),
            () = drain.started() => break,
        }
    }
    if end == End::StepAside {
        // Those who have connected are served, too.
        aside::step_aside(&listener, |stream, client| {
            if let Some(connection) = welcome(stream, client, &mut latest) {
                connections.spawn(connection.run(drain.clone()));
            }
        })
        .await;
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        note(&service, ended);
    }
    Ok(())
}

fn note(service: &Service, ended: Result<(), tokio::task::JoinError>) {
    if let Err(panic) = ended {
        error!(%panic, "a connection's task panicked: please report this");
        service.metrics.panics.increment(1);
    }
}

/// One client's connection.
struct Connection {
    stream: TcpStream,
    client: IpAddr,
    seat: Seat,
    service: Arc<Service>,
    latest: Latest,
    /// Bytes that have no whole query yet.
    received: Vec<u8>,
    /// Answers that wait to be written.
    outgoing: Vec<u8>,
    /// The answer that is being made.
    out: Vec<u8>,
    /// Misses without an answer.
    waiting: usize,
    /// The client has asked so often that it is not read before then.
    held_until: Option<Instant>,
    /// What came is nothing that can be answered.
    is_broken: bool,
}

impl Connection {
    /// One for a client that may have one more.
    fn of(
        stream: TcpStream,
        client: SocketAddr,
        guests: &Guests,
        service: &Arc<Service>,
        latest: &mut Latest,
    ) -> Option<Self> {
        let client = client.ip();
        let most = latest.get().answers.connections(client)?;
        let seat = guests.seat(Client::of(client), most, std::time::Instant::now());
        if seat.is_none() {
            service.metrics.limited(Limit::Connections);
        }
        let (service, latest) = (Arc::clone(service), latest.clone());
        Some(Self::new(stream, client, seat?, service, latest))
    }

    fn new(
        stream: TcpStream,
        client: IpAddr,
        seat: Seat,
        service: Arc<Service>,
        latest: Latest,
    ) -> Self {
        service.metrics.tcp_connections.increment(1);
        // An answer that waits for the acknowledgement of the one before is 40 ms late.
        // Where it fails the connection is gone.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            client,
            seat,
            service,
            latest,
            received: Vec::new(),
            outgoing: Vec::new(),
            out: Vec::new(),
            waiting: 0,
            held_until: None,
            is_broken: false,
        }
    }

    /// Serves until the client has had all it wants, or others need the place more.
    async fn run(self, drain: Drain) {
        let (lost, service) = (self.seat.lost(), Arc::clone(&self.service));
        tokio::select! {
            () = self.converse(drain) => {}
            () = lost => service.metrics.tcp_evicted.increment(1),
        }
    }

    /// Serves until the client closes, is silent for too long, or does not read;
    /// once the drain has started, until it is silent for a moment.
    async fn converse(mut self, mut drain: Drain) {
        // Each miss has a place, so that no answer waits for one.
        let (replies, mut answered) = mpsc::channel(MAX_WAITING);
        let mut last_active = Instant::now();
        let mut has_ended = false;
        // When it is to be over; set by the drain.
        let mut end: Option<Instant> = None;
        loop {
            while self.take_queries(&replies) {
                if self.write().await.is_err() {
                    return;
                }
                last_active = Instant::now();
            }
            self.release();
            self.seat.used(last_active.into_std(), self.waiting > 0);
            if self.is_broken || has_ended && self.waiting == 0 && self.held_until.is_none() {
                return;
            }
            let held_until = self.held_until;
            let reads = !has_ended && self.waiting < MAX_WAITING && held_until.is_none();
            let enough = match end {
                None => last_active + self.patience(),
                Some(end) => end.min(last_active + DRAIN_PATIENCE),
            };
            tokio::select! {
                Some(answer) = answered.recv() => {
                    self.waiting -= 1;
                    if let Some(answer) = answer {
                        queue(&mut self.outgoing, &answer);
                    }
                }
                read = read(&self.stream, &mut self.received), if reads => match read {
                    Ok(1..) => {}
                    Ok(0) => has_ended = true,
                    Err(_) => return,
                },
                () = sleep_until(held_until.unwrap_or(enough)), if held_until.is_some() => {
                    self.held_until = None;
                }
                () = sleep_until(enough), if self.waiting == 0 => break,
                () = drain.started(), if end.is_none() => {
                    last_active = Instant::now();
                    end = Some(last_active + DRAIN);
                }
            }
        }
        self.part().await;
    }

    /// How long no query need be completed or answered. Bytes alone do not count: they may
    /// come one by one for ever.
    fn patience(&self) -> Duration {
        if self.seat.is_crowded() {
            CROWDED_IDLE
        } else {
            IDLE
        }
    }

    /// Keeps no memory for what is not there: most connections are idle.
    fn release(&mut self) {
        for buffer in [&mut self.received, &mut self.outgoing] {
            if buffer.is_empty() {
                *buffer = Vec::new();
            }
        }
    }

    /// Says that no more answers come, and lets the client take those that it has not
    /// read yet: a connection that is closed while something has arrived on it is
    /// reset, and they would be lost.
    async fn part(&mut self) {
        let farewell = async {
            self.stream.shutdown().await?;
            loop {
                self.received.clear();
                if read(&self.stream, &mut self.received).await? == 0 {
                    return io::Result::Ok(());
                }
            }
        };
        // Whoever has gone has read all he wants to read.
        let _ = timeout(LINGER, farewell).await;
    }

    /// Answers whole queries that have been received, as far as misses have a
    /// place and answers have room. True when there is something to write, after
    /// which there may be more to take.
    fn take_queries(&mut self, replies: &mpsc::Sender<Option<Vec<u8>>>) -> bool {
        let arrival = Arrival {
            from: self.client,
            transport: Transport::Tcp,
            at: std::time::Instant::now(),
        };
        let parts = Arc::clone(self.latest.get());
        let mut turn = Turn::default();
        let mut at = 0;
        while self.waiting < MAX_WAITING
            && self.outgoing.len() < MAX_OUTGOING
            && self.held_until.is_none()
            && let Some(length) = u16_at(&self.received, at)
        {
            if length > MAX_QUERY {
                self.service.metrics.limited(Limit::Length);
                self.is_broken = true;
                break;
            }
            let Some(packet) = self.received.get(at + 2..at + 2 + usize::from(length)) else {
                break;
            };
            if !parts.answers.may_ask(&arrival) {
                self.held_until = Some(Instant::now() + Answers::RATE_PAUSE);
                break;
            }
            at += 2 + packet.len();
            match self.service.answer(&parts, &mut self.out, packet, arrival) {
                Outcome::Answer => queue(&mut self.outgoing, &self.out),
                Outcome::Refresh(key) => {
                    queue(&mut self.outgoing, &self.out);
                    self.service.refresh(&parts, *key);
                }
                Outcome::Silence => {}
                Outcome::Miss(miss) => {
                    self.waiting += 1;
                    let reply = Reply::Stream(Owed::to(replies));
                    if let Err(out) = self.service.find(&mut turn, &parts, miss, reply) {
                        self.service.metrics.unanswered(Unanswered::TooBusy);
                        queue(&mut self.outgoing, &out);
                    }
                }
            }
        }
        self.service.ask_all(&mut turn);
        self.received.drain(..at);
        !self.outgoing.is_empty()
    }

    /// Writes what is queued. A client that does not read is given up.
    async fn write(&mut self) -> io::Result<()> {
        timeout(WRITE_TIMEOUT, self.stream.write_all(&self.outgoing))
            .await
            .map_err(|_| io::ErrorKind::TimedOut)??;
        self.outgoing.clear();
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.service.metrics.tcp_connections.decrement(1);
    }
}

/// Appends what has arrived, as much as one read takes: a client that pipelines
/// has sent hundreds of queries by then. Cancel safe. None is the end.
///
/// # Errors
/// Those of recv(2).
async fn read(stream: &TcpStream, received: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        received.reserve(READ);
        match stream.try_read_buf(received) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                received.shrink_to_fit();
            }
            read => return read,
        }
    }
}

/// Two bytes of length, then the answer.
fn queue(outgoing: &mut Vec<u8>, answer: &[u8]) {
    outgoing.extend_from_slice(&(answer.len() as u16).to_be_bytes());
    outgoing.extend_from_slice(answer);
}

/// Bytes that a read has room for.
const READ: usize = 16 << 10;
/// Connections on one address of one worker. One more takes the place of another.
const MAX_CONNECTIONS: usize = 4_096;
/// Bytes of the longest query: the longest name, and more options than there are.
const MAX_QUERY: u16 = 4_096;
/// Misses of one connection that wait at once; then reading waits.
const MAX_WAITING: usize = 64;
/// Bytes of answers that wait to be written, the last answer aside. A client may
/// ask for the largest answer a thousand times in one packet.
const MAX_OUTGOING: usize = 64 << 10;
/// In place of [`IDLE`] where three of four places are taken (RFC 7766 §6.2.3 has a server that runs
/// short close early).
const CROWDED_IDLE: Duration = Duration::from_secs(1);
/// A connection on which nothing is asked for so long once the drain has started: the
/// first query on a new one may be on its way.
const DRAIN_PATIENCE: Duration = Duration::from_millis(250);
/// And one on which something is asked again and again.
const DRAIN: Duration = Duration::from_secs(2);
/// For a client to read what is left.
const LINGER: Duration = Duration::from_secs(1);
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
