//! One connection to a server (RFC 7766), over TCP or TLS: several questions on
//! it at once, their replies in any order.
//!
//! ```text
//! ask ─► Session ─► its task ─► connection
//!  ▲                   │
//!  └── the reply, or "the session has ended"
//! ```

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::metrics::ServerMetrics;
use crate::upstream::accept::{Belief, believe};
use crate::upstream::failure::Trouble;
use crate::upstream::query::Sent;
use crate::wire::response::Response;
use crate::wire::u16_at;

/// A connection, encrypted or not.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// An open connection. Its task ends when the last handle goes.
#[derive(Debug)]
pub(super) struct Session {
    questions: mpsc::Sender<Question>,
    /// From then on it takes no more questions, so that new replicas behind the
    /// same address get their share.
    retires: Instant,
    /// Questions without a reply.
    load: AtomicUsize,
    pulse: Arc<Pulse>,
    task: AbortHandle,
    metrics: ServerMetrics,
}

/// When the server last said anything on a connection.
#[derive(Debug)]
struct Pulse {
    born: Instant,
    /// Microseconds since then.
    last_heard: AtomicU64,
    /// It owes a reply and says nothing: no more questions.
    suspect: AtomicBool,
}

#[derive(Debug)]
struct Question {
    sent: Sent,
    reply: oneshot::Sender<Result<Response, Trouble>>,
}

impl Session {
    /// Begins to serve on a connection that is open.
    pub(super) fn new(connection: Box<dyn Connection>, metrics: &ServerMetrics) -> Self {
        let (questions, receiver) = mpsc::channel(MAX_PIPELINED);
        let pulse = Arc::new(Pulse {
            born: Instant::now(),
            last_heard: AtomicU64::new(0),
            suspect: AtomicBool::new(false),
        });
        let (read, write) = split(connection);
        let line = Line {
            read,
            write,
            received: Vec::new(),
            frames: Vec::new(),
            waiting: HashMap::new(),
            pulse: Arc::clone(&pulse),
            metrics: metrics.clone(),
        };
        metrics.connections.increment(1);
        let age = rand::random_range(MIN_AGE_SECONDS..=MAX_AGE_SECONDS);
        Self {
            questions,
            retires: pulse.born + Duration::from_secs(age),
            load: AtomicUsize::new(0),
            pulse,
            task: tokio::spawn(line.run(receiver)).abort_handle(),
            metrics: metrics.clone(),
        }
    }

    /// Sends one question and waits for its reply, without end: the caller has
    /// the deadline. Cancel safe.
    ///
    /// # Errors
    /// The server says that it does not answer, or the session has ended.
    pub(super) async fn ask(&self, sent: Sent) -> Result<Response, Trouble> {
        let _counted = Counted::new(&self.load);
        let (reply, answered) = oneshot::channel();
        self.questions
            .send(Question { sent, reply })
            .await
            .map_err(|_| Trouble::Closed)?;
        answered.await.unwrap_or(Err(Trouble::Closed))
    }

    /// Questions on it now.
    pub(super) fn load(&self) -> usize {
        self.load.load(Relaxed)
    }

    /// Whether anything has come on it yet. What accepts connections may be hung.
    pub(super) fn is_proven(&self) -> bool {
        self.pulse.last_heard.load(Relaxed) > 0
    }

    /// Whether it may be given a question.
    pub(super) fn takes_questions(&self, now: Instant) -> bool {
        now < self.retires && !self.pulse.suspect.load(Relaxed) && !self.questions.is_closed()
    }

    /// A question that was sent at `asked` has no reply yet, and should.
    pub(super) fn late(&self, asked: Instant) {
        if self.pulse.last_heard() < asked {
            self.pulse.suspect.store(true, Relaxed);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.metrics.connections.decrement(1);
        self.task.abort();
    }
}

impl Pulse {
    fn heard(&self) {
        let micros = self.born.elapsed().as_micros();
        self.last_heard
            .store(u64::try_from(micros).unwrap_or(u64::MAX), Relaxed);
    }

    fn last_heard(&self) -> Instant {
        self.born + Duration::from_micros(self.last_heard.load(Relaxed))
    }
}

/// One more, as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Relaxed);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// What the task of a session works on.
struct Line {
    read: ReadHalf<Box<dyn Connection>>,
    write: WriteHalf<Box<dyn Connection>>,
    received: Vec<u8>,
    /// Questions that wait to be written, each after its length.
    frames: Vec<u8>,
    waiting: HashMap<u16, Question>,
    pulse: Arc<Pulse>,
    metrics: ServerMetrics,
}

impl Line {
    /// Sends and receives until either side ends it. Whoever still waits then
    /// learns it, for the senders of the replies go with it.
    async fn run(mut self, mut questions: mpsc::Receiver<Question>) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                count = questions.recv_many(&mut batch, BATCH) => {
                    batch.drain(..).for_each(|question| self.queue(question));
                    if count == 0 || self.write().await.is_err() {
                        return;
                    }
                }
                read = self.read.read_buf(&mut self.received) => {
                    if !matches!(read, Ok(1..)) {
                        return;
                    }
                    self.pulse.heard();
                    self.take_replies();
                }
            }
        }
    }

    fn queue(&mut self, mut question: Question) {
        if self.waiting.len() >= MAX_PIPELINED {
            // Those who gave up waiting are not told to us; now it matters.
            self.waiting
                .retain(|_, question| !question.reply.is_closed());
        }
        let mut id = u16::from_be_bytes(question.sent.id());
        while self.waiting.contains_key(&id) {
            id = rand::random();
        }
        question.sent.set_id(id);
        let wire = question.sent.wire();
        self.frames
            .extend_from_slice(&(wire.len() as u16).to_be_bytes());
        self.frames.extend_from_slice(wire);
        self.waiting.insert(id, question);
    }

    async fn write(&mut self) -> io::Result<()> {
        let write = async {
            self.write.write_all(&self.frames).await?;
            self.write.flush().await
        };
        timeout(UNACKNOWLEDGED, write)
            .await
            .map_err(|_| io::ErrorKind::TimedOut)??;
        self.frames.clear();
        Ok(())
    }

    /// Hands out every whole reply that has been received.
    fn take_replies(&mut self) {
        let mut at = 0;
        while let Some(length) = u16_at(&self.received, at) {
            let from = at + 2;
            let Some(packet) = self.received.get(from..from + usize::from(length)) else {
                break;
            };
            at = from + packet.len();
            let id = u16_at(packet, 0).unwrap_or(0);
            let outcome = match self.waiting.get(&id).map(|q| believe(&q.sent, packet)) {
                // Nobody can put bytes into our connection: case does not matter.
                Some(Belief::Ours(response) | Belief::OtherCase(response)) => Ok(response),
                Some(Belief::Bare(rcode)) => Err(Trouble::Rejected(rcode)),
                Some(Belief::NotOurs) | None => {
                    self.metrics.ignored.increment(1);
                    continue;
                }
            };
            if let Some(question) = self.waiting.remove(&id) {
                // Who asked may have given up.
                let _ = question.reply.send(outcome);
            }
        }
        self.received.drain(..at);
    }
}

/// Questions on one connection at once. CoreDNS answers each in a goroutine.
pub(super) const MAX_PIPELINED: usize = 256;
/// Data that nobody acknowledges for so long ends the connection.
pub(super) const UNACKNOWLEDGED: Duration = Duration::from_secs(3);
const MIN_AGE_SECONDS: u64 = 45;
const MAX_AGE_SECONDS: u64 = 75;
/// Questions that are written at once.
const BATCH: usize = 64;
