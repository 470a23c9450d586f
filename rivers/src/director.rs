//! The one task that owns the core: facts come in through a channel, the core is asked, and what it
//! decides goes out: probes are started, and a new snapshot is published.
//!
//! The channel is bounded ([`QUEUE`]). Workers do not wait for room in it: a failed dial that is not told
//! is found out by the next probe.

use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use daemon::readiness::{Pending, Readiness};
use tokio::{sync::mpsc, task::JoinSet, time::sleep_until};
use tracing::{debug, error, info, warn};

use crate::{
    config::{Listener, address::Address},
    decide::{Action, Core, Event, Id, Snapshot, State},
    dial, metrics,
    probe::{self, Outcome},
};

/// Owner of the core.
pub(crate) struct Director {
    core: Core,
    listeners: Vec<Arc<Listener>>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    events: mpsc::Receiver<Event>,
    probes: JoinSet<Probed>,
    /// By listener: what `/readyz` waits for, until one of its upstreams is up.
    waiting: Vec<Option<Pending>>,
}

/// A probe that has ended.
struct Probed {
    listener: usize,
    upstream: Id,
    address: Arc<Address>,
    outcome: Outcome,
}

impl Director {
    /// A director, with the sender for facts and the snapshot that it will keep up to date.
    pub(crate) fn new(
        listeners: Vec<Arc<Listener>>,
        readiness: &Readiness,
    ) -> (Self, mpsc::Sender<Event>, Arc<ArcSwap<Snapshot>>) {
        let sets: Vec<_> = listeners
            .iter()
            .map(|listener| (listener.upstreams.as_slice(), listener.health))
            .collect();
        let core = Core::new(&sets, rand::random(), Instant::now());
        let snapshot = Arc::new(ArcSwap::from_pointee(core.snapshot()));
        let (sender, events) = mpsc::channel(QUEUE);
        for listener in &listeners {
            for upstream in &listener.upstreams {
                metrics::state(&listener.name, upstream, State::Unknown);
            }
        }
        let waiting = listeners
            .iter()
            .map(|listener| Some(readiness.task(format!("an upstream of {}", listener.name))))
            .collect();
        let director = Self {
            core,
            listeners,
            snapshot: Arc::clone(&snapshot),
            events,
            probes: JoinSet::new(),
            waiting,
        };
        (director, sender, snapshot)
    }

    /// Runs until nobody is left to tell it anything.
    pub(crate) async fn run(mut self) {
        loop {
            let wake = self.core.wake().unwrap_or_else(far_away);
            let actions = tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.core.handle(event, Instant::now()),
                    None => return,
                },
                Some(Ok(probed)) = self.probes.join_next() => self.take(probed),
                () = sleep_until(wake.into()) => self.core.tick(Instant::now()),
            };
            self.act(actions);
        }
    }

    fn take(&mut self, probed: Probed) -> Vec<Action> {
        let Probed {
            listener,
            upstream,
            address,
            outcome,
        } = probed;
        let name = &self.listeners[listener].name;
        let healthy = outcome.error.is_none();
        metrics::probed(name, &address, outcome.took, healthy);
        if let Some(error) = &outcome.error {
            let reason = dial::reason(error);
            debug!(listener = name, upstream = %address, reason, "probe failed");
        }
        self.core
            .handle(Event::ProbeEnded { upstream, healthy }, Instant::now())
    }

    fn act(&mut self, actions: Vec<Action>) {
        let mut changed = false;
        for action in actions {
            match action {
                Action::Probe {
                    listener,
                    upstream,
                    address,
                } => {
                    let limit = self.listeners[listener].health.timeout;
                    self.probes.spawn(async move {
                        Probed {
                            listener,
                            upstream,
                            outcome: probe::run(&address, limit).await,
                            address,
                        }
                    });
                }
                Action::Changed {
                    listener,
                    address,
                    from,
                    to,
                } => {
                    changed = true;
                    self.tell(listener, &address, from, to);
                }
            }
        }
        if changed {
            self.publish();
        }
    }

    /// A change of state, for people: up and down are news, doubts are not.
    fn tell(&mut self, listener: usize, address: &Address, from: State, to: State) {
        let name = &self.listeners[listener].name;
        metrics::state(name, address, to);
        match (from, to) {
            (State::Unknown | State::Down, State::Up) => {
                info!(listener = name, upstream = %address, "upstream is up");
            }
            (_, State::Down) => warn!(listener = name, upstream = %address, "upstream is down"),
            (_, _) => debug!(listener = name, upstream = %address, %from, %to, "upstream in doubt"),
        }
        if to == State::Up {
            self.waiting[listener] = None;
        }
    }

    fn publish(&self) {
        let before = self.snapshot.load();
        let now = self.core.snapshot();
        for (listener, (before, now)) in self
            .listeners
            .iter()
            .zip(before.listeners.iter().zip(&now.listeners))
        {
            let all_down = |choices: &[Arc<crate::decide::Choice>]| {
                choices.iter().all(|choice| choice.state == State::Down)
            };
            if all_down(now) && !all_down(before) {
                let name = &listener.name;
                error!(
                    listener = name,
                    "every upstream is down; clients are let try them all"
                );
            }
        }
        self.snapshot.store(Arc::new(now));
    }
}

/// A moment to sleep until when there is nothing to wake for.
fn far_away() -> Instant {
    Instant::now() + std::time::Duration::from_secs(3600)
}

/// Facts that may wait: some milliseconds' worth of failed dials of a node whose upstreams are all gone.
const QUEUE: usize = 1024;
