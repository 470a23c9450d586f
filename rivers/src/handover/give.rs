//! The old side: waits for a process that wants to take over, and gives it everything or nothing.

use std::collections::VecDeque;

use rustix::process::{Pid, geteuid};
use tracing::{info, warn};

use super::{
    LIMIT, Sockets,
    frame::{Line, LineError},
    message::{self, Message, PROTOCOL, Parcel},
    record::{Handed, HandedListener},
};
use crate::config::handover::Generation;

/// Whoever owns the connections.
pub(crate) trait Owner {
    /// Takes all listening sockets and connections out of the workers. From now on no byte moves.
    fn release(&mut self) -> Released;

    /// Puts them back: the hand-over has failed.
    fn restore(&mut self, released: Released);

    /// They are this process's now, which also wants the admin endpoint's address and waits for it.
    /// Its number is known where it can be seen from here.
    fn gone(&mut self, successor: Option<Pid>);
}

/// Everything that a process serves.
#[derive(Debug, Default)]
pub(crate) struct Released {
    pub(crate) listeners: Vec<HandedListener>,
    pub(crate) connections: Vec<Handed>,
}

/// Answers those who ask on `sockets`, one after the other, until one has taken over.
pub(crate) fn serve(sockets: Sockets, generation: Generation, owner: &mut impl Owner) {
    loop {
        let stream = match sockets.accept() {
            Ok(stream) => stream,
            Err(error) => {
                warn!(%error, "cannot accept a process that wants to take over");
                std::thread::sleep(ACCEPT_PAUSE);
                continue;
            }
        };
        let line = Line::new(stream, LIMIT);
        match give(&line, generation, owner) {
            Ok(true) => {
                // Before the line is, which is what the new process waits for.
                drop(sockets);
                return;
            }
            Ok(false) => {}
            Err(error) => warn!(%error, "a hand-over failed; this process goes on"),
        }
    }
}

/// One conversation. Gives whether all was given away.
fn give(line: &Line, own: Generation, owner: &mut impl Owner) -> Result<bool, LineError> {
    let peer = line.peer()?;
    let trusted = peer.user == geteuid() || peer.user.is_root();
    let greeting = match line.receive() {
        // It has looked whether somebody serves.
        Err(LineError::HungUp) => return Ok(false),
        received => received?.message,
    };
    let refusal = match greeting {
        _ if !trusted => Some(("it is of another user".to_owned(), false)),
        Message::Hello { protocol, .. } if protocol != PROTOCOL => Some((
            format!(
                "it speaks protocol {PROTOCOL} of the hand-over and the new one {protocol}; stop it first"
            ),
            false,
        )),
        Message::Hello { generation, .. } if Generation(generation) < own => Some((
            format!(
                "it is of generation {} and the new one of {generation}",
                own.0
            ),
            true,
        )),
        Message::Hello {
            version,
            generation,
            ..
        } => {
            info!(version, generation, "handing over to a new process");
            None
        }
        other => return Err(LineError::Garbled(format!("{other:?}"))),
    };
    if let Some((reason, older)) = refusal {
        info!(reason, "refused to hand over");
        line.send(&Message::Refused { reason, older }.into())?;
        return Ok(false);
    }

    let parcels = parcels(owner.release());
    if let Err(error) = hand(line, &parcels) {
        owner.restore(reassemble(parcels));
        return Err(error);
    }
    owner.gone(peer.pid);
    Ok(true)
}

/// Sends everything and waits until the other side has it. If it fails, the other side has nothing.
fn hand(line: &Line, parcels: &[Parcel]) -> Result<(), LineError> {
    for parcel in parcels {
        line.send(parcel)?;
    }
    match line.receive()?.message {
        Message::Commit => line.send(&Message::Done.into()),
        other => Err(LineError::Garbled(format!("{other:?}"))),
    }
}

fn parcels(released: Released) -> Vec<Parcel> {
    let count = released.connections.len();
    let mut waiting = VecDeque::from(released.connections);
    let mut parcels = vec![message::listeners(released.listeners)];
    while !waiting.is_empty() {
        parcels.push(message::pack(&mut waiting));
    }
    parcels.push(Message::Complete { connections: count }.into());
    parcels
}

/// What was packed, unpacked again on this side: the other one has duplicates, which it closes.
fn reassemble(parcels: Vec<Parcel>) -> Released {
    let mut released = Released::default();
    for parcel in parcels {
        let own = "we packed it ourselves";
        match parcel.message {
            Message::Listeners { addresses } => {
                released.listeners =
                    message::unpack_listeners(addresses, parcel.descriptors).expect(own);
            }
            Message::Connections { connections } => {
                let some = message::unpack(connections, &parcel.payload, parcel.descriptors);
                released.connections.extend(some.expect(own));
            }
            _ => {}
        }
    }
    released
}

const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
