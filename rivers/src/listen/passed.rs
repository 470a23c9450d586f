//! Listening sockets that a service manager has opened and passed (sd_listen_fds(3)). It keeps them, so that
//! clients who come while rivers is being started again, after a crash say, wait in them instead of being
//! refused.

use std::{env, net::TcpListener, os::fd::OwnedFd};

use rustix::{
    io::Errno,
    net::sockopt::socket_acceptconn,
    process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open},
};
use tracing::warn;

use crate::{config::listen::ListenAddress, handover::record::HandedListener};

/// The sockets that were passed to this process. One that is no listening TCP socket is left alone, with a
/// line in the log.
pub(crate) fn passed() -> Vec<HandedListener> {
    let is_ours = env::var("LISTEN_PID").is_ok_and(|pid| pid.parse() == Ok(std::process::id()));
    let count = env::var("LISTEN_FDS").ok();
    let count: i32 = count.and_then(|count| count.parse().ok()).unwrap_or(0);
    if !is_ours {
        return Vec::new();
    }
    let mut passed = Vec::new();
    for descriptor in (FIRST..).take(count.max(0).unsigned_abs() as usize) {
        match take(descriptor) {
            Ok(socket) => passed.extend(listener(socket, descriptor)),
            // It promised more than there are.
            Err(Errno::BADF) => break,
            Err(error) => {
                warn!(%error, "sockets that were passed cannot be used; Linux 5.6 and later lets us");
                break;
            }
        }
    }
    passed
}

/// A duplicate of a descriptor that this process was born with. To take over the number itself the compiler
/// would have to believe us that nobody else uses it; so that one stays open, as it does in the manager.
fn take(descriptor: i32) -> Result<OwnedFd, Errno> {
    let this = pidfd_open(getpid(), PidfdFlags::empty())?;
    pidfd_getfd(this, descriptor, PidfdGetfdFlags::empty())
}

fn listener(socket: OwnedFd, descriptor: i32) -> Option<HandedListener> {
    let accepts = socket_acceptconn(&socket).unwrap_or(false);
    let socket = TcpListener::from(socket);
    let usable = socket
        .local_addr()
        .and_then(|address| socket.set_nonblocking(true).map(|()| address));
    match usable {
        Ok(address) if accepts => Some(HandedListener {
            address: ListenAddress::At(address),
            socket,
        }),
        _ => {
            warn!(descriptor, "what was passed is no listening TCP socket");
            None
        }
    }
}

/// Number of the first one.
const FIRST: i32 = 3;
