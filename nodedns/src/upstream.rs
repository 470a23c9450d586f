//! One question to one zone's servers, within one deadline.
//!
//! ```text
//! ask ─► pool: in which order ─► attempt 1 ──────────────── answer ─► done
//!                                   │ late, or an error
//!                                   └► attempt 2, while 1 goes on …
//! attempt: query (what is sent) ─► udp | stream ─► accept (what is believed)
//! ```
//!
//! An attempt that is late is not given up: the next server is asked beside it,
//! and the first answer wins. A server that answers SERVFAIL or REFUSED gives its
//! turn to the next at once.

mod accept;
pub(crate) mod pool;
mod query;
mod stream;
mod udp;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::error;

use crate::cache::key::Key;
use crate::config::Protocol;
use crate::upstream::pool::Server;
use crate::upstream::query::Sent;
use crate::wire::Rcode;
use crate::wire::edns::{ErrorCode, ExtendedError};
use crate::wire::name::Name;
use crate::wire::response::Response;

/// The servers of one zone.
#[derive(Debug)]
pub(crate) struct Upstream {
    zone: Name,
    servers: Vec<Arc<Server>>,
    slots: Semaphore,
}

impl Upstream {
    /// Whether there is more than one server.
    pub(crate) const fn has_others(&self) -> bool {
        self.servers.len() > 1
    }

    /// The servers of `zone`, of which there must be one.
    pub(crate) fn new(zone: Name, servers: Vec<Arc<Server>>) -> Self {
        Self {
            zone,
            servers,
            slots: Semaphore::new(MAX_QUESTIONS),
        }
    }

    /// Asks until there is a usable answer: NOERROR, NXDOMAIN or YXDOMAIN, to
    /// this very question. Cancel safe: what was started ends with it.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) async fn ask(&self, key: &Key, deadline: Instant) -> Result<Response, Failure> {
        let answer = self.ask_others(key, deadline, None).await?;
        Ok(answer.response)
    }

    /// Asks all servers but one, which gave an answer that cannot be believed.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) async fn ask_others(
        &self,
        key: &Key,
        deadline: Instant,
        disbelieved: Option<&Arc<Server>>,
    ) -> Result<Answer, Failure> {
        let Ok(_slot) = self.slots.try_acquire() else {
            return Err(Failure::TooBusy {
                zone: self.zone.clone(),
            });
        };
        let mut race = Race {
            key,
            candidates: pool::order(&self.servers)
                .into_iter()
                .filter(|server| disbelieved.is_none_or(|other| !Arc::ptr_eq(server, other)))
                .collect(),
            attempts: JoinSet::new(),
            started: 0,
            last_start: None,
            trouble: None,
        };
        if race.is_lost() {
            return Err(race.failure(&self.zone));
        }
        let mut next_start = Instant::now();
        loop {
            tokio::select! {
                Some(ended) = race.attempts.join_next(), if !race.attempts.is_empty() => {
                    match ended {
                        Ok(Ended { server, outcome: Ok(response) }) => {
                            return Ok(Answer { response, server });
                        }
                        Ok(Ended { server, outcome: Err(trouble) }) => {
                            if race.note(&server, trouble) {
                                next_start = Instant::now();
                            }
                        }
                        Err(panic) => error!(%panic, "an attempt to ask a server panicked"),
                    }
                    if race.is_lost() {
                        return Err(race.failure(&self.zone));
                    }
                }
                () = sleep_until(next_start.min(deadline)) => {
                    let now = Instant::now();
                    if now >= deadline {
                        return Err(race.failure(&self.zone));
                    }
                    next_start = now + race.start(now);
                }
            }
        }
    }
}

/// A usable answer, and whose it is.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response,
    pub(crate) server: Arc<Server>,
}

/// The attempts to have one question answered.
struct Race<'a> {
    key: &'a Key,
    /// Who may still be asked, the best first.
    candidates: Vec<Arc<Server>>,
    attempts: JoinSet<Ended>,
    started: u32,
    last_start: Option<Instant>,
    trouble: Option<(Arc<Server>, Trouble)>,
}

struct Ended {
    server: Arc<Server>,
    outcome: Result<Response, Trouble>,
}

impl Race<'_> {
    /// Starts the next attempt and gives the time after which it is late.
    fn start(&mut self, now: Instant) -> Duration {
        let count = self.candidates.len() as u32;
        let Some(turn) = self.started.checked_rem(count) else {
            // Everybody who may be asked is being asked.
            return PATIENCE_MAX;
        };
        let round = self.started / count;
        if self.started > 0 && !self.attempts.is_empty() {
            let previous = (self.started - 1) % count;
            self.candidates[previous as usize].late();
        }
        let server = Arc::clone(&self.candidates[turn as usize]);
        let patience = server.patience(round).min(PATIENCE_MAX);
        let key = self.key.clone();
        let born_after = self.last_start.replace(now);
        self.attempts.spawn(async move {
            let outcome = attempt(&server, &key, born_after).await;
            match &outcome {
                Ok(_) => server.answered(now.elapsed()),
                Err(trouble) => server.failed(trouble),
            }
            Ended { server, outcome }
        });
        self.started += 1;
        patience
    }

    /// Takes note of an attempt that failed. True when the next one is to start
    /// at once: somebody has not been asked yet.
    fn note(&mut self, server: &Arc<Server>, trouble: Trouble) -> bool {
        let asked_all = self.started as usize >= self.candidates.len();
        if matches!(trouble, Trouble::Rejected(_)) {
            // It would say so again. `started` counts on from the same place.
            if let Some(at) = self
                .candidates
                .iter()
                .position(|candidate| Arc::ptr_eq(candidate, server))
            {
                self.candidates.remove(at);
                self.started = self.started.saturating_sub(1);
            }
        }
        self.trouble = Some((Arc::clone(server), trouble));
        !asked_all
    }

    /// Nobody is being asked, and nobody is left to ask.
    fn is_lost(&self) -> bool {
        self.attempts.is_empty() && self.candidates.is_empty()
    }

    fn failure(self, zone: &Name) -> Failure {
        match self.trouble {
            Some((server, trouble)) => Failure::Server {
                zone: zone.clone(),
                server: server.to_string(),
                trouble,
            },
            None => Failure::NoAnswer { zone: zone.clone() },
        }
    }
}

/// Asks one server once; over TCP as well when UDP is not enough, and without
/// EDNS as well when the server does not know EDNS.
async fn attempt(
    server: &Server,
    key: &Key,
    born_after: Option<Instant>,
) -> Result<Response, Trouble> {
    match exchange(server, key, true, born_after).await {
        // RFC 6891 §7: a server that does not know OPT.
        Err(Trouble::Rejected(Rcode::FORMERR | Rcode::NOTIMP)) => {
            exchange(server, key, false, born_after).await
        }
        outcome => outcome,
    }
}

async fn exchange(
    server: &Server,
    key: &Key,
    edns: bool,
    born_after: Option<Instant>,
) -> Result<Response, Trouble> {
    if server.protocol() == Protocol::Udp
        && let udp::Reply::Whole(response) = udp::ask(server, &Sent::new(key, edns, true)).await?
    {
        return usable(response);
    }
    let sent = Sent::new(key, edns, false);
    usable(server.sessions().ask(sent, born_after).await?)
}

fn usable(response: Response) -> Result<Response, Trouble> {
    match response.rcode() {
        Rcode::NOERROR | Rcode::NXDOMAIN | Rcode::YXDOMAIN => Ok(response.in_lower_case()),
        rcode => Err(Trouble::Rejected(rcode)),
    }
}

/// Why one attempt brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The server answered, but with a code that is no answer.
    #[error("answers {0}")]
    Rejected(Rcode),
    /// The network said no.
    #[error("cannot be asked: {0}")]
    Network(#[from] io::Error),
    /// The server closed the connection.
    #[error("closed the connection")]
    Closed,
}

/// Why a question has no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// As many questions as the zone may have are on their way.
    TooBusy { zone: Name },
    /// The last server that said anything.
    Server {
        zone: Name,
        server: String,
        trouble: Trouble,
    },
    /// No server said anything.
    NoAnswer { zone: Name },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooBusy { zone } => write!(
                f,
                "zone {zone}: {MAX_QUESTIONS} questions to its servers are waiting already"
            ),
            Self::Server {
                zone,
                server,
                trouble,
            } => write!(f, "zone {zone}: {server} {trouble}"),
            Self::NoAnswer { zone } => {
                write!(f, "zone {zone}: no server answered in time")
            }
        }
    }
}

impl Failure {
    /// What the client is told.
    pub(crate) fn extended_error(&self) -> ExtendedError {
        let code = match self {
            Self::TooBusy { .. } => ErrorCode::NotReady,
            Self::Server {
                trouble: Trouble::Rejected(_),
                ..
            } => ErrorCode::Other,
            Self::Server { .. } => ErrorCode::NetworkError,
            Self::NoAnswer { .. } => ErrorCode::NoReachableAuthority,
        };
        ExtendedError::new(code, self.to_string())
    }
}

/// Questions of one zone on their way at once: each holds a socket or a place on
/// a connection. A server that answers in 10 ms is then asked 100,000 times a
/// second; one that is dead costs 1,024 sockets.
const MAX_QUESTIONS: usize = 1_024;
/// However slow a server is known to be, another attempt starts after this.
const PATIENCE_MAX: Duration = Duration::from_millis(1_500);
