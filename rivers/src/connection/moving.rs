//! A connection on its way from one process to another, or back when that failed. Between the two it is a
//! [`Handed`]: nobody reads or writes, and what the kernel does not keep is in there.

use std::{io, rc::Rc, sync::Arc};

use super::{
    CLIENT, Connection, Here, Served, Serving, Stage,
    copy::Direction,
    dialling::{Dialler, Dialling},
    leg::Leg,
};
use crate::{
    config::Replay,
    connections::{Key, Source},
    decide::Choice,
    handover::record::{self, Handed, Relaying},
    metrics::{Active, UpstreamMeter},
    worker::{slots::Slot, timers::Alarm},
};

/// The number of the upstream's socket among those of a connection that came from elsewhere.
const UPSTREAM: u8 = 1;

impl Connection {
    /// Whether it can go on elsewhere. One whose failed side has its last words delivered ends here.
    pub(crate) const fn can_move(&self) -> bool {
        match &self.stage {
            Stage::Dialling(_) => true,
            Stage::Served(served) => served.torn.is_none(),
            Stage::Between => false,
        }
    }

    /// Takes it out of this worker. Attempts that have not connected are given up.
    pub(crate) fn release(mut self, here: &mut Here) -> Option<Handed> {
        self.alarm.clear(self.key, &mut here.timers);
        let stage = match self.stage {
            Stage::Dialling(dialling) => record::Stage::Dialling(dialling.kept),
            Stage::Served(served) => record::Stage::Relaying(Box::new(Relaying {
                upstream: served.upstream.unregister(&here.epoll),
                address: (*served.choice.address).clone(),
                replay: served.opening.map(|opening| opening.kept),
                to_upstream: served.up.into_record(),
                to_client: served.down.into_record(),
            })),
            Stage::Between => return None,
        };
        Some(Handed {
            listener: self.serving.listener.name.clone(),
            client: self.client.unregister(&here.epoll),
            address: self.address,
            age: here.now.saturating_duration_since(self.accepted),
            stage,
        })
    }

    /// Goes on with a connection where another process, or this one, has left it.
    ///
    /// # Errors
    /// The kernel has no memory for it.
    pub(crate) fn adopt(
        key: Key,
        handed: Handed,
        slot: Slot,
        serving: &Rc<Serving>,
        here: &mut Here,
    ) -> io::Result<Self> {
        let client = Leg::register(handed.client, Source::Socket(key, CLIENT), &here.epoll)?;
        let mut connection = Self {
            key,
            serving: Rc::clone(serving),
            client,
            address: handed.address,
            accepted: here.now.checked_sub(handed.age).unwrap_or(here.now),
            alarm: Alarm::default(),
            tried: crate::tried::Tried::default(),
            stage: Stage::Between,
            _slot: slot,
        };
        connection.stage = match handed.stage {
            record::Stage::Dialling(kept) => Stage::Dialling(connection.dialling(kept, here)),
            record::Stage::Relaying(relaying) => Stage::Served(connection.served(*relaying, here)?),
        };
        Ok(connection)
    }

    fn dialling(&mut self, kept: Vec<u8>, here: &mut Here) -> Box<Dialling> {
        let mut dialling = Dialling::begin(&mut Dialler {
            key: self.key,
            serving: &self.serving,
            tried: &mut self.tried,
            here,
        });
        dialling.kept = kept;
        Box::new(dialling)
    }

    fn served(&mut self, relaying: Relaying, here: &mut Here) -> io::Result<Served> {
        let source = Source::Socket(self.key, UPSTREAM);
        let upstream = Leg::register(relaying.upstream, source, &here.epoll)?;
        let choices = here.snapshot.choices(self.serving.id);
        let known = choices.iter().find(|it| *it.address == relaying.address);
        let (choice, meter) = match known {
            Some(choice) => (Arc::clone(choice), self.serving.upstream(choice)),
            // Our configuration does not name it; the connection lives all the same.
            None => {
                let meter = UpstreamMeter::new(&self.serving.listener.name, &relaying.address);
                (
                    Arc::new(Choice::departed(relaying.address, here.now)),
                    Rc::new(meter),
                )
            }
        };
        let opening = match (self.serving.listener.replay, relaying.replay) {
            (Replay::Off, _) | (_, None) => None,
            (_, Some(kept)) => Some(self.dialling(kept, here)),
        };
        let deadline = opening.as_ref().map(|opening| opening.deadline());
        self.alarm.want(deadline, self.key, &mut here.timers);
        Ok(Served {
            upstream,
            number: UPSTREAM,
            _entered: choice.traffic.enter(),
            choice,
            since: None,
            _active: Active::new(meter),
            up: Direction::from_record(relaying.to_upstream),
            down: Direction::from_record(relaying.to_client),
            opening,
            torn: None,
            last_byte: here.seconds(),
        })
    }
}
