//! One connection, from accept to its line in the access log. Read [`run`] top to bottom.

pub(crate) mod copy;
mod relay;

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use rand::rngs::SmallRng;
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    time::{Instant, interval, sleep},
};

use self::{
    copy::{Buffer, Count, broken},
    relay::{Counts, relay},
};
use crate::{
    access_log,
    close::CloseReason,
    config::Listener,
    decide::{
        Choice, Entered, Event, ListenerId, Snapshot,
        choose::{self, Candidate},
        dial_plan::{Order, STAGGER},
    },
    dial::{self, Failed, Lost, Won},
    metrics::{self, Attempt},
};

/// What all connections of one listener on one worker share.
pub(crate) struct Here {
    pub(crate) id: ListenerId,
    pub(crate) listener: Arc<Listener>,
    /// What is believed of the upstreams.
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    /// Where failed dials are told. When it is full they are not: probes will find out.
    pub(crate) events: mpsc::Sender<Event>,
    /// Becomes true when connections have to end now.
    pub(crate) closing: watch::Receiver<bool>,
    pub(crate) buffer: Rc<Buffer>,
    pub(crate) rng: RefCell<SmallRng>,
    pub(crate) turn: Cell<usize>,
    /// Bytes since the worker last added them to the metrics.
    pub(crate) to_upstream: Cell<u64>,
    pub(crate) to_client: Cell<u64>,
}

/// Serves one client, and says why that ended.
pub(crate) async fn run(client: TcpStream, address: SocketAddr, here: Rc<Here>) -> CloseReason {
    let accepted = Instant::now();
    let name = here.listener.name.as_str();
    // It fails when the client is gone already, which the next read tells better.
    let _ = dial::tune(&client, here.listener.keepalive);

    let mut closing = here.closing.clone();
    let dialled = tokio::select! {
        dialled = dial(&here) => dialled,
        () = broken(&client) => Err(Unserved::new(CloseReason::ClientLeft)),
        _ = closing.wait_for(|now| *now) => Err(Unserved::new(CloseReason::Shutdown)),
    };

    let (to_upstream, to_client) = (Cell::new(0), Cell::new(0));
    let (upstream, tried, reason) = match dialled {
        Err(unserved) => (String::new(), unserved.tried, unserved.reason),
        Ok(served) => {
            metrics::connected(name, &served.choice.address, accepted.elapsed());
            let _active = Active::new(name, &served.choice);
            let counts = Counts {
                to_upstream: Count {
                    connection: &to_upstream,
                    listener: &here.to_upstream,
                    heard: None,
                },
                to_client: Count {
                    connection: &to_client,
                    listener: &here.to_client,
                    heard: Some(&served.choice.traffic),
                },
            };
            let reason = tokio::select! {
                reason = relay(&client, &served.stream, &here.buffer, counts) => reason,
                _ = closing.wait_for(|now| *now) => CloseReason::Shutdown,
                () = Box::pin(given_up(&here, &served.choice)) => CloseReason::UpstreamDown,
            };
            close(served.stream, reason);
            (served.choice.address.to_string(), served.tried, reason)
        }
    };
    close(client, reason);

    metrics::closed(name, reason);
    access_log::Line {
        listener: name,
        client: address,
        upstream,
        tried,
        lasted: accepted.elapsed(),
        to_upstream: to_upstream.get(),
        to_client: to_client.get(),
        reason,
    }
    .write();
    reason
}

/// A connection to an upstream.
struct Served {
    stream: TcpStream,
    choice: Arc<Choice>,
    tried: String,
    _entered: Entered,
}

/// A client that got no upstream.
struct Unserved {
    reason: CloseReason,
    tried: String,
}

impl Unserved {
    const fn new(reason: CloseReason) -> Self {
        Self {
            reason,
            tried: String::new(),
        }
    }
}

/// Chooses among the upstreams as they are believed to be now, and dials them as planned.
async fn dial(here: &Here) -> Result<Served, Unserved> {
    let began = Instant::now();
    let order = loop {
        let order = choose(here);
        if !order.first.is_empty() || began.elapsed() >= here.listener.dial_timeout {
            break order;
        }
        sleep(ROUND).await;
    };
    let limit = here.listener.dial_timeout.saturating_sub(began.elapsed());
    let raced = dial::race(order, limit, |choice| {
        let entered = choice.traffic.enter();
        let sockets = Arc::clone(&choice.sockets);
        async move {
            let stream = dial::any(&sockets, here.listener.keepalive, limit).await?;
            Ok((stream, entered))
        }
    })
    .await;
    match raced {
        Ok(Won {
            candidate: choice,
            value: (stream, entered),
            lost,
            ..
        }) => {
            metrics::attempted(&here.listener.name, &choice.address, Attempt::Connected);
            Ok(Served {
                stream,
                tried: report(here, &lost, Attempt::Overtaken),
                choice,
                _entered: entered,
            })
        }
        Err(Failed { timed_out, lost }) => Err(Unserved {
            tried: report(here, &lost, Attempt::TimedOut),
            reason: if timed_out {
                CloseReason::DialTimedOut
            } else {
                CloseReason::NoUpstream
            },
        }),
    }
}

/// Nobody while no name has been found yet.
fn choose(here: &Here) -> Order<Arc<Choice>> {
    let snapshot = here.snapshot.load();
    let choices = snapshot.choices(here.id);
    let candidates: Vec<Candidate> = choices
        .iter()
        .map(|choice| Candidate {
            state: choice.state,
            dialable: choice.is_dialable(),
            load: choice.traffic.connections(),
        })
        .collect();
    let turn = here.turn.get();
    here.turn.set(turn.wrapping_add(1));
    let rng = &mut *here.rng.borrow_mut();
    choose::order(here.listener.balance, &candidates, turn, rng)
        .map(|index| Arc::clone(&choices[index]))
}

/// Waits until the connections that were dialled when this choice was made have to be closed.
async fn given_up(here: &Here, dialled: &Choice) {
    let mut looks = interval(LOOK);
    loop {
        looks.tick().await;
        let snapshot = here.snapshot.load();
        let now = snapshot
            .choices(here.id)
            .iter()
            .find(|choice| choice.id == dialled.id);
        if now.is_some_and(|now| now.epoch > dialled.epoch) {
            return;
        }
    }
}

/// Tells metrics and the core about attempts that did not win, and gives them in words. `unfinished` is
/// what an attempt without an error was.
fn report(here: &Here, lost: &[Lost<Arc<Choice>>], unfinished: Attempt) -> String {
    let mut words = Vec::with_capacity(lost.len());
    for lost in lost {
        let outcome = lost.error.as_ref().map_or(unfinished, outcome);
        metrics::attempted(&here.listener.name, &lost.candidate.address, outcome);
        if speaks_against(outcome, lost.took) {
            let upstream = lost.candidate.id;
            if here
                .events
                .try_send(Event::DialFailed { upstream })
                .is_err()
            {
                metrics::event_dropped();
            }
        }
        words.push(format!("{}={}", lost.candidate.address, outcome.word()));
    }
    words.join(",")
}

fn outcome(error: &io::Error) -> Attempt {
    match error.kind() {
        _ if dial::is_local(error) => Attempt::LocalError,
        io::ErrorKind::ConnectionRefused => Attempt::Refused,
        io::ErrorKind::TimedOut => Attempt::TimedOut,
        _ => Attempt::Failed,
    }
}

/// Whether an attempt is a reason to doubt the upstream. One that was overtaken has been slower than the
/// stagger unless it was itself the second.
fn speaks_against(outcome: Attempt, took: Duration) -> bool {
    match outcome {
        Attempt::Connected | Attempt::LocalError => false,
        Attempt::Overtaken => took >= STAGGER,
        Attempt::Refused | Attempt::TimedOut | Attempt::Failed => true,
    }
}

/// Closes one leg: with a FIN when all went well, else with the RST that the other leg got or would have
/// got from a server that is not there.
fn close(stream: TcpStream, reason: CloseReason) {
    if !reason.is_orderly() {
        // If it fails, the peer gets a FIN.
        let _ = stream.set_zero_linger();
    }
    drop(stream);
}

/// Counts a connection as live, also when it ends in a panic.
struct Active(::metrics::Gauge);

impl Active {
    fn new(listener: &str, choice: &Choice) -> Self {
        let gauge = metrics::active(listener, &choice.address);
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// A client whose upstreams have not been found looks again this often.
const ROUND: Duration = Duration::from_millis(100);
/// How often a connection looks whether its upstream has been given up.
const LOOK: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
