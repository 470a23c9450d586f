//! The threads that answer: a set of them for each list of addresses. Another list has
//! another set, which begins to answer before the one before it stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use daemon::readiness::Readiness;
use daemon::shutdown::{Drain, Trigger};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{error, info};

use crate::listen::Sockets;
use crate::metrics::Metrics;
use crate::serve::tcp::End;
use crate::serve::{Latest, Parts, Service, tcp, udp};

/// What all workers have in common.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) parts: watch::Receiver<Arc<Parts>>,
    pub(crate) metrics: Metrics,
    pub(crate) readiness: Readiness,
}

/// Workers that run. Dropped, they drain.
pub(crate) struct Workers {
    addresses: Arc<[SocketAddr]>,
    stop: Trigger,
    /// The last worker takes the last sender along.
    ended: mpsc::Receiver<()>,
}

impl Workers {
    /// Starts a worker on each set of sockets, of which there must be one.
    ///
    /// # Errors
    /// A thread or a runtime cannot be started; those that were stop by themselves.
    pub(crate) fn start(sockets: Vec<Vec<Sockets>>, shared: &Shared) -> anyhow::Result<Self> {
        let of_first = sockets[0].iter().map(|sockets| sockets.address);
        let addresses: Arc<[SocketAddr]> = of_first.collect();
        for address in addresses.iter() {
            info!(%address, "listening");
        }
        let stop = Trigger::default();
        // Room for the end of each: nobody waits to say it.
        let (sender, ended) = mpsc::channel(sockets.len());
        for (number, sockets) in sockets.into_iter().enumerate() {
            let worker = Worker {
                number,
                sockets,
                service: Arc::new(Service::new(shared.metrics.clone())),
                shared: shared.clone(),
                drain: stop.drain(),
                _ended: Ended(sender.clone()),
            };
            worker.start()?;
        }
        Ok(Self {
            addresses,
            stop,
            ended,
        })
    }

    /// Where they answer.
    pub(crate) const fn addresses(&self) -> &Arc<[SocketAddr]> {
        &self.addresses
    }

    /// Resolves when one of them has ended. Cancel safe.
    pub(crate) async fn one_ended(&mut self) {
        self.ended.recv().await;
    }

    /// Has them answer what has arrived, and waits until they have.
    pub(crate) async fn drained(mut self) {
        self.stop.start();
        while self.ended.recv().await.is_some() {}
    }
}

/// A worker before it runs.
struct Worker {
    number: usize,
    sockets: Vec<Sockets>,
    service: Arc<Service>,
    shared: Shared,
    drain: Drain,
    _ended: Ended,
}

/// Says that a worker has ended, however it does.
struct Ended(mpsc::Sender<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        // Who does not listen any more need not know.
        let _ = self.0.try_send(());
    }
}

impl Worker {
    fn start(self) -> anyhow::Result<()> {
        let number = self.number;
        let runtime = runtime()?;
        thread::Builder::new()
            .name(format!("worker {number}"))
            .spawn(move || runtime.block_on(self.run()))
            .with_context(|| format!("cannot start the thread of worker {number}"))?;
        Ok(())
    }

    async fn run(self) {
        let mut loops = JoinSet::new();
        let Shared {
            parts, readiness, ..
        } = self.shared;
        let heartbeat = readiness.heartbeat(format!("worker {}", self.number));
        for Sockets { address, udp, tcp } in self.sockets {
            let name = format!("worker {}, {address}/udp", self.number);
            let (service, latest) = (Arc::clone(&self.service), Latest::of(parts.clone()));
            let (drain, heartbeat) = (self.drain.clone(), readiness.heartbeat(name));
            loops.spawn_blocking(move || udp::serve(udp, service, latest, &heartbeat, &drain));
            let (service, latest) = (Arc::clone(&self.service), Latest::of(parts.clone()));
            // One of those that accept from it closes it.
            let end = if self.number == 0 {
                End::StepAside
            } else {
                End::LetGo
            };
            loops.spawn(tcp::serve(tcp, end, service, latest, self.drain.clone()));
        }
        let mut ticks = ticks();
        loop {
            tokio::select! {
                ended = loops.join_next() => match ended {
                    None => break,
                    Some(Ok(Ok(()))) => {}
                    // Serving some of the addresses looks like health and is not.
                    Some(Ok(Err(error))) => {
                        error!(worker = self.number, %error, "a socket is lost");
                        return;
                    }
                    Some(Err(panic)) => {
                        error!(worker = self.number, %panic, "a socket's loop panicked: please report this");
                        return;
                    }
                },
                _ = ticks.tick() => {
                    heartbeat.beat();
                    self.service.give_up(Instant::now());
                }
            }
        }
        self.service.finish().await;
    }
}

/// A runtime on the thread that calls.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")
}

/// Once a second.
pub(crate) fn ticks() -> Interval {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}
