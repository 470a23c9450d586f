//! The one task that owns the core: facts come in through channels, the core is asked, and what it decides
//! goes out: probes and lookups are started, and a new snapshot is published.
//!
//! The workers' channel is bounded ([`QUEUE`]). They do not wait for room in it: a failed dial that is not
//! told is found out by the next probe. Those who change the set of upstreams do wait, until the snapshot
//! is published.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use daemon::readiness::{Pending, Readiness};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::sleep_until,
};
use tracing::{debug, error, info, warn};

use crate::{
    config::{Listener, address::Address},
    decide::{Action, Ask, Choice, Core, Event, Id, ListenerId, Source, State},
    metrics,
    names::Names,
    probe::{Bundles, Prober},
    published::{Published, Wanted},
};

/// Owner of the core.
pub(crate) struct Director {
    core: Core,
    listeners: BTreeMap<ListenerId, Known>,
    published: Arc<Published>,
    events: mpsc::Receiver<Event>,
    changes: mpsc::Receiver<(Change, oneshot::Sender<()>)>,
    lookups: JoinSet<Event>,
    /// By listener and upstream.
    probers: BTreeMap<(ListenerId, Id), Prober>,
    bundles: Bundles,
    /// What probers find, with the end that they get.
    findings: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    names: Names,
    readiness: Readiness,
}

/// Another set of upstreams.
#[derive(Debug)]
pub(crate) enum Change {
    /// This listener is there from now on, or is so from now on.
    Listen(ListenerId, Arc<Listener>),
    /// This listener is gone.
    Stop(ListenerId),
    /// These are the upstreams of a listener, as this source knows them now.
    Upstreams(ListenerId, Source, Vec<Address>),
    /// A listener has no discovery any more.
    ForgetDiscovered(ListenerId),
}

/// For those who change the set. Clones lead to the same director.
#[derive(Clone, Debug)]
pub(crate) struct Changes(mpsc::Sender<(Change, oneshot::Sender<()>)>);

impl Changes {
    /// Tells the director, and waits until the snapshot is as the change wants it.
    pub(crate) async fn tell(&self, change: Change) {
        let (published, is_published) = oneshot::channel();
        // Without a director the program is about to end, and says so elsewhere.
        if self.0.send((change, published)).await.is_ok() {
            let _ = is_published.await;
        }
    }
}

/// What connects everyone else to a director.
pub(crate) struct Ends {
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) changes: Changes,
    /// Kept up to date by the director.
    pub(crate) published: Arc<Published>,
}

/// A listener as the director sees it.
struct Known {
    listener: Arc<Listener>,
    /// What `/readyz` waits for, until one of its upstreams is up.
    waiting: Option<Pending>,
}

impl Director {
    /// A director without listeners.
    pub(crate) fn new(readiness: Readiness) -> (Self, Ends) {
        let core = Core::new(rand::random());
        let published = Arc::new(Published::new(core.snapshot()));
        let (event_sender, events) = mpsc::channel(QUEUE);
        let (change_sender, changes) = mpsc::channel(CHANGES);
        let director = Self {
            core,
            listeners: BTreeMap::new(),
            published: Arc::clone(&published),
            events,
            changes,
            lookups: JoinSet::new(),
            probers: BTreeMap::new(),
            bundles: Bundles::default(),
            findings: mpsc::channel(FINDINGS),
            names: Names::new(),
            readiness,
        };
        let ends = Ends {
            events: event_sender,
            changes: Changes(change_sender),
            published,
        };
        (director, ends)
    }

    /// Runs until nobody is left to tell it anything.
    pub(crate) async fn run(mut self) {
        loop {
            let wake = self.core.wake().unwrap_or_else(far_away);
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.handle(&event),
                    None => return,
                },
                Some((change, published)) = self.changes.recv() => {
                    self.change(change);
                    // Who does not wait for it any more need not know.
                    let _ = published.send(());
                }
                Some(event) = self.findings.1.recv() => self.handle(&event),
                Some(Ok(event)) = self.lookups.join_next() => self.handle(&event),
                () = sleep_until(wake.into()) => {
                    let actions = self.core.tick(Instant::now());
                    self.act(actions);
                }
            }
        }
    }

    fn handle(&mut self, event: &Event) {
        let actions = self.core.handle(event, Instant::now());
        self.act(actions);
    }

    fn change(&mut self, change: Change) {
        let now = Instant::now();
        let actions = match change {
            Change::Listen(id, listener) => {
                let (seeds, health) = (&listener.upstreams, listener.health.clone());
                let actions = self.core.listen(id, seeds, health, now);
                self.core.rebalance(id, listener.rebalance, now);
                self.know(id, &listener);
                // Who stays is probed as the listener is now.
                self.probers.retain(|&(of, _), _| of != id);
                actions
            }
            Change::Stop(id) => {
                let actions = self.core.stop(id);
                self.act(actions);
                self.listeners.remove(&id);
                self.publish();
                return;
            }
            Change::Upstreams(id, source, addresses) => {
                self.core.replace(id, source, &addresses, now)
            }
            Change::ForgetDiscovered(id) => self.core.forget_discovered(id, now),
        };
        self.act(actions);
    }

    fn know(&mut self, id: ListenerId, listener: &Arc<Listener>) {
        let name = &listener.name;
        self.listeners
            .entry(id)
            .and_modify(|known| known.listener = Arc::clone(listener))
            .or_insert_with(|| Known {
                listener: Arc::clone(listener),
                waiting: Some(self.readiness.task(format!("an upstream of {name}"))),
            });
    }

    fn act(&mut self, actions: Vec<Action>) {
        let (mut changed, mut left) = (false, false);
        let mut moves = Vec::new();
        for action in actions {
            changed |= !matches!(
                action,
                Action::Probe { .. }
                    | Action::Resolve { .. }
                    | Action::Drifts { .. }
                    | Action::Drifted { .. }
                    | Action::Move { .. }
            );
            match action {
                Action::Probe {
                    listener,
                    upstream,
                    ask,
                    address,
                    sockets,
                } => self.probe(listener, upstream, ask, &address, sockets),
                Action::Resolve {
                    listener,
                    upstream,
                    address,
                } => self.look_up(listener, upstream, address),
                Action::Changed {
                    listener,
                    address,
                    from,
                    to,
                    reason,
                } => self.tell(listener, &address, from, to, reason.as_deref()),
                Action::Trust {
                    listener,
                    address,
                    is_trusted,
                } => self.tell_trust(listener, &address, is_trusted),
                Action::Severed { listener, address } => {
                    let name = self.name(listener);
                    warn!(listener = name, upstream = %address, "closing the connections of a dead upstream");
                }
                Action::Drifts {
                    listener,
                    address,
                    connections,
                } => {
                    let name = self.name(listener);
                    info!(listener = name, upstream = %address, connections, "connections drift to an upstream that came back");
                }
                Action::Drifted { listener, address } => {
                    let name = self.name(listener);
                    info!(listener = name, upstream = %address, "the upstream that came back has its share");
                }
                Action::Move { listener, from, to } => moves.push(Wanted::new(listener, from, to)),
                Action::Joined { listener, address } => {
                    let name = self.name(listener);
                    metrics::state(name, &address, Some(State::Unknown));
                    metrics::trusted(name, &address, !self.verifies(listener));
                    info!(listener = name, upstream = %address, "upstream joined");
                }
                Action::Left { listener, address } => {
                    let name = self.name(listener);
                    metrics::state(name, &address, None);
                    metrics::trusted(name, &address, false);
                    left = true;
                    info!(listener = name, upstream = %address, "upstream left; its connections stay");
                }
                Action::Moved {
                    listener,
                    address,
                    sockets,
                } => {
                    let name = self.name(listener);
                    debug!(listener = name, upstream = %address, ?sockets, "the name was found");
                }
            }
        }
        if left {
            self.dismiss_probers();
        }
        if changed {
            self.publish();
        }
        if !moves.is_empty() {
            self.published.want(moves);
        }
    }

    fn probe(
        &mut self,
        listener: ListenerId,
        upstream: Id,
        ask: Ask,
        address: &Arc<Address>,
        sockets: Arc<[SocketAddr]>,
    ) {
        let Some(known) = self.listeners.get(&listener) else {
            return;
        };
        let prober = self.probers.entry((listener, upstream)).or_insert_with(|| {
            let events = self.findings.0.clone();
            Prober::start(
                &known.listener,
                upstream,
                address,
                &mut self.bundles,
                events,
            )
        });
        prober.probe(ask, sockets);
    }

    /// Ends the probers of upstreams that are gone.
    fn dismiss_probers(&mut self) {
        let snapshot = self.core.snapshot();
        self.probers.retain(|&(listener, upstream), _| {
            let mut choices = snapshot.choices(listener).iter();
            choices.any(|choice| choice.id == upstream)
        });
    }

    fn look_up(&mut self, listener: ListenerId, upstream: Id, address: Arc<Address>) {
        let names = self.names.clone();
        let listener = self.name(listener).to_owned();
        self.lookups.spawn(async move {
            let found = names.lookup(&address).await;
            if let Err(error) = &found {
                debug!(listener, upstream = %address, %error, "the name was not found");
            }
            Event::Resolved {
                upstream,
                sockets: found.ok(),
            }
        });
    }

    /// A change of state, for people: up and down are news, doubts are not.
    fn tell(
        &mut self,
        listener: ListenerId,
        address: &Address,
        from: State,
        to: State,
        reason: Option<&str>,
    ) {
        let name = self.name(listener);
        metrics::state(name, address, Some(to));
        match (from, to) {
            (State::Unknown | State::Down, State::Up) => {
                info!(listener = name, upstream = %address, "upstream is up");
            }
            (_, State::Down) => {
                warn!(listener = name, upstream = %address, reason, "upstream is down")
            }
            (_, State::Draining) => {
                info!(listener = name, upstream = %address, reason, "upstream wants no new clients");
            }
            (State::Draining, State::Up) => {
                info!(listener = name, upstream = %address, "upstream wants clients again");
            }
            (_, _) => {
                debug!(listener = name, upstream = %address, %from, %to, reason, "upstream in doubt")
            }
        }
        if to == State::Up
            && let Some(known) = self.listeners.get_mut(&listener)
        {
            known.waiting = None;
        }
    }

    fn verifies(&self, listener: ListenerId) -> bool {
        let known = self.listeners.get(&listener);
        known.is_some_and(|known| known.listener.health.verifies())
    }

    fn tell_trust(&self, listener: ListenerId, address: &Address, is_trusted: bool) {
        let name = self.name(listener);
        metrics::trusted(name, address, is_trusted);
        if is_trusted {
            info!(listener = name, upstream = %address, "certificate is verified");
        } else {
            warn!(listener = name, upstream = %address, "certificate is not good any more: not dialled");
        }
    }

    /// Its name, for log and metrics; nothing if it is gone.
    fn name(&self, listener: ListenerId) -> &str {
        let known = self.listeners.get(&listener);
        known.map_or("", |known| &known.listener.name)
    }

    fn publish(&self) {
        let before = self.published.load();
        let now = self.core.snapshot();
        for (&id, known) in &self.listeners {
            if all_down(now.choices(id)) && !all_down(before.choices(id)) {
                let name = &known.listener.name;
                error!(
                    listener = name,
                    "every upstream is down; clients are let try them all"
                );
            }
        }
        self.published.store(Arc::new(now));
    }
}

fn all_down(choices: &[Arc<Choice>]) -> bool {
    !choices.is_empty() && choices.iter().all(|choice| choice.state == State::Down)
}

/// A moment to sleep until when there is nothing to wake for.
fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

/// Facts that may wait: some milliseconds' worth of failed dials of a node whose upstreams are all gone.
const QUEUE: usize = 1024;
/// Findings that may wait; probers wait with them.
const FINDINGS: usize = 64;
/// Changes that may wait: those who make them wait, too, for each.
const CHANGES: usize = 16;
