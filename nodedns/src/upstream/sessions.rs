//! The connections to one server: kept, shared, and opened anew before anybody
//! has to wait for one.
//!
//! ```text
//! ask ─► pick: the one with the fewest questions ─► Session
//!          └ none, or too few ─► open, on the side: staggered tries ─► TLS?
//! ```
//!
//! Behind one address may stand many servers (a Service): a connection that is
//! refused or does not come about is tried again at once, for the next one may
//! lead to another; and a session that ends takes no question along.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::{Forward, Protocol};
use crate::metrics::ServerMetrics;
use crate::upstream::failure::Trouble;
use crate::upstream::query::Sent;
use crate::upstream::session::{Connection, MAX_PIPELINED, Session, UNACKNOWLEDGED};
use crate::upstream::tls::{Authorities, Encryption};
use crate::wire::response::Response;

/// The connections to one server.
#[derive(Debug)]
pub(super) struct Sessions {
    shared: Arc<Shared>,
    /// The opening of connections.
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    encryption: Option<Encryption>,
    metrics: ServerMetrics,
    held: Mutex<Held>,
    /// How the last opening ended; who waits for a connection waits for it.
    opened: watch::Sender<Result<(), Trouble>>,
}

#[derive(Debug, Default)]
struct Held {
    sessions: Vec<Arc<Session>>,
    /// One at a time: a thousand questions that all miss one open one connection,
    /// not a thousand.
    opening: bool,
}

/// The connections on which a question was sent already. What keeps the answer
/// back may be the connection, so the next attempt takes another.
#[derive(Debug, Clone, Default)]
pub(super) struct Tried(Arc<Mutex<Vec<Arc<Session>>>>);

impl Tried {
    /// What was sent on them at `asked` should have been answered.
    pub(super) fn late(&self, asked: Instant) {
        for session in self.lock().iter() {
            session.late(asked);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Session>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions {
    pub(super) fn new(
        forward: &Forward,
        authorities: &Authorities,
        metrics: &ServerMetrics,
    ) -> Self {
        let encryption = match &forward.protocol {
            // A UDP server is asked over TCP for what does not fit.
            Protocol::Udp | Protocol::Tcp => None,
            Protocol::Tls(identity) => Some(Encryption::new(
                forward.address,
                identity,
                authorities,
                metrics,
            )),
        };
        Self {
            shared: Arc::new(Shared {
                address: forward.address,
                encryption,
                metrics: metrics.clone(),
                held: Mutex::default(),
                opened: watch::Sender::new(Ok(())),
            }),
            tasks: Mutex::default(),
        }
    }

    /// Sends the question on a connection that is open, or on a new one, and
    /// waits for the reply, without end: the caller has the deadline. `eager`:
    /// a new one is tried for more than once. Cancel safe.
    ///
    /// # Errors
    /// A connection cannot be opened, or every one that was tried was closed.
    pub(super) async fn ask(
        &self,
        sent: Sent,
        tried: &Tried,
        eager: bool,
    ) -> Result<Response, Trouble> {
        for _ in 0..TRIES {
            let session = self.session(tried, eager).await?;
            match session.ask(sent.clone()).await {
                Err(Trouble::Closed) => {}
                outcome => return outcome,
            }
        }
        Err(Trouble::Closed)
    }

    async fn session(&self, tried: &Tried, eager: bool) -> Result<Arc<Session>, Trouble> {
        // From before the look, so that no opening is missed.
        let mut opened = self.shared.opened.subscribe();
        for _ in 0..TRIES {
            let (picked, wants_more) = self.shared.pick(tried);
            if wants_more {
                self.open_another(eager);
            }
            if let Some(session) = picked {
                tried.lock().push(Arc::clone(&session));
                return Ok(session);
            }
            // The sender lives as long as this does.
            let _ = opened.changed().await;
            opened.borrow_and_update().clone()?;
        }
        // Each was closed, or filled by others, before it could be used.
        Err(Trouble::Closed)
    }

    /// Opens a connection on the side, unless one is being opened.
    fn open_another(&self, eager: bool) {
        if std::mem::replace(&mut self.shared.lock().opening, true) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let outcome = shared.open(eager).await;
            shared.take(outcome);
        });
    }
}

impl Shared {
    /// The open connection with the fewest questions on it, if there is one that
    /// was not tried and has room; and whether there should be more of them.
    fn pick(&self, tried: &Tried) -> (Option<Arc<Session>>, bool) {
        let now = Instant::now();
        let mut held = self.lock();
        held.sessions.retain(|session| session.takes_questions(now));
        let tried = tried.lock();
        let best = held
            .sessions
            .iter()
            .filter(|session| !tried.iter().any(|other| Arc::ptr_eq(other, session)))
            .filter(|session| session.load() < MAX_PIPELINED)
            .min_by_key(|session| (session.load(), !session.is_proven()))
            .cloned();
        let wants_more = match &best {
            None => true,
            Some(best) => held.sessions.len() < MIN_SESSIONS && best.load() > 0,
        };
        (best, wants_more)
    }

    /// Opens a connection, and encrypts it where that is due.
    async fn open(&self, eager: bool) -> io::Result<Box<dyn Connection>> {
        let tries = if eager { CONNECTS } else { 1 };
        timeout(OPEN_TIMEOUT, self.open_staggered(tries))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// The next try starts when one fails, or beside one that takes long; the
    /// first that comes about wins.
    async fn open_staggered(&self, tries: usize) -> io::Result<Box<dyn Connection>> {
        let mut running = JoinSet::new();
        let mut started = 0;
        let mut next_start = Instant::now();
        loop {
            tokio::select! {
                () = sleep_until(next_start), if started < tries => {
                    running.spawn(open_once(self.address, self.encryption.clone()));
                    started += 1;
                    next_start = Instant::now() + STAGGER;
                }
                Some(ended) = running.join_next() => match ended {
                    Ok(Ok(connection)) => return Ok(connection),
                    Ok(Err(error)) if started == tries && running.is_empty() => return Err(error),
                    Ok(Err(_)) => next_start = next_start.min(Instant::now() + BREATH),
                    Err(panic) => return Err(io::Error::other(panic)),
                },
            }
        }
    }

    /// Takes a new connection among those that are held, and tells who waits.
    fn take(&self, outcome: io::Result<Box<dyn Connection>>) {
        let outcome = outcome.map(|connection| Session::new(connection, &self.metrics));
        let mut held = self.lock();
        held.opening = false;
        let told = match outcome {
            Ok(session) => {
                if held.sessions.len() >= MAX_SESSIONS {
                    // The oldest; what is asked on it will be answered yet.
                    held.sessions.remove(0);
                }
                held.sessions.push(Arc::new(session));
                Ok(())
            }
            Err(error) => Err(error.into()),
        };
        drop(held);
        // How the opening before this one ended is of no interest any more.
        let _ = self.opened.send_replace(told);
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn open_once(
    address: SocketAddr,
    encryption: Option<Encryption>,
) -> io::Result<Box<dyn Connection>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    match encryption {
        None => Ok(Box::new(stream)),
        Some(encryption) => Ok(Box::new(encryption.encrypt(stream).await?)),
    }
}

/// A question is tried on so many connections that end under it.
const TRIES: usize = 4;
/// Two, so that the death of one replica behind a Service meets half of the
/// questions, for the time of one retry.
const MIN_SESSIONS: usize = 2;
/// Beyond, the oldest makes room.
const MAX_SESSIONS: usize = 8;
/// Of three replicas behind an address one is dead: six tries in a row that all
/// lead there happen once in 729 times.
const CONNECTS: usize = 6;
/// A connection within a data centre takes a millisecond or two.
const STAGGER: Duration = Duration::from_millis(100);
/// Between a refusal and the next try.
const BREATH: Duration = Duration::from_millis(2);
/// One lost SYN is sent again after a second.
const OPEN_TIMEOUT: Duration = Duration::from_millis(2_500);
