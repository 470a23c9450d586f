//! One worker: its sockets, what it answers at once, and what it waits for.
//!
//! [`udp`], on threads of its own, and [`tcp`], on the worker's runtime, read
//! queries and hand each to [`Service`]. A hit is answered in place, and so is what NSEC records
//! deny that were seen before; a miss becomes
//! a task of [`Misses`] on the runtime, which outlives the client, or waits in its client's
//! [`lines`]; both are bounded.
//!
//! What answers and finds is [`Parts`], others once the configuration is another:
//! a question ends with those with which it began.

mod aside;
mod guests;
mod lines;
mod reply;
pub(crate) mod tcp;
pub(crate) mod udp;

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout_at;
use tracing::error;

use crate::answer::{Answers, Miss, Outcome};
use crate::cache::key::Key;
use crate::client::{Arrival, Client};
use crate::metrics::{Limit, Metrics, Unanswered};
use crate::resolve::Resolver;
use crate::serve::lines::{Lines, Place};
use crate::serve::reply::Reply;
use crate::wire::patch::Transport;

/// What answers, and what finds the answers to misses, as one configuration says.
pub(crate) struct Parts {
    pub(crate) answers: Answers,
    pub(crate) resolver: Arc<Resolver>,
}

impl Parts {
    fn answer_or_deny(&self, out: &mut Vec<u8>, packet: &[u8], arrival: Arrival) -> Outcome {
        let outcome = self.answers.answer(out, packet, arrival);
        // A denial that follows from earlier ones takes less time than to hand the miss over.
        if let Outcome::Miss(miss) = &outcome
            && let Some(denial) = self.resolver.denied_at_once(&miss.key, arrival.at)
        {
            self.answers.finish(out, miss, &denial, arrival.at);
            return Outcome::Answer;
        }
        outcome
    }
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
            misses: Misses::new(),
            metrics,
        }
    }

    /// Makes `out` the answer to `packet`, if it can be made now. A panic, a bug
    /// of ours, costs this packet its answer and nothing else.
    fn answer(&self, parts: &Parts, out: &mut Vec<u8>, packet: &[u8], arrival: Arrival) -> Outcome {
        catch_unwind(AssertUnwindSafe(|| {
            parts.answer_or_deny(out, packet, arrival)
        }))
        .unwrap_or_else(|_| {
            error!("answering a query panicked: please report this");
            self.metrics.panics.increment(1);
            Outcome::Silence
        })
    }

    /// Has the answer to `miss` found, once the turn is [`asked`](Self::ask_all), and given to
    /// `reply`. Gives the answer back at once when too many wait already.
    fn find(
        &self,
        turn: &mut Turn,
        parts: &Arc<Parts>,
        miss: Box<Miss>,
        reply: Reply,
    ) -> Result<(), Vec<u8>> {
        let from = miss.arrival.from;
        let client = Client::of(from);
        let parts = Arc::clone(parts);
        let share = parts.answers.share(from);
        let question = Question { parts, miss, reply };
        let place = self.misses.lock().lines.enter(client, question, share);
        match place {
            Place::Ask(question) => turn.0.push((client, question)),
            Place::Waits => {}
            Place::None(question) => return Err(self.too_busy(&question)),
        }
        Ok(())
    }

    /// Has the questions of a turn asked. Whoever sleeps is woken once for all of them.
    fn ask_all(self: &Arc<Self>, turn: &mut Turn) {
        let Some((client, question)) = turn.0.pop() else {
            return;
        };
        let service = Arc::clone(self);
        let mut misses = self.misses.lock();
        misses.reap();
        if turn.0.is_empty() {
            misses.spawn(service.ask_for(client, question));
            return;
        }
        turn.0.push((client, question));
        let turn = std::mem::take(&mut turn.0);
        misses.tasks.spawn(async move {
            let mut misses = service.misses.lock();
            for (client, question) in turn {
                misses.spawn(Arc::clone(&service).ask_for(client, question));
            }
        });
    }

    /// Answers those whose turn does not come in time: whoever asked is still there to
    /// hear it. To be called once a second.
    pub(crate) fn give_up(&self, now: Instant) {
        let is_over = |question: &Question| question.miss.arrival.due().turn_by() <= now;
        // Not under the lock, where others wait.
        let given_up = self.misses.lock().lines.give_up(is_over);
        for question in given_up {
            let out = self.too_busy(&question);
            if let Some(outbox) = question.reply.give(&self.metrics, out) {
                outbox.flush(&self.metrics);
            }
        }
    }

    fn too_busy(&self, Question { parts, miss, .. }: &Question) -> Vec<u8> {
        self.metrics.limited(Limit::Waiting);
        let mut out = Vec::new();
        parts.answers.too_busy(&mut out, miss, Instant::now());
        out
    }

    /// Finds the answer to a question, then to those of the same client that wait.
    async fn ask_for(self: Arc<Self>, client: Client, question: Question) {
        let mut next = Some(question);
        while let Some(question) = next {
            if caught(pin!(self.ask(question))).await.is_err() {
                error!("finding an answer panicked: please report this");
                self.metrics.panics.increment(1);
            }
            next = self.misses.lock().lines.done(client);
            if let Some(Question { miss, .. }) = &mut next {
                miss.is_of_a_pile = miss.arrival.is_of_a_pile(Instant::now());
            }
        }
    }

    async fn ask(&self, question: Question) {
        let Question { parts, miss, reply } = question;
        let is_too_old = |now| {
            let is_too_old = miss.arrival.is_too_old(now);
            if is_too_old {
                self.metrics.unanswered(Unanswered::TooOld);
            }
            is_too_old
        };
        if is_too_old(Instant::now()) {
            return;
        }
        let Parts { answers, resolver } = &*parts;
        let mut out = Vec::new();
        let mut resolving = pin!(resolver.resolve(&miss.key, None));
        let in_time = if miss.has_old {
            let end = miss.arrival.at + answers.patience().saturating_sub(WAKING);
            timeout_at(end.into(), &mut resolving).await.ok()
        } else {
            None
        };
        let entry = match in_time {
            Some(entry) => entry,
            None if answers.finish_with_old(&mut out, &miss, Instant::now()) => {
                self.deliver(reply, out).await;
                // Others wait for it, and so does the cache.
                resolving.await;
                return;
            }
            None => {
                let end = miss.arrival.due().answered_by();
                match timeout_at(end.into(), &mut resolving).await {
                    Ok(entry) => entry,
                    // It had to wait for its turn; the answer is still for the cache.
                    Err(_) => {
                        answers.too_busy(&mut out, &miss, Instant::now());
                        self.deliver(reply, out).await;
                        resolving.await;
                        return;
                    }
                }
            }
        };
        let now = Instant::now();
        // Who has a connection is who he says, and waits as long as he likes.
        if miss.arrival.transport == Transport::Udp && is_too_old(now) {
            return;
        }
        answers.finish(&mut out, &miss, &entry, now);
        self.deliver(reply, out).await;
    }

    async fn deliver(&self, reply: Reply, answer: Vec<u8>) {
        if let Some(outbox) = reply.give(&self.metrics, answer) {
            // What else is found in this turn of the runtime goes along.
            yield_now().await;
            outbox.flush(&self.metrics);
        }
    }

    /// Has a newer answer to `key` found, unless too many wait already: for nobody
    /// waits for this one.
    fn refresh(self: &Arc<Self>, parts: &Arc<Parts>, key: Key) {
        let mut misses = self.misses.lock();
        misses.reap();
        if misses.tasks.len() < MAX_MISSES / 2 {
            let (service, parts) = (Arc::clone(self), Arc::clone(parts));
            misses.spawn(async move {
                if caught(pin!(parts.resolver.refresh(&key))).await.is_err() {
                    error!("renewing an answer panicked: please report this");
                    service.metrics.panics.increment(1);
                }
            });
        }
    }

    /// Waits until every miss has its answer. Nobody may add any more.
    pub(crate) async fn finish(&self) {
        loop {
            let mut tasks = std::mem::take(&mut self.misses.lock().tasks);
            if tasks.is_empty() {
                return;
            }
            // Some of them add others.
            while tasks.join_next().await.is_some() {}
        }
    }
}

/// A question and what is done with its answer.
struct Question {
    parts: Arc<Parts>,
    miss: Box<Miss>,
    reply: Reply,
}

/// The questions that came together and are to be asked.
#[derive(Default)]
struct Turn(Vec<(Client, Question)>);

/// The tasks that find answers: they belong to the worker, not to a connection,
/// for the answer is wanted even when its first client has gone.
struct Misses(Mutex<Open>);

struct Open {
    tasks: JoinSet<()>,
    lines: Lines<Question>,
}

impl Misses {
    fn new() -> Self {
        Self(Mutex::new(Open {
            tasks: JoinSet::new(),
            lines: Lines::new(MAX_MISSES),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Boxed, for it is large: the runtime would copy it ten times over.
    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(Box::pin(task));
    }

    fn reap(&mut self) {
        while self.tasks.try_join_next().is_some() {}
    }
}

/// What `future` gives, or that it panicked: a bug of ours, which is not to cost those who
/// wait in the same line anything. Pinned already, for it is large and would be here twice.
async fn caught<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Result<T, Panicked> {
    poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)))
            .map_or(Poll::Ready(Err(Panicked)), |polled| polled.map(Ok))
    })
    .await
}

struct Panicked;

/// What it takes to wake at a time and to have sent an answer by then: timers are a millisecond late.
const WAKING: Duration = Duration::from_millis(5);
/// Questions of one worker that wait, those that wait for the same answer
/// included: some 3 KiB each, 2 KiB more while a server is asked, half a KiB of those whose turn has not come.
const MAX_MISSES: usize = 16_384;
