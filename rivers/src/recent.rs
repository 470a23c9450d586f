//! What has happened lately on one worker: dials and ends of connections, the last [`KEPT`] of each for each
//! listener, for people who ask why. The worker's own, so that writing it down waits for nobody; the rings
//! are made once, and what goes in is moved or counted, never copied.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    close::CloseReason,
    decide::{Choice, ListenerId},
    metrics::Attempt,
    tried::Tried,
};

/// One attempt to connect, after its end.
#[derive(Clone, Debug)]
pub(crate) struct Dialled {
    pub(crate) at: Instant,
    pub(crate) upstream: Arc<Choice>,
    pub(crate) outcome: Attempt,
    pub(crate) took: Duration,
}

/// One connection, after its end: what the access log says.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) at: Instant,
    pub(crate) client: SocketAddr,
    /// Who served it, if somebody did.
    pub(crate) upstream: Option<Arc<Choice>>,
    /// The attempts that did not win.
    pub(crate) tried: Tried,
    pub(crate) lasted: Duration,
    pub(crate) to_upstream: u64,
    pub(crate) to_client: u64,
    pub(crate) reason: CloseReason,
}

/// The rings of all listeners of one worker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent(Vec<(ListenerId, Lately)>);

/// The rings of one listener, newest last.
#[derive(Clone, Debug)]
pub(crate) struct Lately {
    pub(crate) dials: VecDeque<Dialled>,
    pub(crate) ends: VecDeque<Ended>,
}

impl Recent {
    pub(crate) fn dialled(&mut self, listener: ListenerId, dialled: Dialled) {
        push(&mut self.of(listener).dials, dialled);
    }

    pub(crate) fn ended(&mut self, listener: ListenerId, ended: Ended) {
        push(&mut self.of(listener).ends, ended);
    }

    /// Keeps only those of these listeners: what is gone for good is forgotten.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(ListenerId) -> bool) {
        self.0.retain(|(listener, _)| is_kept(*listener));
    }

    /// What there is, by listener.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ListenerId, &Lately)> {
        self.0.iter().map(|(listener, lately)| (*listener, lately))
    }

    fn of(&mut self, listener: ListenerId) -> &mut Lately {
        let known = self.0.iter().position(|(id, _)| *id == listener);
        let place = known.unwrap_or_else(|| {
            self.0.push((listener, Lately::new()));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }
}

impl Lately {
    fn new() -> Self {
        Self {
            dials: VecDeque::with_capacity(KEPT),
            ends: VecDeque::with_capacity(KEPT),
        }
    }
}

fn push<T>(ring: &mut VecDeque<T>, item: T) {
    if ring.len() >= KEPT {
        ring.pop_front();
    }
    ring.push_back(item);
}

/// Of each kind, for each listener of a worker.
pub(crate) const KEPT: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn dialled(choice: &Arc<Choice>, took: usize) -> Dialled {
        Dialled {
            at: Instant::now(),
            upstream: Arc::clone(choice),
            outcome: Attempt::Connected,
            took: Duration::from_secs(took as u64),
        }
    }

    #[test]
    fn the_last_ones_of_each_listener_are_kept_and_others_do_not_push_them_out() {
        let address = "10.0.0.1:6443".parse().unwrap();
        let choice = Arc::new(Choice::departed(address, Instant::now()));
        let (quiet, busy) = (ListenerId(0), ListenerId(1));
        let mut recent = Recent::default();
        recent.dialled(quiet, dialled(&choice, 7));
        for took in 0..3 * KEPT {
            recent.dialled(busy, dialled(&choice, took));
        }
        let seconds = |recent: &Recent, listener| {
            let (_, lately) = recent.iter().find(|(id, _)| *id == listener)?;
            let dials = lately.dials.iter();
            Some(dials.map(|dial| dial.took.as_secs()).collect::<Vec<_>>())
        };
        assert_eq!(seconds(&recent, quiet), Some(vec![7]));
        let last: Vec<u64> = (2 * KEPT as u64..3 * KEPT as u64).collect();
        assert_eq!(seconds(&recent, busy), Some(last));
        recent.retain(|listener| listener == quiet);
        assert_eq!(seconds(&recent, busy), None);
        assert_eq!(seconds(&recent, quiet), Some(vec![7]));
    }
}
