//! One mechanism to stop: the first SIGTERM or SIGINT drains, the second forces.
//!
//! ```text
//! running ──signal──► draining ──second signal──► forced
//! ```

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Listens for the signals that stop a program.
#[derive(Debug)]
pub struct Shutdown {
    terminate: Signal,
    interrupt: Signal,
    draining: Trigger,
}

impl Shutdown {
    /// Takes over SIGTERM and SIGINT. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// The signal handlers cannot be installed.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            draining: Trigger::default(),
        })
    }

    /// For a part of the program that has to stop its work.
    #[must_use]
    pub fn drain(&self) -> Drain {
        self.draining.drain()
    }

    /// Waits for a signal and gives its name. The first one starts the drain; a
    /// later call waits for the next signal, which means "now". Cancel safe.
    pub async fn signal(&mut self) -> &'static str {
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        };
        self.draining.start();
        name
    }
}

/// Starts the drain of a part of the program by itself, without a signal. Dropping it starts it, too.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

impl Default for Trigger {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Trigger {
    /// For whoever has to stop its work then.
    #[must_use]
    pub fn drain(&self) -> Drain {
        Drain(self.0.subscribe())
    }

    /// From now on the drain has started.
    pub fn start(&self) {
        self.0.send_replace(true);
    }
}

/// Tells a part of the program when to stop. Clones tell the same.
#[derive(Debug, Clone)]
pub struct Drain(watch::Receiver<bool>);

impl Drain {
    /// Resolves once the drain has started, also when the program is going away.
    /// Cancel safe.
    pub async fn started(&mut self) {
        // An error means that the sender is gone: the program is ending.
        let _ = self.0.wait_for(|draining| *draining).await;
    }

    /// Whether it has, for those who cannot wait.
    #[must_use]
    pub fn has_started(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_drain_starts_once_for_every_clone() {
        let trigger = Trigger::default();
        let mut drain = trigger.drain();
        let mut other = drain.clone();
        assert!(!drain.has_started());
        trigger.start();
        assert!(drain.has_started());
        drain.started().await;
        other.started().await;
    }

    #[tokio::test]
    async fn a_drain_whose_program_is_gone_has_started() {
        let trigger = Trigger::default();
        let mut drain = trigger.drain();
        drop(trigger);
        assert!(drain.has_started());
        drain.started().await;
    }
}
