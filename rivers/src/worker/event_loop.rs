//! The loop of one worker: waits for the kernel, and calls whom it tells of. One thread, one epoll, one
//! buffer, one table of connections.

use std::{
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    io::Errno,
};
use tokio::sync::mpsc;

use super::{
    Adopted, Command, Found, Shared,
    accept::{Accepted, Acceptor},
    slots::Slots,
    timers::Timers,
};
use crate::{
    close::CloseReason,
    connection::{Client, Connection, Here, Means, Next, Serving, canonical},
    connections::{Connections, Key, Source},
    decide::{Choice, Event as Fact, ListenerId, Snapshot, State},
    handover::record::Handed,
    published::{Bell, Published, Wanted},
    recent::Recent,
    vanished::Vanished,
};

/// The loop, with all that it serves.
pub(super) struct EventLoop {
    here: Here,
    connections: Connections<Connection>,
    acceptors: Vec<(u32, Acceptor)>,
    last_number: u32,
    /// Every listener whose connections may still be counted.
    servings: Vec<Rc<Serving>>,
    /// Those that have had their share of this turn.
    again: Vec<Key>,
    /// Those that are yet to be looked at, for whether their peers are among these.
    unseen: Option<(Arc<Vanished>, Vec<Key>)>,
    told: Vec<Event>,
    bell: Bell,
    published: Arc<Published>,
    /// The moves that have been looked at.
    wanted: Arc<Vec<Wanted>>,
    commands: mpsc::Receiver<Command>,
    slots: Slots,
    is_draining: bool,
    #[cfg(test)]
    last_end: Option<CloseReason>,
}

impl EventLoop {
    /// What a loop waits with, so far for its bell alone.
    ///
    /// # Errors
    /// Descriptors ran out.
    pub(super) fn epoll(bell: &Bell) -> io::Result<OwnedFd> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let token = EventData::new_u64(Source::Bell.token());
        epoll::add(&epoll, bell, token, EventFlags::IN)?;
        Ok(epoll)
    }

    /// A loop that listens to nothing yet.
    pub(super) fn new(
        epoll: OwnedFd,
        shared: &Shared,
        bell: Bell,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        Self {
            here: Here {
                epoll,
                start: Instant::now(),
                now: Instant::now(),
                timers: Timers::default(),
                means: Means::new(),
                snapshot: shared.published.load(),
                events: shared.events.clone(),
                rng: SmallRng::from_rng(&mut rand::rng()),
                recent: Recent::default(),
                is_called: false,
            },
            connections: Connections::new(),
            acceptors: Vec::new(),
            last_number: 0,
            servings: Vec::new(),
            again: Vec::new(),
            unseen: None,
            told: Vec::with_capacity(EVENTS),
            bell,
            published: Arc::clone(&shared.published),
            wanted: shared.published.wanted(),
            commands,
            slots: shared.slots.clone(),
            is_draining: false,
            #[cfg(test)]
            last_end: None,
        }
    }

    /// Whether the drain has started and the last connection has ended.
    pub(super) fn is_done(&self) -> bool {
        self.is_draining && self.connections.is_empty()
    }

    /// Waits for something to happen, at most until `until`, and sees to all of it.
    ///
    /// # Errors
    /// The kernel does not do what it promises.
    pub(super) fn turn(&mut self, until: Instant) -> io::Result<()> {
        let mut told = std::mem::take(&mut self.told);
        let timeout = self.timeout(until);
        match epoll::wait(&self.here.epoll, spare_capacity(&mut told), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        self.here.now = Instant::now();
        let again = std::mem::take(&mut self.again);
        for Event { flags, data, .. } in told.drain(..) {
            match Source::of(data.u64()) {
                Source::Socket(key, number) => {
                    self.call(key, |connection, here| {
                        connection.ready(number, flags, here)
                    });
                }
                Source::Listener(number) => self.accept(number),
                Source::Bell => self.look_up(),
            }
        }
        self.told = told;
        for key in again {
            self.call(key, Connection::go_on);
        }
        self.bury_some();
        while let Some(key) = self.here.timers.due(self.here.now) {
            self.call(key, Connection::alarm);
        }
        if std::mem::take(&mut self.here.is_called) {
            self.call_waiting();
        }
        for (_, acceptor) in &mut self.acceptors {
            acceptor.resume(self.here.now, &self.here.epoll);
        }
        Ok(())
    }

    /// Called once a second: adds what has been counted to the metrics, and lets go of what nobody needs.
    pub(super) fn beat(&mut self) {
        self.here.means.pipes.beat();
        self.servings.retain(|serving| {
            serving.flush();
            Rc::strong_count(serving) > 1
        });
        let servings = &self.servings;
        let is_here = |id| servings.iter().any(|serving| serving.id == id);
        self.here.recent.retain(is_here);
    }

    fn timeout(&self, until: Instant) -> Timespec {
        if !self.again.is_empty() || self.unseen.is_some() {
            return Timespec::default();
        }
        let resumes = self.acceptors.iter().filter_map(|(_, it)| it.resume_at());
        let moments = resumes.chain(self.here.timers.next());
        let until = moments.min().map_or(until, |first| first.min(until));
        let left = until.saturating_duration_since(Instant::now());
        // It fits: `until` is at most a beat away.
        Timespec::try_from(left).unwrap_or_default()
    }

    /// Calls a connection, if it still lives. A panic ends that connection only.
    fn call(&mut self, key: Key, what: impl FnOnce(&mut Connection, &mut Here) -> Next) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let here = &mut self.here;
        // After a panic the connection is dropped, and the rest holds no half-done change: what is shared
        // is changed by calls that do not panic.
        match catch_unwind(AssertUnwindSafe(|| what(connection, here))) {
            Ok(Next::Wait) => {}
            Ok(Next::Again) => self.again.push(key),
            Ok(Next::End(reason)) => self.end(key, reason),
            // What it said has been logged where it happened.
            Err(_) => {
                if let Some(connection) = self.connections.remove(key) {
                    connection.panicked();
                }
            }
        }
    }

    /// Calls every connection with a fault.
    #[cfg(test)]
    pub(super) fn break_all(&mut self) {
        for key in self.connections.keys() {
            self.call(key, |_, _| panic!("a fault that the test plays"));
        }
    }

    /// How many connections live.
    #[cfg(test)]
    pub(super) fn alive(&self) -> usize {
        self.connections.iter().count()
    }

    /// Why the last connection that ended did.
    #[cfg(test)]
    pub(super) const fn last_end(&self) -> Option<CloseReason> {
        self.last_end
    }

    fn end(&mut self, key: Key, reason: CloseReason) {
        #[cfg(test)]
        {
            self.last_end = Some(reason);
        }
        if let Some(connection) = self.connections.remove(key) {
            connection.end(reason, &mut self.here);
        }
    }

    fn accept(&mut self, number: u32) {
        for _ in 0..ACCEPTS {
            // Looked up each time: who is accepted may end, and with it whatever else.
            let Some((_, acceptor)) = self.acceptors.iter_mut().find(|(it, _)| *it == number)
            else {
                return;
            };
            match acceptor.accept(&self.slots, self.here.now, &self.here.epoll) {
                Accepted::Nobody => return,
                Accepted::Client(client) => {
                    let serving = Rc::clone(&acceptor.serving);
                    if let Err(error) = self.begin(client, &serving) {
                        if let Some((_, acceptor)) =
                            self.acceptors.iter_mut().find(|(it, _)| *it == number)
                        {
                            acceptor.failed(error, self.here.now, &self.here.epoll);
                        }
                        return;
                    }
                }
            }
        }
    }

    fn begin(&mut self, client: Client, serving: &Rc<Serving>) -> io::Result<()> {
        let key = self.connections.next_key().ok_or_else(full)?;
        let connection = Connection::begin(key, client, serving, &mut self.here)?;
        self.connections.insert(key, connection);
        self.call(key, Connection::go_on);
        Ok(())
    }

    /// Looks at what others have left: a snapshot, moves, and commands.
    fn look_up(&mut self) {
        self.bell.hush();
        let snapshot = self.published.load();
        if !Arc::ptr_eq(&snapshot, &self.here.snapshot) {
            let before = std::mem::replace(&mut self.here.snapshot, snapshot);
            self.believe(&before);
        }
        let wanted = self.published.wanted();
        if !Arc::ptr_eq(&wanted, &self.wanted) {
            self.wanted = Arc::clone(&wanted);
            wanted.iter().for_each(|wanted| self.try_to_move(wanted));
        }
        while let Ok(command) = self.commands.try_recv() {
            self.obey(command);
        }
    }

    /// Other things are believed of the upstreams than before.
    fn believe(&mut self, before: &Snapshot) {
        for serving in &self.servings {
            serving.forget_departed(&self.here.snapshot);
        }
        // All that are being dialled have an alarm.
        for key in self.here.timers.keys() {
            self.call(key, Connection::news);
        }
        let gave_up =
            |serving: &Rc<Serving>| self.here.snapshot.gave_up_some_since(before, serving.id);
        if self.servings.iter().any(gave_up) {
            for key in self.connections.keys() {
                self.call(key, |connection, here| {
                    if connection.is_given_up(here) {
                        connection.given_up(here)
                    } else {
                        Next::Wait
                    }
                });
            }
        }
    }

    /// An upstream accepts clients: those who wait for one at the same listener may try.
    fn call_waiting(&mut self) {
        let called: Vec<_> = (self.servings.iter())
            .filter(|serving| serving.waiting.take_call())
            .map(Rc::clone)
            .collect();
        for key in self.here.timers.keys() {
            self.call(key, |connection, here| {
                let of = connection.serving();
                if called
                    .iter()
                    .any(|serving| std::ptr::eq(&raw const **serving, of))
                {
                    connection.news(here)
                } else {
                    Next::Wait
                }
            });
        }
    }

    /// Closes one quiet connection, if there is one and no other worker had one.
    fn try_to_move(&mut self, wanted: &Wanted) {
        let mut choices = self.here.snapshot.choices(wanted.listener).iter();
        let is_goal = |choice: &&Arc<Choice>| {
            choice.id == wanted.to && choice.is_dialable() && choice.state == State::Up
        };
        let Some(goal) = choices.find(is_goal).map(Arc::clone) else {
            return;
        };
        let mut keys = self.connections.keys();
        if keys.is_empty() || !wanted.is_open() {
            return;
        }
        // Begins anywhere, so that it is not always the same client's.
        let middle = self.here.rng.random_range(0..keys.len());
        keys.rotate_left(middle);
        let quiet = keys.into_iter().find(|&key| {
            self.connections.get_mut(key).is_some_and(|connection| {
                connection.is_quiet(wanted.listener, wanted.from, &self.here)
            })
        });
        if let Some(key) = quiet
            && wanted.take()
        {
            goal.traffic.promise();
            self.end(key, CloseReason::Rebalanced);
            // Where it is lost, one connection more is moved than was meant.
            let upstream = wanted.to;
            let _ = self.here.events.try_send(Fact::Rebalanced { upstream });
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Listen {
                id,
                listener,
                socket,
            } => {
                let serving = Rc::new(Serving::new(id, listener));
                self.last_number = self.last_number.wrapping_add(1);
                let number = self.last_number;
                let epoll = &self.here.epoll;
                match Acceptor::new(number, socket, Rc::clone(&serving), epoll) {
                    Ok(acceptor) => {
                        self.stop(id);
                        self.servings.push(serving);
                        self.acceptors.push((number, acceptor));
                    }
                    Err(error) => {
                        let listener = &serving.listener.name;
                        tracing::error!(listener, %error, "a worker cannot listen");
                    }
                }
            }
            Command::Stop(id) => self.stop(id),
            Command::Release(give) => {
                self.stop_all();
                let released = self.release();
                // If nobody takes them any more, the process is about to end.
                let _ = give.send(released);
            }
            Command::Adopt(connections) => {
                for adopted in connections {
                    let listener = Arc::clone(&adopted.listener);
                    if let Err(error) = self.adopt(adopted) {
                        let listener = &listener.name;
                        tracing::error!(listener, %error, "a connection was lost in the hand-over");
                    }
                }
            }
            // If nobody waits for the answer any more, it took us too long.
            Command::Recall(give) => drop(give.send(self.here.recent.clone())),
            Command::Find(client, give) => drop(give.send(self.find(client))),
            Command::Bury(vanished) => self.unseen = Some((vanished, self.connections.keys())),
            Command::Drain => {
                self.is_draining = true;
                self.stop_all();
            }
            Command::Close => {
                for key in self.connections.keys() {
                    self.end(key, CloseReason::Shutdown);
                }
            }
        }
    }

    /// Closes those whose peers have vanished, among a turn's share of those that are to be looked at: each
    /// takes four system calls, which for 10,000 at once were 20 ms in which nobody else is served.
    fn bury_some(&mut self) {
        let Some((vanished, mut unseen)) = self.unseen.take() else {
            return;
        };
        for key in unseen.drain(unseen.len().saturating_sub(LOOKS)..) {
            let connection = self.connections.get_mut(key);
            if let Some(side) = connection.and_then(|connection| connection.lost(&vanished)) {
                self.end(key, CloseReason::TimedOut(side));
            }
        }
        if !unseen.is_empty() {
            self.unseen = Some((vanished, unseen));
        }
    }

    /// What is known of the connections of this client, which live or have ended lately.
    fn find(&self, client: SocketAddr) -> Found {
        let live = self.connections.iter();
        let live = live.filter(|connection| connection.is_from(client));
        let ended = self.here.recent.iter().flat_map(|(id, lately)| {
            let ended = lately.ends.iter();
            let ended = ended.filter(|ended| canonical(ended.client) == client);
            ended.map(move |ended| (id, ended.clone()))
        });
        Found {
            live: live.map(Connection::tell).collect(),
            ended: ended.collect(),
        }
    }

    fn stop_all(&mut self) {
        for (_, acceptor) in self.acceptors.drain(..) {
            acceptor.close(&self.here.epoll);
        }
    }

    /// Takes out all connections that can go on elsewhere.
    fn release(&mut self) -> Vec<Handed> {
        let mut released = Vec::new();
        for key in self.connections.keys() {
            if let Some(connection) = self.connections.remove(key) {
                if connection.can_move() {
                    released.extend(connection.release(&mut self.here));
                } else {
                    connection.end(CloseReason::Shutdown, &mut self.here);
                }
            }
        }
        released
    }

    fn adopt(&mut self, adopted: Adopted) -> io::Result<()> {
        let Adopted {
            id,
            listener,
            handed,
        } = adopted;
        let same =
            |serving: &&Rc<Serving>| serving.id == id && Arc::ptr_eq(&serving.listener, &listener);
        let serving = match self.servings.iter().find(same) {
            Some(serving) => Rc::clone(serving),
            None => {
                let serving = Rc::new(Serving::new(id, listener));
                self.servings.push(Rc::clone(&serving));
                serving
            }
        };
        let key = self.connections.next_key().ok_or_else(full)?;
        let slot = self.slots.take_anyway();
        let connection = Connection::adopt(key, handed, slot, &serving, &mut self.here)?;
        self.connections.insert(key, connection);
        self.call(key, Connection::go_on);
        Ok(())
    }

    /// Accepts no more clients of this listener.
    fn stop(&mut self, id: ListenerId) {
        let ours = |(_, acceptor): &mut (u32, Acceptor)| acceptor.serving.id == id;
        for (_, acceptor) in self.acceptors.extract_if(.., ours) {
            acceptor.close(&self.here.epoll);
        }
    }
}

fn full() -> io::Error {
    io::Error::other("this worker can hold no more connections")
}

/// Things that the kernel tells at once.
const EVENTS: usize = 256;
/// Clients of one listener that are accepted before others get their turn.
const ACCEPTS: usize = 32;
/// Connections whose peers are looked for before others get their turn.
const LOOKS: usize = 64;
