//! One connection, from accept to its line in the access log, as a state machine that the worker's loop
//! drives: it is called when the kernel tells something of one of its sockets, when its alarm goes off, or
//! when other things are believed of the upstreams; and it never waits.
//!
//! ```text
//! accept ──► dialling ──► opening ──► relaying ──► end
//!               ▲            │  until the upstream's first byte the client's bytes are kept
//!               └────────────┘  (`replay`): an upstream that goes away before is not the last one
//! ```
//!
//! Each direction ends on its own: a FIN is passed on while the other goes on for as long as it likes. A
//! failure of one side ends both, after the last bytes of the side that is gone have been delivered.

mod copy;
mod dialling;
pub(crate) mod hello;
mod leg;
mod moving;
mod pipes;
mod quiet;
mod serving;
mod silent;
mod telling;
mod waiting;

use std::{
    io, mem,
    net::SocketAddr,
    os::fd::OwnedFd,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::rngs::SmallRng;
use rustix::event::epoll::EventFlags;
use tokio::sync::mpsc;

pub(crate) use self::{
    copy::Means,
    leg::tune,
    serving::Serving,
    telling::{Live, canonical},
};
use self::{
    copy::{Direction, Flow},
    dialling::{Attempt, Dialler, Dialling, Progress},
    leg::Leg,
};
use crate::{
    access_log,
    close::{CloseReason, Side},
    config::Replay,
    connections::{Key, Source},
    decide::{Choice, Entered, Event, Snapshot},
    metrics::Active,
    recent::{Ended, Recent},
    tried::Tried,
    worker::{
        slots::Slot,
        timers::{Alarm, Timers},
    },
};

/// What all connections of one worker share.
pub(crate) struct Here {
    pub(crate) epoll: OwnedFd,
    /// When the worker began.
    pub(crate) start: Instant,
    /// When this turn of the loop began.
    pub(crate) now: Instant,
    pub(crate) timers: Timers,
    pub(crate) means: Means,
    /// What is believed of the upstreams.
    pub(crate) snapshot: Arc<Snapshot>,
    /// Where failed dials are told. When it is full they are not: probes will find out.
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) rng: SmallRng,
    /// What happened lately, for people who ask.
    pub(crate) recent: Recent,
    /// Clients who wait for an upstream are to be called, as their listeners say.
    pub(crate) is_called: bool,
}

/// What a connection wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Next {
    /// To be called when something happens.
    Wait,
    /// To be called again in the next turn.
    Again,
    /// To be ended.
    End(CloseReason),
}

/// A client that has been accepted.
pub(crate) struct Client {
    pub(crate) socket: OwnedFd,
    pub(crate) address: SocketAddr,
    /// Its place among all connections that there may be.
    pub(crate) slot: Slot,
}

/// A live connection.
pub(crate) struct Connection {
    key: Key,
    serving: Rc<Serving>,
    client: Leg,
    address: SocketAddr,
    accepted: Instant,
    alarm: Alarm,
    tried: Tried,
    stage: Stage,
    _slot: Slot,
}

enum Stage {
    Dialling(Box<Dialling>),
    Served(Served),
    /// Only while one of the others becomes another.
    Between,
}

/// A connection that has an upstream.
struct Served {
    upstream: Leg,
    /// Names the upstream's socket among those of the connection.
    number: u8,
    choice: Arc<Choice>,
    /// When it connected; `None`: an earlier process had connected it.
    since: Option<Instant>,
    _entered: Entered,
    _active: Active,
    up: Direction,
    down: Direction,
    /// Until the upstream's first byte: with whom the dial may go on.
    opening: Option<Box<Dialling>>,
    /// This side has failed, and its last bytes are being delivered.
    torn: Option<(Side, CloseReason)>,
    /// When a byte was last read from either side, in seconds since the worker's start.
    last_byte: u32,
}

impl Connection {
    /// Begins to serve a client.
    ///
    /// # Errors
    /// The kernel has no memory for it.
    pub(crate) fn begin(
        key: Key,
        client: Client,
        serving: &Rc<Serving>,
        here: &mut Here,
    ) -> io::Result<Self> {
        let leg = Leg::register(client.socket, Source::Socket(key, CLIENT), &here.epoll)?;
        let mut tried = Tried::default();
        let mut dialler = Dialler {
            key,
            serving,
            tried: &mut tried,
            here,
        };
        let dialling = Box::new(Dialling::begin(&mut dialler));
        Ok(Self {
            key,
            serving: Rc::clone(serving),
            client: leg,
            address: client.address,
            accepted: here.now,
            alarm: Alarm::default(),
            tried,
            stage: Stage::Dialling(dialling),
            _slot: client.slot,
        })
    }

    /// The kernel said this of the socket of that number.
    pub(crate) fn ready(&mut self, number: u8, said: EventFlags, here: &mut Here) -> Next {
        if number == CLIENT {
            self.client.note(said);
            return match &self.stage {
                // A FIN is no reason to leave it alone: it may wait for an answer.
                Stage::Dialling(_) if self.client.failed => Next::End(CloseReason::ClientLeft),
                Stage::Dialling(_) | Stage::Between => Next::Wait,
                Stage::Served(_) => self.relay(here),
            };
        }
        match &mut self.stage {
            Stage::Served(served) if served.number == number => {
                served.upstream.note(said);
                self.relay(here)
            }
            Stage::Served(_) | Stage::Between => Next::Wait,
            Stage::Dialling(dialling) => {
                let mut dialler = Dialler {
                    key: self.key,
                    serving: &self.serving,
                    tried: &mut self.tried,
                    here,
                };
                match dialling.ready(number, said, &mut dialler) {
                    Some(attempt) => self.connected(attempt, here),
                    None => self.go_on(here),
                }
            }
        }
    }

    /// Its alarm went off, in the table of timers.
    pub(crate) fn alarm(&mut self, here: &mut Here) -> Next {
        if self.alarm.went_off(here.now, self.key, &mut here.timers) {
            self.go_on(here)
        } else {
            Next::Wait
        }
    }

    /// Whether it is waiting for an upstream that is given up.
    pub(crate) fn is_given_up(&self, here: &Here) -> bool {
        let Stage::Served(served) = &self.stage else {
            return false;
        };
        // An upstream that is merely gone keeps its connections.
        let choices = here.snapshot.choices(self.serving.id);
        choices
            .iter()
            .any(|now| now.id == served.choice.id && now.epoch > served.choice.epoch)
    }

    /// Its upstream has been given up: another one serves it, if none has yet said a word.
    pub(crate) fn given_up(&mut self, here: &mut Here) -> Next {
        match &self.stage {
            Stage::Served(served) if served.may_dial_again(&self.client, here) => {
                self.dial_again(here)
            }
            _ => Next::End(CloseReason::UpstreamDown),
        }
    }

    /// The listener that it belongs to, as it was when the client was accepted.
    pub(crate) fn serving(&self) -> &Serving {
        &self.serving
    }

    /// Other things are believed of the upstreams, or one of them has accepted another client.
    pub(crate) fn news(&mut self, here: &mut Here) -> Next {
        if let Stage::Dialling(dialling) = &mut self.stage {
            dialling.news(&mut Dialler {
                key: self.key,
                serving: &self.serving,
                tried: &mut self.tried,
                here,
            });
            return self.go_on(here);
        }
        Next::Wait
    }

    /// Does what can be done now.
    pub(crate) fn go_on(&mut self, here: &mut Here) -> Next {
        match &mut self.stage {
            Stage::Between => Next::Wait,
            Stage::Dialling(dialling) => {
                let was_waiting = dialling.is_waiting();
                let mut dialler = Dialler {
                    key: self.key,
                    serving: &self.serving,
                    tried: &mut self.tried,
                    here,
                };
                match dialling.proceed(&mut dialler) {
                    Progress::Until(moment) => {
                        self.alarm.want(Some(moment), self.key, &mut here.timers);
                        Next::Wait
                    }
                    Progress::TimedOut if was_waiting => Next::End(CloseReason::DialTimedOut),
                    Progress::TimedOut => Next::End(CloseReason::NoUpstream),
                }
            }
            Stage::Served(served) => {
                if let Some((_, reason)) = served.torn
                    && !self.alarm.is_wanted()
                {
                    return Next::End(reason);
                }
                if served
                    .opening
                    .as_ref()
                    .is_some_and(|opening| opening.deadline() <= here.now)
                {
                    served.opening = None;
                }
                self.relay(here)
            }
        }
    }

    /// An attempt has won: what the client has sent goes there.
    fn connected(&mut self, attempt: Attempt, here: &mut Here) -> Next {
        let Stage::Dialling(dialling) = mem::replace(&mut self.stage, Stage::Between) else {
            return Next::Wait;
        };
        let choice = Arc::clone(attempt.choice());
        let meter = self.serving.upstream(&choice);
        self.serving
            .meter
            .connected(here.now.saturating_duration_since(self.accepted));
        let up = Direction::resuming(&dialling.kept);
        let opening = match self.serving.listener.replay {
            Replay::Off => None,
            Replay::Tls | Replay::Any => Some(dialling),
        };
        let deadline = opening.as_ref().map(|opening| opening.deadline());
        self.alarm.want(deadline, self.key, &mut here.timers);
        self.stage = Stage::Served(Served {
            upstream: attempt.leg,
            number: attempt.number,
            choice,
            since: Some(here.now),
            _entered: attempt.entered,
            _active: Active::new(meter),
            up,
            down: Direction::default(),
            opening,
            torn: None,
            last_byte: here.seconds(),
        });
        if self.is_given_up(here) {
            return self.given_up(here);
        }
        self.relay(here)
    }

    /// Moves what can be moved in both directions.
    fn relay(&mut self, here: &mut Here) -> Next {
        let Stage::Served(served) = &mut self.stage else {
            return Next::Wait;
        };
        let before = (served.up.bytes, served.down.bytes);
        let moved = served.relay(&mut self.client, self.serving.listener.replay, here);
        let (to_upstream, to_client) = (served.up.bytes - before.0, served.down.bytes - before.1);
        self.serving.count(to_upstream, to_client);
        if to_upstream + to_client > 0 {
            served.last_byte = here.seconds();
        }
        if to_client > 0 {
            served.choice.traffic.hear(here.now);
        }
        match moved {
            Moved::Waits => Next::Wait,
            Moved::Busy => Next::Again,
            Moved::End(reason) => Next::End(reason),
            Moved::Torn => {
                let moment = here.now + LAST_WORDS;
                self.alarm.want(Some(moment), self.key, &mut here.timers);
                Next::Again
            }
            Moved::Silent => self.dial_again(here),
        }
    }

    /// The upstream went away before it said anything: the next one gets what the client has sent.
    fn dial_again(&mut self, here: &mut Here) -> Next {
        match mem::replace(&mut self.stage, Stage::Between) {
            Stage::Served(Served {
                choice,
                opening: Some(mut dialling),
                ..
            }) => {
                dialling.was_in_vain(
                    &choice,
                    &mut Dialler {
                        key: self.key,
                        serving: &self.serving,
                        tried: &mut self.tried,
                        here,
                    },
                );
                // A FIN that has been read is read once more, for the next upstream.
                self.client.readable |= self.client.ended;
                self.stage = Stage::Dialling(dialling);
                self.go_on(here)
            }
            stage => {
                self.stage = stage;
                Next::Wait
            }
        }
    }

    /// Ends it: with a FIN to both sides when all went well, else with the RST that one side got, or would
    /// have got from a server that is not there.
    pub(crate) fn end(mut self, reason: CloseReason, here: &mut Here) {
        self.alarm.clear(self.key, &mut here.timers);
        let served = match self.stage {
            Stage::Served(served) => Some(served),
            Stage::Dialling(_) | Stage::Between => None,
        };
        if !reason.is_orderly() {
            self.client.reset();
            if let Some(served) = &served {
                served.upstream.reset();
            }
        }
        self.serving.ended(reason);
        let ended = Ended {
            at: here.now,
            client: self.address,
            to_upstream: served.as_ref().map_or(0, |served| served.up.bytes),
            to_client: served.as_ref().map_or(0, |served| served.down.bytes),
            upstream: served.map(|served| served.choice),
            tried: self.tried,
            lasted: here.now.saturating_duration_since(self.accepted),
            reason,
        };
        access_log::write(&self.serving.listener.name, &ended);
        here.recent.ended(self.serving.id, ended);
    }

    /// A panic has ended it.
    pub(crate) fn panicked(&self) {
        self.serving.meter.panicked();
    }
}

/// How far both directions got.
enum Moved {
    Waits,
    Busy,
    /// One side has failed just now; its last bytes are still to be delivered.
    Torn,
    /// The upstream is gone, and has not said a word to a client that may be served by another.
    Silent,
    End(CloseReason),
}

impl Served {
    fn relay(&mut self, client: &mut Leg, replay: Replay, here: &mut Here) -> Moved {
        let mut is_busy = false;
        let mut lost_upstream = None;
        if !self.up.is_over {
            let opening = &mut self.opening;
            let watch = opening.is_some().then_some(|bytes: &[u8]| {
                opening.take_if(|opening| !opening.keep(bytes, replay));
            });
            let flow = self
                .up
                .pump(client, &mut self.upstream, &mut here.means, watch);
            match flow {
                Flow::Waits => {}
                Flow::Busy => is_busy = true,
                Flow::SourceFailed(error) => {
                    return Moved::End(CloseReason::failed(Side::Client, &error));
                }
                Flow::SinkFailed(error) => lost_upstream = Some(error),
                Flow::Ended => match self.finished(Side::Client, client) {
                    Ok(None) => {}
                    Ok(Some(reason)) => return Moved::End(reason),
                    Err(error) => lost_upstream = Some(error),
                },
            }
        }
        let mut lost_client = None;
        if !self.down.is_over {
            let flow = self.down.pump(
                &mut self.upstream,
                client,
                &mut here.means,
                None::<fn(&[u8])>,
            );
            if self.down.bytes > 0 {
                self.opening = None;
            }
            match flow {
                Flow::Waits => {}
                Flow::Busy => is_busy = true,
                Flow::SourceFailed(_) | Flow::Ended if self.may_dial_again(client, here) => {
                    return Moved::Silent;
                }
                Flow::SourceFailed(error) => {
                    return Moved::End(CloseReason::failed(Side::Upstream, &error));
                }
                Flow::SinkFailed(error) => lost_client = Some(error),
                Flow::Ended => match self.finished(Side::Upstream, client) {
                    Ok(None) => {}
                    Ok(Some(reason)) => return Moved::End(reason),
                    Err(error) => lost_client = Some(error),
                },
            }
        }
        if lost_upstream.is_some() && self.may_dial_again(client, here) {
            return Moved::Silent;
        }
        // Who failed without that anybody would read it: its way out is closed or blocked.
        if self.upstream.failed && (self.down.is_over || self.down.is_blocked()) {
            lost_upstream.get_or_insert_with(|| self.upstream.error());
        }
        if client.failed && (self.up.is_over || self.up.is_blocked()) {
            lost_client.get_or_insert_with(|| client.error());
        }
        if let Some((side, reason)) = self.torn {
            let other_is_lost = match side {
                Side::Client => lost_upstream.is_some(),
                Side::Upstream => lost_client.is_some(),
            };
            if other_is_lost {
                return Moved::End(reason);
            }
        } else if let Some(error) = lost_upstream {
            return self.tear(Side::Upstream, &error);
        } else if let Some(error) = lost_client {
            return self.tear(Side::Client, &error);
        }
        if is_busy { Moved::Busy } else { Moved::Waits }
    }

    /// One side has sent its FIN, and everything before it has been written: passes it on. Gives the reason
    /// when both are done.
    fn finished(&mut self, side: Side, client: &Leg) -> io::Result<Option<CloseReason>> {
        // After its failure an end is not a FIN: the kernel tells an error once.
        if let Some((torn, reason)) = self.torn
            && torn == side
        {
            return Ok(Some(reason));
        }
        let (ended, other, sink) = match side {
            Side::Client => (&mut self.up, &self.down, &self.upstream),
            Side::Upstream => (&mut self.down, &self.up, client),
        };
        sink.finish()?;
        ended.is_over = true;
        Ok(other.is_over.then(|| CloseReason::Finished(side.other())))
    }

    /// One side is gone. What it sent before is still to be delivered: an answer, say, to a request that it
    /// did not care to read to its end.
    fn tear(&mut self, side: Side, error: &io::Error) -> Moved {
        let reason = CloseReason::failed(side, error);
        let (into, out_of) = match side {
            Side::Client => (&mut self.down, &self.up),
            Side::Upstream => (&mut self.up, &self.down),
        };
        into.give_up();
        if out_of.is_over {
            return Moved::End(reason);
        }
        self.opening = None;
        self.torn = Some((side, reason));
        Moved::Torn
    }

    /// Whether the next upstream may be dialled in place of this one, which is gone.
    fn may_dial_again(&self, client: &Leg, here: &Here) -> bool {
        self.opening.as_ref().is_some_and(|opening| {
            // Who has left without a word, as one who only looks whether the port is open, waits for nothing.
            let asked_nothing = client.ended && opening.kept.is_empty();
            here.now < opening.deadline() && !asked_nothing && self.torn.is_none()
        })
    }
}

/// The number of the client's socket; attempts have the others.
const CLIENT: u8 = 0;
/// How long the last bytes of a side that is gone may take to be delivered to the other.
const LAST_WORDS: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
