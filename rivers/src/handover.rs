//! How a new process takes over from the one that serves: listening sockets, established connections,
//! and the bytes that were read from one side and not yet taken by the other.
//!
//! ```text
//! new                                   old
//!  ── hello (protocol, generation) ──►       refuses another protocol and an older generation
//!  ◄── listeners, with descriptors ──        from here on it moves no byte and accepts nobody
//!  ◄── connections, with descriptors ─
//!  ◄── complete ──────────────────────
//!  ── commit ─────────────────────────►      gives everything up
//!  ◄── done ──────────────────────────       the new one moves bytes only now
//! ```
//!
//! At every moment one of the two owns the connections. The old one does until it has read `commit`: if
//! the new one dies, hangs or misbehaves before that, the old one goes on as if nothing had been. The new
//! one does from `done` on, or when the old one is gone after `commit`.
//!
//! [`record`] is what is handed over, [`message`] how it is written, [`frame`] how that and the
//! descriptors travel over a UNIX stream socket; [`give`] is the old side and [`take`] the new one.

mod bridge;
mod frame;
mod give;
mod message;
mod overheard;
pub(crate) mod record;
mod take;

use std::{
    fs, io,
    os::unix::{
        fs::DirBuilderExt as _,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, poll};

pub(crate) use self::{
    bridge::{Bridge, Request},
    give::{Owner, Released, serve},
    overheard::overhear,
    take::{Offer, TakeError},
};
use crate::config::{handover::Generation, listen::ListenAddress};

/// Asks the process that serves one of these addresses for all that it serves; `None`: there is none.
///
/// # Errors
/// There is one, and it keeps what it has.
pub(crate) fn ask(
    run_dir: &Path,
    addresses: &[ListenAddress],
    generation: Generation,
) -> Result<Option<Offer>, TakeError> {
    for &address in addresses {
        if let Some(offer) = take::ask(&path(run_dir, address), generation)? {
            return Ok(Some(offer));
        }
    }
    Ok(None)
}

/// Whether a process serves one of these addresses, which is not disturbed.
pub(crate) fn is_served(run_dir: &Path, addresses: &[ListenAddress]) -> bool {
    let mut addresses = addresses.iter();
    addresses.any(|&address| UnixStream::connect(path(run_dir, address)).is_ok())
}

/// The sockets on which a process that serves these addresses may be asked: one for each address, so that
/// it is found by a successor that has a listener more or less. They go away with the value.
#[derive(Debug)]
pub(crate) struct Sockets(Vec<(PathBuf, UnixListener)>);

impl Sockets {
    /// Makes them. What an earlier process has left behind is replaced; so only who listens on the
    /// addresses themselves may do this.
    ///
    /// # Errors
    /// The folder cannot be made or written to.
    pub(crate) fn bind(run_dir: &Path, addresses: &[ListenAddress]) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(run_dir)?;
        let mut sockets = Self(Vec::new());
        for &address in addresses {
            let path = path(run_dir, address);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let socket = UnixListener::bind(&path)?;
            sockets.0.push((path, socket));
        }
        Ok(sockets)
    }
}

impl Sockets {
    /// Waits for somebody who asks.
    fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let mut ready: Vec<_> = self
                .0
                .iter()
                .map(|(_, socket)| PollFd::new(socket, PollFlags::IN))
                .collect();
            poll(&mut ready, None)?;
            let asked = ready.iter().position(|socket| !socket.revents().is_empty());
            if let Some((_, socket)) = asked.and_then(|index| self.0.get(index)) {
                return Ok(socket.accept()?.0);
            }
        }
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        for (path, _) in &self.0 {
            // If it cannot be removed, the next process replaces it.
            let _ = fs::remove_file(path);
        }
    }
}

fn path(run_dir: &Path, address: ListenAddress) -> PathBuf {
    run_dir.join(format!("{address}.sock"))
}

/// The longest that a hand-over may take; nobody is served meanwhile. A thousand connections take some
/// milliseconds.
const LIMIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
