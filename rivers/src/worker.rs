//! One worker: a thread with a runtime of its own, a copy buffer, and the connections that it accepted.
//! Nothing on it waits for another thread.
//!
//! All workers wait on the same listening socket, and the one that is awake first takes the client: an
//! idle worker wins over a busy one.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    num::NonZeroUsize,
    pin::pin,
    rc::Rc,
    sync::Arc,
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use daemon::{readiness::Readiness, shutdown::Drain};
use rand::{SeedableRng, rngs::SmallRng};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Builder,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    task::{JoinError, JoinSet, LocalSet},
    time::{MissedTickBehavior, interval, sleep},
};
use tracing::{error, info, warn};

use crate::{
    close::CloseReason,
    config::Listener,
    connection::{self, Here, copy::Buffer},
    decide::{Event, ListenerId, Snapshot},
    metrics,
};

/// What a worker is told while it runs.
#[derive(Debug)]
pub(crate) enum Command {
    /// Accept clients of this listener from this socket. If the id is known, this replaces what it had:
    /// clients from now on are served so, and those that are here stay.
    Listen {
        id: ListenerId,
        listener: Arc<Listener>,
        socket: StdListener,
    },
    /// Accept no more clients of this listener. Those that are here stay.
    Stop(ListenerId),
}

/// For those who tell workers what to do.
pub(crate) struct Workers(Vec<mpsc::Sender<Command>>);

impl Workers {
    /// Starts `count` workers, which listen to nothing yet. The receiver gets the number of each that ends.
    ///
    /// # Errors
    /// A thread or its runtime cannot be made.
    pub(crate) fn spawn(
        count: NonZeroUsize,
        shared: &Shared,
    ) -> io::Result<(Self, mpsc::Receiver<usize>)> {
        let (sender, ended) = mpsc::channel(count.get());
        let workers = (0..count.get()).map(|number| {
            let (commands, told) = mpsc::channel(COMMANDS);
            let farewell = Farewell {
                number,
                sender: sender.clone(),
            };
            spawn(told, shared.clone(), farewell)?;
            Ok(commands)
        });
        Ok((Self(workers.collect::<io::Result<_>>()?), ended))
    }

    /// The same socket once for each worker.
    ///
    /// # Errors
    /// Descriptors ran out.
    pub(crate) fn share(&self, socket: &StdListener) -> io::Result<Vec<StdListener>> {
        self.0.iter().map(|_| socket.try_clone()).collect()
    }

    /// Tells all workers to listen, each with its share.
    pub(crate) async fn listen(
        &self,
        id: ListenerId,
        listener: &Arc<Listener>,
        shares: Vec<StdListener>,
    ) {
        for (worker, socket) in self.0.iter().zip(shares) {
            let listener = Arc::clone(listener);
            let command = Command::Listen {
                id,
                listener,
                socket,
            };
            // One that has ended is the composition root's business.
            let _ = worker.send(command).await;
        }
    }

    /// Tells all workers to accept no more clients of this listener.
    pub(crate) async fn stop(&self, id: ListenerId) {
        for worker in &self.0 {
            let _ = worker.send(Command::Stop(id)).await;
        }
    }
}

/// What all workers are given. Clones share everything.
#[derive(Clone)]
pub(crate) struct Shared {
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
struct Farewell {
    number: usize,
    /// Has room for every worker.
    sender: mpsc::Sender<usize>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        // Nobody listens any more when the program is about to end anyway.
        let _ = self.sender.try_send(self.number);
    }
}

fn spawn(commands: mpsc::Receiver<Command>, shared: Shared, farewell: Farewell) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new()
        .name(format!("worker {}", farewell.number))
        .spawn(move || {
            let running = Worker::new(shared).run(farewell.number, commands);
            if let Err(error) = runtime.block_on(LocalSet::new().run_until(running)) {
                error!(worker = farewell.number, %error, "a worker cannot run");
            }
            // Moved in here whole, so that a panic says farewell, too.
            drop(farewell);
        })?;
    Ok(())
}

/// What runs on the thread.
struct Worker {
    shared: Shared,
    buffer: Rc<Buffer>,
    /// Accept loops, those included that wait for their last connections.
    serving: JoinSet<()>,
    /// Ends an accept loop when it is dropped.
    accepting: HashMap<ListenerId, oneshot::Sender<()>>,
    tallies: Vec<Tally>,
}

impl Worker {
    fn new(shared: Shared) -> Self {
        Self {
            shared,
            buffer: Rc::new(Buffer::new()),
            serving: JoinSet::new(),
            accepting: HashMap::new(),
            tallies: Vec::new(),
        }
    }

    /// Runs until the drain has started and the last connection has ended.
    async fn run(mut self, number: usize, mut commands: mpsc::Receiver<Command>) -> io::Result<()> {
        let heartbeat = self.shared.readiness.heartbeat(format!("worker {number}"));
        let mut second = interval(BEAT);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut drain = self.shared.drain.clone();
        let mut draining = false;
        while !draining || !self.serving.is_empty() {
            tokio::select! {
                () = drain.started(), if !draining => draining = true,
                Some(command) = commands.recv() => self.obey(command)?,
                Some(ended) = self.serving.join_next() => {
                    // Only a fault in the accept loop itself: the composition root ends the process then.
                    ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                }
                _ = second.tick() => {
                    heartbeat.beat();
                    self.tallies.retain(Tally::flush);
                }
            }
        }
        self.tallies.retain(Tally::flush);
        Ok(())
    }

    fn obey(&mut self, command: Command) -> io::Result<()> {
        match command {
            Command::Stop(id) => drop(self.accepting.remove(&id)),
            Command::Listen {
                id,
                listener,
                socket,
            } => {
                let socket = TcpListener::from_std(socket)?;
                let here = Rc::new(Here {
                    id,
                    listener,
                    snapshot: Arc::clone(&self.shared.snapshot),
                    events: self.shared.events.clone(),
                    closing: self.shared.closing.clone(),
                    buffer: Rc::clone(&self.buffer),
                    rng: RefCell::new(SmallRng::from_rng(&mut rand::rng())),
                    turn: Cell::new(0),
                    to_upstream: Cell::new(0),
                    to_client: Cell::new(0),
                });
                self.tallies.push(Tally::new(Rc::clone(&here)));
                let (accepting, stopped) = oneshot::channel();
                let (slots, drain) = (Arc::clone(&self.shared.slots), self.shared.drain.clone());
                self.serving
                    .spawn_local(serve(socket, here, slots, stopped, drain));
                self.accepting.insert(id, accepting);
            }
        }
        Ok(())
    }
}

/// Accepts clients until it is stopped or the drain starts, then waits for those that are there.
async fn serve(
    socket: TcpListener,
    here: Rc<Here>,
    slots: Arc<Semaphore>,
    mut stopped: oneshot::Receiver<()>,
    mut drain: Drain,
) {
    let mut connections = JoinSet::new();
    let waiting = Cell::new(false);
    {
        // It goes on across the turns of the loop: a client that it has accepted must not be lost.
        let mut next = pin!(next_client(&socket, &here, &slots, &waiting));
        loop {
            tokio::select! {
                () = drain.started() => break,
                _ = &mut stopped => break,
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

    /// Whether there can be more to count.
    fn flush(&self) -> bool {
        self.to_upstream.increment(self.here.to_upstream.take());
        self.to_client.increment(self.here.to_client.take());
        Rc::strong_count(&self.here) > 1
    }
}

const BEAT: Duration = Duration::from_secs(1);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Commands that may wait; who gives them waits, too.
const COMMANDS: usize = 16;
