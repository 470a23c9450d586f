//! One worker: its sockets, what it answers at once, and what it waits for.
//!
//! [`udp`], on threads of its own, and [`tcp`], on the worker's runtime, read
//! queries and hand each to [`Service`]. A hit is answered in place; a miss becomes
//! a task of [`Misses`] on the runtime, which outlives the client, and is bounded.
//!
//! What answers and finds is [`Parts`], others once the configuration is another:
//! a question ends with those with which it began.

pub(crate) mod tcp;
pub(crate) mod udp;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::error;

use crate::answer::{Answers, Miss, Outcome};
use crate::metrics::Metrics;
use crate::resolve::Resolver;
use crate::wire::patch::Transport;

/// What answers, and what finds the answers to misses, as one configuration says.
pub(crate) struct Parts {
    pub(crate) answers: Answers,
    pub(crate) resolver: Arc<Resolver>,
}

/// The parts of the configuration in force.
#[derive(Clone)]
pub(crate) struct Latest {
    published: watch::Receiver<Arc<Parts>>,
    parts: Arc<Parts>,
}

impl Latest {
    /// Those that are published last.
    pub(crate) fn of(mut published: watch::Receiver<Arc<Parts>>) -> Self {
        let parts = Arc::clone(&published.borrow_and_update());
        Self { published, parts }
    }

    /// The parts as they are now. Most often one load.
    pub(crate) fn get(&mut self) -> &Arc<Parts> {
        // Whoever publishes may be gone: then there is nothing new.
        if self.published.has_changed().unwrap_or(false) {
            self.parts = Arc::clone(&self.published.borrow_and_update());
        }
        &self.parts
    }
}

/// What the sockets of one worker serve with.
pub(crate) struct Service {
    misses: Misses,
    metrics: Metrics,
}

impl Service {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self {
            misses: Misses::new(metrics.clone()),
            metrics,
        }
    }

    /// Makes `out` the answer to `packet`, if it can be made now. A panic, a bug
    /// of ours, costs this packet its answer and nothing else.
    fn answer(
        &self,
        parts: &Parts,
        out: &mut Vec<u8>,
        packet: &[u8],
        transport: Transport,
        now: Instant,
    ) -> Outcome {
        catch_unwind(AssertUnwindSafe(|| {
            parts.answers.answer(out, packet, transport, now)
        }))
        .unwrap_or_else(|_| {
            error!("answering a query panicked: please report this");
            self.metrics.panics.increment(1);
            Outcome::Silence
        })
    }

    /// Has the answer to `miss` found, and `reply` called with it. Gives the
    /// answer back at once when too many wait already.
    fn find(
        &self,
        parts: &Arc<Parts>,
        miss: Box<Miss>,
        reply: impl FnOnce(&Metrics, &[u8]) + Send + 'static,
    ) -> Result<(), Vec<u8>> {
        let mut tasks = self.misses.lock();
        self.misses.reap(&mut tasks);
        if tasks.len() >= MAX_MISSES {
            let mut out = Vec::new();
            parts.answers.too_busy(&mut out, &miss);
            return Err(out);
        }
        let (parts, metrics) = (Arc::clone(parts), self.metrics.clone());
        tasks.spawn(async move {
            let entry = parts.resolver.resolve(&miss.key, None).await;
            let mut out = Vec::new();
            parts
                .answers
                .finish(&mut out, &miss, &entry, Instant::now());
            reply(&metrics, &out);
        });
        Ok(())
    }

    /// Waits until every miss has its answer. Nobody may add any more.
    pub(crate) async fn finish(&self) {
        let mut tasks = std::mem::take(&mut *self.misses.lock());
        while let Some(ended) = tasks.join_next().await {
            self.misses.note(ended);
        }
    }
}

/// The tasks that find answers: they belong to the worker, not to a connection,
/// for the answer is wanted even when its first client has gone.
struct Misses {
    tasks: Mutex<JoinSet<()>>,
    metrics: Metrics,
}

impl Misses {
    fn new(metrics: Metrics) -> Self {
        Self {
            tasks: Mutex::default(),
            metrics,
        }
    }

    fn lock(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reap(&self, tasks: &mut JoinSet<()>) {
        while let Some(ended) = tasks.try_join_next() {
            self.note(ended);
        }
    }

    fn note(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(panic) = ended {
            error!(%panic, "finding an answer panicked: please report this");
            self.metrics.panics.increment(1);
        }
    }
}

/// Questions of one worker that wait, those that wait for the same answer
/// included: some 2 KiB each.
const MAX_MISSES: usize = 16_384;
