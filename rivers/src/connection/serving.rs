//! What all connections of one listener on one worker share: its configuration, and the handles of its
//! metrics, which are looked up once and not for each connection.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use rand::rngs::SmallRng;

use super::waiting::Waiting;
use crate::{
    close::CloseReason,
    config::Listener,
    decide::{Choice, Id, ListenerId, Snapshot, State, choose, dial_plan::Order},
    metrics::{ListenerMeter, UpstreamMeter},
};

/// A listener as its connections see it. A reload makes another one; connections keep theirs.
pub(crate) struct Serving {
    pub(crate) id: ListenerId,
    pub(crate) listener: Arc<Listener>,
    pub(crate) meter: ListenerMeter,
    pub(crate) waiting: Waiting,
    /// Since they were last added to the metrics, which all workers share.
    to_upstream: Cell<u64>,
    to_client: Cell<u64>,
    turn: Cell<usize>,
    upstreams: RefCell<Vec<(Id, Rc<UpstreamMeter>)>>,
}

impl Serving {
    pub(crate) fn new(id: ListenerId, listener: Arc<Listener>) -> Self {
        Self {
            id,
            meter: ListenerMeter::new(&listener.name),
            waiting: Waiting::default(),
            listener,
            to_upstream: Cell::new(0),
            to_client: Cell::new(0),
            turn: Cell::new(0),
            upstreams: RefCell::default(),
        }
    }

    /// Counts bytes that were taken from one side for the other.
    pub(crate) fn count(&self, to_upstream: u64, to_client: u64) {
        self.to_upstream.update(|bytes| bytes + to_upstream);
        self.to_client.update(|bytes| bytes + to_client);
    }

    /// Counts a connection that has ended.
    pub(crate) fn ended(&self, reason: CloseReason) {
        self.meter.closed(reason);
    }

    /// Adds the bytes that were counted here to the metrics.
    pub(crate) fn flush(&self) {
        self.meter
            .bytes(self.to_upstream.take(), self.to_client.take());
    }

    /// The handles of one upstream.
    pub(crate) fn upstream(&self, choice: &Choice) -> Rc<UpstreamMeter> {
        let mut upstreams = self.upstreams.borrow_mut();
        if let Some((_, meter)) = upstreams.iter().find(|(id, _)| *id == choice.id) {
            return Rc::clone(meter);
        }
        let meter = Rc::new(UpstreamMeter::new(&self.listener.name, &choice.address));
        upstreams.push((choice.id, Rc::clone(&meter)));
        meter
    }

    /// Lets go of the handles of upstreams that nobody can choose any more.
    pub(crate) fn forget_departed(&self, snapshot: &Snapshot) {
        let choices = snapshot.choices(self.id);
        self.upstreams
            .borrow_mut()
            .retain(|(id, _)| choices.iter().any(|choice| choice.id == *id));
    }

    /// The upstreams that a connection may dial now, best first; none while none may be dialled.
    pub(crate) fn choose(&self, snapshot: &Snapshot, rng: &mut SmallRng) -> Order<Arc<Choice>> {
        let choices = snapshot.choices(self.id);
        let candidates: Vec<_> = choices.iter().map(|choice| choice.candidate()).collect();
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let mut order = choose::order(self.listener.balance, &candidates, turn, rng)
            .map(|index| Arc::clone(&choices[index]));
        let is_promised =
            |choice: &Arc<Choice>| choice.state == State::Up && choice.traffic.keep_promise();
        if let Some(place) = order.first.iter().position(is_promised) {
            order.first[..=place].rotate_right(1);
            self.meter.rebalanced();
        }
        order
    }
}
