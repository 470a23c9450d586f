//! The new side: asks the process that serves for everything it has.

use std::{
    io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use tracing::{info, warn};

use super::{
    LIMIT,
    frame::{Line, LineError},
    message::{self, Message, Nonsense, PROTOCOL, Parcel},
    record::{Handed, HandedListener},
};
use crate::config::handover::Generation;

/// All that the old process has, which is still the old one's until [`commit`](Self::commit).
#[derive(Debug)]
pub(crate) struct Offer {
    line: Line,
    listeners: Vec<HandedListener>,
    connections: Vec<Handed>,
}

/// Why there is nothing to be had from a process that is there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    /// It goes on serving, and says why.
    #[error("the rivers that is running goes on: {reason}")]
    Refused {
        /// A sentence.
        reason: String,
        /// Because this process is of an older generation.
        older: bool,
    },
    /// It goes on serving, as it does whenever a hand-over ends before its commit.
    #[error("the hand-over from the rivers that is running failed, and it goes on")]
    Broken(#[source] LineError),
    /// Whether anybody listens cannot be seen.
    #[error(
        "{path} is another user's, and a rivers may be running there: start this one as that user, \
         or give it a --run-dir of its own"
    )]
    Forbidden {
        /// Where it would.
        path: PathBuf,
    },
}

impl TakeError {
    /// Whether it was refused because the other one is of a newer generation.
    pub(crate) const fn is_older(&self) -> bool {
        matches!(self, Self::Refused { older: true, .. })
    }
}

impl From<LineError> for TakeError {
    fn from(error: LineError) -> Self {
        Self::Broken(error)
    }
}

impl From<Nonsense> for TakeError {
    fn from(error: Nonsense) -> Self {
        Self::Broken(LineError::Garbled(error.to_string()))
    }
}

/// Asks whoever listens on `path`; `None`: nobody does.
///
/// # Errors
/// Somebody does, and keeps what it has.
pub(crate) fn ask(path: &Path, generation: Generation) -> Result<Option<Offer>, TakeError> {
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) if nobody(&error) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let path = path.to_owned();
            return Err(TakeError::Forbidden { path });
        }
        Err(error) => return Err(LineError::from(error).into()),
    };
    let line = Line::new(stream, LIMIT);
    line.send(&hello(generation).into())?;
    let mut listeners = Vec::new();
    let mut connections = Vec::new();
    loop {
        let Parcel {
            message,
            payload,
            descriptors,
        } = line.receive()?;
        match message {
            Message::Refused { reason, older } => return Err(TakeError::Refused { reason, older }),
            Message::Listeners { addresses } => {
                listeners.extend(message::unpack_listeners(addresses, descriptors)?);
            }
            Message::Connections { connections: some } => {
                connections.extend(message::unpack(some, &payload, descriptors)?);
            }
            Message::Complete { connections: all } if all == connections.len() => break,
            unexpected => return Err(LineError::Garbled(format!("{unexpected:?}")).into()),
        }
    }
    Ok(Some(Offer {
        line,
        listeners,
        connections,
    }))
}

impl Offer {
    /// The listening sockets; to accept clients from them has to wait until all is taken.
    pub(crate) fn take_listeners(&mut self) -> Vec<HandedListener> {
        std::mem::take(&mut self.listeners)
    }

    /// Takes it, and gives the connections. To be called when nothing can fail any more on this side.
    ///
    /// # Errors
    /// The old process could not be told, and keeps everything.
    pub(crate) fn commit(mut self) -> Result<Vec<Handed>, TakeError> {
        self.line.send(&Message::Commit.into())?;
        let answer = match self.line.receive() {
            Err(LineError::TimedOut) => self.line.receive_last(),
            answer => answer,
        };
        match answer {
            Ok(Parcel {
                message: Message::Done,
                ..
            }) => self.line.wait_for_hang_up(),
            // It died of the hand-over. Nobody else has these connections now.
            Err(LineError::HungUp) => warn!("the old process ended while it let go"),
            Ok(parcel) => return Err(LineError::Garbled(format!("{:?}", parcel.message)).into()),
            Err(error) => return Err(error.into()),
        }
        let connections = self.connections.len();
        info!(connections, "took over from the rivers that was running");
        Ok(self.connections)
    }
}

pub(super) fn hello(generation: Generation) -> Message {
    Message::Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        generation: generation.0,
    }
}

/// No process listens: there is no such file, or the one that made it is gone.
fn nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}
