//! The workers: each a thread with a loop of its own, and the connections that it accepted. Nothing on it
//! waits for another thread.
//!
//! All workers wait on the same listening sockets, and the kernel wakes one that sleeps.

mod accept;
#[cfg(test)]
pub(crate) mod alone;
mod event_loop;
pub(crate) mod slots;
pub(crate) mod timers;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    os::fd::OwnedFd,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use daemon::readiness::Readiness;
use futures_util::future::join_all;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tracing::error;

use self::{event_loop::EventLoop, slots::Slots};
use crate::{
    config::Listener,
    connection::Live,
    decide::{Event, ListenerId},
    handover::record::Handed,
    published::{Bell, Published},
    recent::{Ended, Recent},
    vanished::Vanished,
};

/// What a worker is told while it runs.
#[derive(Debug)]
pub(crate) enum Command {
    /// Accept clients of this listener from this socket. If the id is known, this replaces what it had:
    /// clients from now on are served so, and those that are here stay.
    Listen {
        id: ListenerId,
        listener: Arc<Listener>,
        socket: TcpListener,
    },
    /// Accept no more clients of this listener. Those that are here stay.
    Stop(ListenerId),
    /// Accept no more clients, and give all connections away: somebody else is to go on with them.
    Release(oneshot::Sender<Vec<Handed>>),
    /// Go on with these connections.
    Adopt(Vec<Adopted>),
    /// Tell what happened lately.
    Recall(oneshot::Sender<Recent>),
    /// Tell of the connections whose client has this address, which is canonical.
    Find(SocketAddr, oneshot::Sender<Found>),
    /// Close the connections of these peers.
    Bury(Arc<Vanished>),
    /// Accept no more clients at all, and end with the last one that is here.
    Drain,
    /// Close the connections that are left.
    Close,
}

/// A connection that another process began, with the listener that it belongs to here.
#[derive(Debug)]
pub(crate) struct Adopted {
    pub(crate) id: ListenerId,
    pub(crate) listener: Arc<Listener>,
    pub(crate) handed: Handed,
}

/// The connections of one client on one worker.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) live: Vec<Live>,
    /// Those that have ended lately.
    pub(crate) ended: Vec<(ListenerId, Ended)>,
}

/// For those who tell workers what to do. Clones lead to the same workers.
#[derive(Clone)]
pub(crate) struct Workers(Vec<Ear>);

/// How one worker is told something.
#[derive(Clone)]
struct Ear {
    commands: mpsc::Sender<Command>,
    bell: Bell,
}

impl Ear {
    async fn tell(&self, command: Command) {
        // One that has ended is the composition root's business.
        let _ = self.commands.send(command).await;
        self.bell.ring();
    }
}

impl Workers {
    /// Starts `count` workers, which listen to nothing yet. The receiver gets the number of each that ends.
    ///
    /// # Errors
    /// A thread cannot be made, or descriptors ran out.
    pub(crate) fn spawn(
        count: NonZeroUsize,
        shared: &Shared,
    ) -> io::Result<(Self, mpsc::Receiver<usize>)> {
        let (sender, ended) = mpsc::channel(count.get());
        let workers = (0..count.get()).map(|number| {
            let (commands, told) = mpsc::channel(COMMANDS);
            let bell = Bell::new()?;
            let farewell = Farewell {
                number,
                sender: sender.clone(),
            };
            shared.published.subscribe(bell.clone());
            // Not on the thread: clients may have taken the last descriptor by then.
            let epoll = EventLoop::epoll(&bell)?;
            spawn(epoll, shared.clone(), bell.clone(), told, farewell)?;
            Ok(Ear { commands, bell })
        });
        Ok((Self(workers.collect::<io::Result<_>>()?), ended))
    }

    /// The same socket once for each worker.
    ///
    /// # Errors
    /// Descriptors ran out.
    pub(crate) fn share(&self, socket: &TcpListener) -> io::Result<Vec<TcpListener>> {
        self.0.iter().map(|_| socket.try_clone()).collect()
    }

    /// Tells all workers to listen, each with its share.
    pub(crate) async fn listen(
        &self,
        id: ListenerId,
        listener: &Arc<Listener>,
        shares: Vec<TcpListener>,
    ) {
        for (worker, socket) in self.0.iter().zip(shares) {
            let listener = Arc::clone(listener);
            let command = Command::Listen {
                id,
                listener,
                socket,
            };
            worker.tell(command).await;
        }
    }

    /// Tells all workers to accept no more clients of this listener.
    pub(crate) async fn stop(&self, id: ListenerId) {
        for worker in &self.0 {
            worker.tell(Command::Stop(id)).await;
        }
    }

    /// Takes all connections out of the workers, which accept no more clients then.
    pub(crate) async fn release(&self) -> Vec<Handed> {
        let mut released = Vec::new();
        for worker in &self.0 {
            let (give, given) = oneshot::channel();
            worker.tell(Command::Release(give)).await;
            released.extend(given.await.unwrap_or_default());
        }
        released
    }

    /// Gives connections to the workers, to each about as many.
    pub(crate) async fn adopt(&self, mut connections: Vec<Adopted>) {
        for (done, worker) in self.0.iter().enumerate() {
            let share = connections.len().div_ceil(self.0.len() - done);
            let rest = connections.split_off(share);
            worker.tell(Command::Adopt(connections)).await;
            connections = rest;
        }
    }

    /// What all workers answer to a question, and how many did not within [`ANSWER`]. Cancel safe; to be
    /// called inside a tokio runtime.
    pub(crate) async fn ask<T>(
        &self,
        question: impl Fn(oneshot::Sender<T>) -> Command,
    ) -> (Vec<T>, usize) {
        let answers = self.0.iter().map(|worker| {
            let (give, given) = oneshot::channel();
            let question = question(give);
            timeout(ANSWER, async {
                worker.tell(question).await;
                given.await.ok()
            })
        });
        let answers = join_all(answers).await.into_iter();
        let answers: Vec<T> = answers.filter_map(|it| it.ok().flatten()).collect();
        let silent = self.0.len() - answers.len();
        (answers, silent)
    }

    /// Tells all workers to accept no more clients, and to end with the last one that is there.
    pub(crate) async fn drain(&self) {
        for worker in &self.0 {
            worker.tell(Command::Drain).await;
        }
    }

    /// Tells all workers which peers have vanished.
    pub(crate) async fn bury(&self, vanished: &Arc<Vanished>) {
        for worker in &self.0 {
            worker.tell(Command::Bury(Arc::clone(vanished))).await;
        }
    }

    /// Tells all workers to close the connections that are left.
    pub(crate) async fn close(&self) {
        for worker in &self.0 {
            worker.tell(Command::Close).await;
        }
    }
}

/// What all workers are given. Clones share everything.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) published: Arc<Published>,
    pub(crate) events: mpsc::Sender<Event>,
    /// One for each connection that there may be.
    pub(crate) slots: Slots,
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

fn spawn(
    epoll: OwnedFd,
    shared: Shared,
    bell: Bell,
    commands: mpsc::Receiver<Command>,
    farewell: Farewell,
) -> io::Result<()> {
    thread::Builder::new()
        .name(format!("worker {}", farewell.number))
        .spawn(move || {
            if let Err(error) = run(farewell.number, epoll, &shared, bell, commands) {
                error!(worker = farewell.number, %error, "a worker cannot go on");
            }
            // Moved in here whole, so that a panic says farewell, too.
            drop(farewell);
        })?;
    Ok(())
}

/// Turns the loop until it is done; once a second, a sign of life, and what was counted into the metrics.
fn run(
    number: usize,
    epoll: OwnedFd,
    shared: &Shared,
    bell: Bell,
    commands: mpsc::Receiver<Command>,
) -> io::Result<()> {
    let mut event_loop = EventLoop::new(epoll, shared, bell, commands);
    let heartbeat = shared.readiness.heartbeat(format!("worker {number}"));
    let mut next_beat = Instant::now();
    while !event_loop.is_done() {
        event_loop.turn(next_beat)?;
        let now = Instant::now();
        if now >= next_beat {
            heartbeat.beat();
            event_loop.beat();
            next_beat = now + BEAT;
        }
    }
    event_loop.beat();
    Ok(())
}

const BEAT: Duration = Duration::from_secs(1);
/// How long a worker may take to answer: a turn of its loop, unless it is stuck.
const ANSWER: Duration = Duration::from_secs(1);
/// Commands that may wait; who gives them waits, too.
const COMMANDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_panics_says_farewell_so_that_the_process_ends_and_is_started_again() {
        let (sender, mut ended) = mpsc::channel(1);
        let farewell = Farewell { number: 7, sender };
        let worker = thread::spawn(move || {
            let _farewell = farewell;
            panic!("a fault that the test plays");
        });
        assert!(worker.join().is_err());
        assert_eq!(ended.try_recv(), Ok(7));
    }
}
