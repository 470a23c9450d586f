//! One process after another: what this one takes over when it starts, and how it is replaced.
//!
//! The conversation itself is [`handover`]'s; here is what it means for a program that starts and ends.

use std::{process::ExitCode, thread, time::Duration};

use daemon::shutdown::Shutdown;
use tokio::{sync::mpsc, time::sleep};
use tracing::{info, warn};

use crate::{
    config::{
        Config,
        handover::{Handover, WhenReplaced},
        listen::ListenAddress,
    },
    handover::{self, Bridge, Offer, Request, Sockets, TakeError},
};

/// Whether there is a process to take over from.
pub(crate) enum Predecessor {
    /// This one is to serve, and takes over what is offered if anything is.
    Found(Option<Offer>),
    /// It was told to end while a newer one served.
    Stopped,
}

/// Asks the process that serves our addresses, if there is one, for what it has. An older generation that
/// is to wait does so until the newer one is gone.
///
/// # Errors
/// There is one, and it keeps what it has.
pub(crate) async fn predecessor(
    config: &Config,
    shutdown: &mut Shutdown,
) -> Result<Predecessor, TakeError> {
    let listeners = config.listeners.iter();
    let addresses: Vec<_> = listeners.map(|listener| listener.listen).collect();
    let Handover {
        run_dir,
        generation,
        when_replaced,
    } = &config.handover;
    let mut is_waiting = false;
    loop {
        match handover::ask(run_dir, &addresses, *generation) {
            Ok(offer) => return Ok(Predecessor::Found(offer)),
            Err(error) if error.is_older() && *when_replaced == WhenReplaced::Wait => {
                if !std::mem::replace(&mut is_waiting, true) {
                    info!(%error, "waiting until it is gone, or for SIGTERM");
                }
            }
            Err(error) => return Err(error),
        }
        tokio::select! {
            signal = shutdown.signal() => {
                info!(signal, "stopping");
                return Ok(Predecessor::Stopped);
            }
            () = sleep(ASK_AGAIN) => {}
        }
    }
}

/// From now on another process may take over; its requests come out of the receiver.
pub(crate) fn be_replaceable(
    handover: &Handover,
    addresses: &[ListenAddress],
) -> mpsc::Receiver<Request> {
    let (mut bridge, requests) = Bridge::new();
    let generation = handover.generation;
    let started = Sockets::bind(&handover.run_dir, addresses).and_then(|sockets| {
        let serve = move || handover::serve(sockets, generation, &mut bridge);
        thread::Builder::new()
            .name("handover".to_owned())
            .spawn(serve)
    });
    if let Err(error) = started {
        let run_dir = handover.run_dir.display();
        warn!(
            %run_dir,
            %error,
            "an upgrade will cut connections; --run-dir names a folder in which sockets can be made"
        );
    }
    requests
}

/// Everything is another process's now: what is left to do, and the exit code. A process that is to wait ends
/// when it is told to, or when nobody serves any more: then its supervisor starts it again, to serve.
pub(crate) async fn replaced(
    handover: &Handover,
    addresses: &[ListenAddress],
    shutdown: &mut Shutdown,
) -> ExitCode {
    if handover.when_replaced == WhenReplaced::Exit {
        info!("replaced by another process; done");
        return ExitCode::SUCCESS;
    }
    info!("replaced by another process; waiting for SIGTERM, or until nobody serves");
    let mut missed = 0;
    while missed < MISSED {
        tokio::select! {
            signal = shutdown.signal() => {
                info!(signal, "stopping");
                return ExitCode::SUCCESS;
            }
            () = sleep(ASK_AGAIN) => {}
        }
        missed = match handover::is_served(&handover.run_dir, addresses) {
            true => 0,
            false => missed + 1,
        };
    }
    warn!("nobody serves any more; ending, to be started again");
    ExitCode::SUCCESS
}

/// How often an older generation looks whether the newer one is still there.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// After so many looks in vain it is gone: there is nobody for a moment when one takes over from the other.
const MISSED: u32 = 3;
