//! The configuration that is in force. One that is read again while rivers runs comes into force whole or
//! not at all: a bad one, or one with an address that cannot be listened on, leaves the old one as it is.

use std::time::Duration;

use daemon::{logging::Log, readiness::Readiness, reload::Cause};
use tracing::{error, info, warn};

use crate::{
    cli::Source, config::Config, discover::Discoveries, listeners::Listeners, metrics,
    worker::slots::Slots,
};

/// The configuration in force, and the parts that can be made to do otherwise.
pub(crate) struct InForce {
    config: Config,
    parts: Parts,
    /// How many files this process may have open.
    descriptors: usize,
}

/// What does as the configuration says.
pub(crate) struct Parts {
    pub(crate) listeners: Listeners,
    pub(crate) discoveries: Discoveries,
    pub(crate) slots: Slots,
    pub(crate) log: Log,
    pub(crate) readiness: Readiness,
}

impl InForce {
    /// Takes over when the first configuration has been brought into force by the composition root, all but
    /// what the cluster is asked for.
    pub(crate) async fn begin(config: Config, mut parts: Parts, descriptors: usize) -> Self {
        parts.discoveries.follow(parts.listeners.open()).await;
        Self {
            config,
            parts,
            descriptors,
        }
    }

    /// All that is listened to.
    pub(crate) const fn listeners(&self) -> &Listeners {
        &self.parts.listeners
    }

    /// How long connections may go on once rivers has to stop.
    pub(crate) const fn shutdown_timeout(&self) -> Option<Duration> {
        self.config.shutdown_timeout
    }

    /// Reads the configuration again, and brings it into force if it can be.
    pub(crate) async fn reload(&mut self, cause: Cause, source: Option<&Source>) {
        let Some(source) = source else {
            warn!("SIGHUP changes nothing, since the configuration was given by flags");
            return;
        };
        let (file, cause) = (source.path().display(), cause.word());
        let outcome = match source.load() {
            Ok(config) => self.apply(config).await,
            Err(error) => Err(error.into()),
        };
        metrics::configured(outcome.is_ok());
        let refused = outcome.err().map(|error| format!("{error:#}"));
        match &refused {
            None => info!(%file, cause, "the configuration is in force"),
            Some(error) => {
                error!(%file, cause, error, "the configuration is refused; the one before stays in force");
            }
        }
        let remark = refused.map(|error| format!("refused, the one before is in force: {error}"));
        self.parts.readiness.remark("configuration", remark);
    }

    async fn apply(&mut self, mut config: Config) -> anyhow::Result<()> {
        let parts = &mut self.parts;
        let slots = possible_slots(&config, self.descriptors);
        parts.listeners.apply(&config.listeners).await?;
        parts.slots.resize(slots);
        parts.discoveries.follow(parts.listeners.open()).await;
        parts.log.set_level(config.log.level);
        self.keep_what_is_fixed(&mut config);
        self.config = config;
        Ok(())
    }

    /// What was decided at the start stays, and it is said what that is.
    fn keep_what_is_fixed(&self, config: &mut Config) {
        let mut changed = Vec::new();
        keep(
            &mut config.workers,
            &self.config.workers,
            "workers",
            &mut changed,
        );
        keep(&mut config.admin, &self.config.admin, "admin", &mut changed);
        keep(
            &mut config.log.format,
            &self.config.log.format,
            "log.format",
            &mut changed,
        );
        keep(
            &mut config.log.file,
            &self.config.log.file,
            "log.file",
            &mut changed,
        );
        if !changed.is_empty() {
            let fields = changed.join(", ");
            warn!(fields, "these take effect only when rivers is restarted");
        }
    }
}

fn keep<T: Clone + PartialEq>(
    wanted: &mut T,
    fixed: &T,
    field: &'static str,
    changed: &mut Vec<&'static str>,
) {
    if wanted != fixed {
        wanted.clone_from(fixed);
        changed.push(field);
    }
}

/// How many connections there may be. Each needs two descriptors, and a client that is accepted without
/// one for its upstream would be lost, whereas one that waits to be accepted is not.
pub(crate) fn possible_slots(config: &Config, descriptors: usize) -> usize {
    let possible = (descriptors.saturating_sub(DESCRIPTORS_OF_OUR_OWN) / 2).max(1);
    match config.max_connections {
        Some(wanted) => {
            if wanted.get() > possible {
                let wanted = wanted.get();
                warn!(
                    max_connections = wanted,
                    possible, "raise the limit of open files"
                );
            }
            wanted.get()
        }
        None => possible,
    }
}

/// Listeners, runtimes, probes, attempts that are overtaken, the admin endpoint with its clients.
const DESCRIPTORS_OF_OUR_OWN: usize = 128;
