//! Questions over TCP (RFC 7766): connections that are kept, several questions
//! on each at once, answers in any order.
//!
//! ```text
//! ask ─► Sessions: one that is free, or a new one ─► Session ─► its task ─► socket
//!  ▲                                                              │
//!  └───────────── the reply, or "the session has ended" ◄─────────┘
//! ```
//!
//! A session that ends takes no question along: who waited asks again on another.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::Counter;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::upstream::Trouble;
use crate::upstream::accept::{Belief, believe};
use crate::upstream::query::Sent;
use crate::wire::response::Response;
use crate::wire::u16_at;

/// The connections to one server.
#[derive(Debug)]
pub(super) struct Sessions {
    address: SocketAddr,
    /// Replies that were not believed.
    ignored: Counter,
    open: Mutex<Vec<Arc<Session>>>,
    /// Held while one is being opened, so that a thousand questions that all miss
    /// one open one connection, not a thousand.
    opening: tokio::sync::Mutex<()>,
}

impl Sessions {
    pub(super) fn new(address: SocketAddr, ignored: Counter) -> Self {
        Self {
            address,
            ignored,
            open: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        }
    }

    /// Sends the question on a connection that is open, or on a new one, and
    /// waits for the reply, without end: the caller has the deadline. With
    /// `born_after` only connections younger than that are good enough: what was
    /// open before may be what keeps the answer back. Cancel safe.
    ///
    /// # Errors
    /// A connection cannot be opened, or every one that was tried was closed.
    pub(super) async fn ask(
        &self,
        sent: Sent,
        born_after: Option<Instant>,
    ) -> Result<Response, Trouble> {
        for _ in 0..TRIES {
            let session = self.session(born_after).await?;
            match session.ask(sent.clone()).await {
                Err(Trouble::Closed) => {}
                outcome => return outcome,
            }
        }
        Err(Trouble::Closed)
    }

    async fn session(&self, born_after: Option<Instant>) -> Result<Arc<Session>, Trouble> {
        if let Some(session) = self.free(born_after) {
            return Ok(session);
        }
        let _opening = self.opening.lock().await;
        if let Some(session) = self.free(born_after) {
            return Ok(session);
        }
        let session = Arc::new(Session::open(self.address, self.ignored.clone()).await?);
        let mut open = self.lock();
        if open.len() >= MAX_SESSIONS {
            open.remove(0);
        }
        open.push(Arc::clone(&session));
        Ok(session)
    }

    /// The open connection with the fewest questions on it; none when another
    /// one should be opened.
    fn free(&self, born_after: Option<Instant>) -> Option<Arc<Session>> {
        let now = Instant::now();
        let mut open = self.lock();
        open.retain(|session| session.takes_questions(now));
        let best = open
            .iter()
            .filter(|session| born_after.is_none_or(|limit| session.born > limit))
            .min_by_key(|session| session.load.load(Relaxed))?;
        let load = best.load.load(Relaxed);
        let wants_more = open.len() < MIN_SESSIONS && load > 0;
        (!wants_more && load < MAX_PIPELINED).then(|| Arc::clone(best))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Session>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection. Its task ends when the last handle goes.
#[derive(Debug)]
struct Session {
    questions: mpsc::Sender<Question>,
    born: Instant,
    /// From then on it takes no more questions, so that new replicas behind the
    /// same address get their share.
    retires: Instant,
    /// Questions without a reply.
    load: AtomicUsize,
    /// Set when the server has been silent for too long.
    suspect: Arc<AtomicBool>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Question {
    sent: Sent,
    reply: oneshot::Sender<Result<Response, Trouble>>,
}

impl Session {
    async fn open(address: SocketAddr, ignored: Counter) -> Result<Self, Trouble> {
        let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        let stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        // Data that nobody acknowledges ends the connection soon.
        SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
        let (questions, receiver) = mpsc::channel(MAX_PIPELINED);
        let (read, write) = stream.into_split();
        let suspect = Arc::new(AtomicBool::new(false));
        let born = Instant::now();
        let line = Line {
            read,
            write,
            received: Vec::new(),
            waiting: HashMap::new(),
            silent_since: born,
            suspect: Arc::clone(&suspect),
            ignored,
        };
        let age = rand::random_range(MIN_AGE_SECONDS..=MAX_AGE_SECONDS);
        Ok(Self {
            questions,
            born,
            retires: born + Duration::from_secs(age),
            load: AtomicUsize::new(0),
            suspect,
            task: tokio::spawn(line.run(receiver)).abort_handle(),
        })
    }

    /// Sends one question and waits for its reply.
    async fn ask(&self, sent: Sent) -> Result<Response, Trouble> {
        let _counted = Counted::new(&self.load);
        let (reply, answered) = oneshot::channel();
        self.questions
            .send(Question { sent, reply })
            .await
            .map_err(|_| Trouble::Closed)?;
        answered.await.unwrap_or(Err(Trouble::Closed))
    }

    fn takes_questions(&self, now: Instant) -> bool {
        now < self.retires && !self.suspect.load(Relaxed) && !self.questions.is_closed()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
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
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    received: Vec<u8>,
    waiting: HashMap<u16, Question>,
    /// When the server last said anything, or was asked after having said all.
    silent_since: Instant,
    suspect: Arc<AtomicBool>,
    ignored: Counter,
}

impl Line {
    /// Sends and receives until either side ends it. Whoever still waits then
    /// learns it, for the senders of the replies go with it.
    async fn run(mut self, mut questions: mpsc::Receiver<Question>) {
        loop {
            let watched = !self.waiting.is_empty() && !self.suspect.load(Relaxed);
            let suspect_at = self.silent_since + SILENCE;
            tokio::select! {
                question = questions.recv() => {
                    let Some(question) = question else { return };
                    if self.send(question).await.is_err() {
                        return;
                    }
                }
                read = self.read.read_buf(&mut self.received) => {
                    if !matches!(read, Ok(1..)) {
                        return;
                    }
                    self.silent_since = Instant::now();
                    self.take_replies();
                }
                () = sleep_until(suspect_at), if watched => self.suspect.store(true, Relaxed),
            }
        }
    }

    async fn send(&mut self, mut question: Question) -> io::Result<()> {
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
        let mut frame = Vec::with_capacity(2 + wire.len());
        frame.extend_from_slice(&(wire.len() as u16).to_be_bytes());
        frame.extend_from_slice(wire);
        if self.waiting.is_empty() {
            self.silent_since = Instant::now();
        }
        self.waiting.insert(id, question);
        timeout(UNACKNOWLEDGED, self.write.write_all(&frame))
            .await
            .map_err(|_| io::ErrorKind::TimedOut)?
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
                    self.ignored.increment(1);
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

/// A question is tried on so many connections that end under it.
const TRIES: usize = 3;
/// Two, so that the death of one replica behind a Service meets half of the
/// questions, for the time of one retry.
const MIN_SESSIONS: usize = 2;
/// Beyond, the oldest makes room.
const MAX_SESSIONS: usize = 8;
/// Questions on one connection at once. CoreDNS answers each in a goroutine.
const MAX_PIPELINED: usize = 256;
const MIN_AGE_SECONDS: u64 = 45;
const MAX_AGE_SECONDS: u64 = 75;
/// A connection that owes a reply and says nothing for so long gets no more
/// questions.
const SILENCE: Duration = Duration::from_secs(1);
/// After it the kernel ends a connection whose data nobody acknowledges.
const UNACKNOWLEDGED: Duration = Duration::from_secs(3);
/// One lost SYN is sent again after a second.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_500);
