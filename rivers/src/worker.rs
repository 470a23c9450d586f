//! One worker: a thread with a runtime of its own, a copy buffer, and the connections that it accepted.
//! Nothing on it waits for another thread.
//!
//! All workers wait on the same listening socket, and the one that is awake first takes the client: an
//! idle worker wins over a busy one.

use std::{
    cell::{Cell, RefCell},
    io,
    net::{SocketAddr, TcpListener as StdListener},
    pin::pin,
    rc::Rc,
    sync::Arc,
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use daemon::{
    readiness::{Heartbeat, Readiness},
    shutdown::Drain,
};
use rand::{SeedableRng, rngs::SmallRng};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Builder,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::{JoinError, JoinSet, LocalSet},
    time::{MissedTickBehavior, interval, sleep},
};
use tracing::{error, info, warn};

use crate::{
    close::CloseReason,
    config::Listener,
    connection::{self, Here, copy::Buffer},
    decide::{Event, Snapshot},
    metrics,
};

/// What a worker is given. Clones share everything.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) listeners: Vec<Arc<Listener>>,
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) events: mpsc::Sender<Event>,
    /// One for each connection that there may be.
    pub(crate) slots: Arc<Semaphore>,
    /// Once it has started, no more clients are accepted.
    pub(crate) drain: Drain,
    /// Once it is true, connections are closed.
    pub(crate) closing: watch::Receiver<bool>,
    pub(crate) readiness: Readiness,
}

/// Tells that a worker has ended, however it ended.
pub(crate) struct Farewell {
    pub(crate) number: usize,
    /// Has room for every worker.
    pub(crate) sender: mpsc::Sender<usize>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        // Nobody listens any more when the program is about to end anyway.
        let _ = self.sender.try_send(self.number);
    }
}

/// Starts a worker on these sockets, in the order of `shared.listeners`.
///
/// # Errors
/// The thread or its runtime cannot be made.
pub(crate) fn spawn(
    sockets: Vec<StdListener>,
    shared: Shared,
    farewell: Farewell,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(LOOKUP_THREADS)
        .build()?;
    thread::Builder::new()
        .name(format!("worker {}", farewell.number))
        .spawn(move || {
            let running = run(farewell.number, sockets, shared);
            if let Err(error) = runtime.block_on(LocalSet::new().run_until(running)) {
                error!(worker = farewell.number, %error, "a worker cannot run");
            }
            // Moved in here whole, so that a panic says farewell, too.
            drop(farewell);
        })?;
    Ok(())
}

async fn run(number: usize, sockets: Vec<StdListener>, shared: Shared) -> io::Result<()> {
    let heartbeat = shared.readiness.heartbeat(format!("worker {number}"));
    let buffer = Rc::new(Buffer::new());
    let mut serving = JoinSet::new();
    let mut tallies = Vec::new();
    for (index, (socket, listener)) in sockets.into_iter().zip(&shared.listeners).enumerate() {
        let here = Rc::new(Here {
            index,
            listener: Arc::clone(listener),
            snapshot: Arc::clone(&shared.snapshot),
            events: shared.events.clone(),
            closing: shared.closing.clone(),
            buffer: Rc::clone(&buffer),
            rng: RefCell::new(SmallRng::from_rng(&mut rand::rng())),
            turn: Cell::new(0),
            to_upstream: Cell::new(0),
            to_client: Cell::new(0),
        });
        tallies.push(Tally::new(Rc::clone(&here)));
        serving.spawn_local(serve(
            TcpListener::from_std(socket)?,
            here,
            Arc::clone(&shared.slots),
            shared.drain.clone(),
        ));
    }
    tokio::select! {
        () = beat(&heartbeat, &tallies) => {}
        () = all_served(serving) => {}
    }
    tallies.iter().for_each(Tally::flush);
    Ok(())
}

/// Waits until every listener has been drained.
async fn all_served(mut serving: JoinSet<()>) {
    while let Some(ended) = serving.join_next().await {
        // Only a fault in the accept loop itself gets here; the composition root ends the process then.
        ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    }
}

/// Once a second: a sign of life, and the bytes counted here into the metrics.
async fn beat(heartbeat: &Heartbeat, tallies: &[Tally]) {
    let mut second = interval(BEAT);
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        second.tick().await;
        heartbeat.beat();
        tallies.iter().for_each(Tally::flush);
    }
}

/// Accepts clients until the drain starts, then waits for those that are there.
async fn serve(socket: TcpListener, here: Rc<Here>, slots: Arc<Semaphore>, mut drain: Drain) {
    let mut connections = JoinSet::new();
    let waiting = Cell::new(false);
    {
        // It goes on across the turns of the loop: a client that it has accepted must not be lost.
        let mut next = pin!(next_client(&socket, &here, &slots, &waiting));
        loop {
            tokio::select! {
                () = drain.started() => break,
                client = &mut next => {
                    connections.spawn_local(serve_one(client, Rc::clone(&here)));
                    next.set(next_client(&socket, &here, &slots, &waiting));
                }
                Some(ended) = connections.join_next() => note(&here, ended),
            }
        }
    }
    drop(socket);
    while let Some(ended) = connections.join_next().await {
        note(&here, ended);
    }
}

/// A client that has been accepted and has its slot among all connections.
struct Client {
    stream: TcpStream,
    address: SocketAddr,
    _slot: Option<OwnedSemaphorePermit>,
}

async fn serve_one(client: Client, here: Rc<Here>) -> CloseReason {
    connection::run(client.stream, client.address, here).await
}

/// The next client. While there are as many connections as there may be, it waits for one to end, and the
/// clients behind it wait in the kernel. `waiting` keeps the log to a line for each time that this begins
/// or ends.
async fn next_client(
    socket: &TcpListener,
    here: &Here,
    slots: &Arc<Semaphore>,
    waiting: &Cell<bool>,
) -> Client {
    let name = here.listener.name.as_str();
    let (stream, address) = accept(socket, name, waiting).await;
    let slot = match Arc::clone(slots).try_acquire_owned() {
        Ok(slot) => Some(slot),
        Err(_) => {
            if !waiting.replace(true) {
                warn!(
                    listener = name,
                    "as many connections as there may be; clients wait"
                );
            }
            // Closed it never is.
            Arc::clone(slots).acquire_owned().await.ok()
        }
    };
    if waiting.get() && slots.available_permits() > 0 {
        waiting.set(false);
        info!(listener = name, "accepts clients again");
    }
    Client {
        stream,
        address,
        _slot: slot,
    }
}

/// Takes a client from the kernel. When that has no descriptor or memory for one, waits a little instead
/// of asking again and again.
async fn accept(socket: &TcpListener, name: &str, waiting: &Cell<bool>) -> (TcpStream, SocketAddr) {
    loop {
        match socket.accept().await {
            Ok(client) => return client,
            // The client is gone before it was accepted; the next one may be there.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                metrics::accept_failed(name);
                if !waiting.replace(true) {
                    warn!(listener = name, %error, "cannot accept clients; raise the limit of open files");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A panic ends its own connection only. What it said has been logged where it happened.
fn note(here: &Here, ended: Result<CloseReason, JoinError>) {
    if ended.is_err() {
        metrics::panicked(&here.listener.name);
    }
}

/// Carries the bytes counted on this worker into the metrics that all workers share.
struct Tally {
    here: Rc<Here>,
    to_upstream: ::metrics::Counter,
    to_client: ::metrics::Counter,
}

impl Tally {
    fn new(here: Rc<Here>) -> Self {
        let [to_upstream, to_client] = metrics::bytes(&here.listener.name);
        Self {
            here,
            to_upstream,
            to_client,
        }
    }

    fn flush(&self) {
        self.to_upstream.increment(self.here.to_upstream.take());
        self.to_client.increment(self.here.to_client.take());
    }
}

const BEAT: Duration = Duration::from_secs(1);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Threads that resolve names of upstreams; more lookups wait.
const LOOKUP_THREADS: usize = 4;
