//! The configuration in force. One that is read again while nodedns runs comes into
//! force whole or not at all: a bad one, or one with an address that cannot be listened
//! on, leaves the one before as it is.
//!
//! ```text
//! file ─► Config ─► sockets, workers ─► trust ─► cache: what is wrong now goes ─► parts, published
//! ```
//!
//! No question is lost: those on their way end with the parts with which they began, and
//! workers on other sockets answer before those on the old ones stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use daemon::readiness::Readiness;
use daemon::reload::Cause;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tracing::{error, info, warn};

use crate::answer::Answers;
use crate::cache::{Cache, Capacity};
use crate::config::{self, Config, Mode, Zone};
use crate::instance::Instance;
use crate::listen;
use crate::metrics::{self, Metrics};
use crate::resolve::Resolver;
use crate::seen::Seen;
use crate::serve::Parts;
use crate::trust::{Order, Orders};
use crate::upstream::tls::Authorities;
use crate::workers::{Shared, Workers};

/// The configuration in force, and the parts that can be made to do otherwise.
pub(crate) struct InForce {
    path: PathBuf,
    config: Config,
    site: Site,
    published: watch::Sender<Arc<Parts>>,
    workers: Workers,
    /// Workers on sockets that are not listened on any more.
    leaving: JoinSet<()>,
    addresses: watch::Sender<Arc<[SocketAddr]>>,
}

/// What is the same in all configurations.
pub(crate) struct Site {
    pub(crate) cache: Arc<Cache>,
    pub(crate) instance: Instance,
    pub(crate) seen: Arc<Seen>,
    pub(crate) metrics: Metrics,
    pub(crate) readiness: Readiness,
    pub(crate) orders: Orders,
}

impl Site {
    /// The parts with this resolver.
    pub(crate) fn parts(&self, config: &Config, resolver: Arc<Resolver>) -> Arc<Parts> {
        Arc::new(Parts {
            answers: Answers::new(
                config,
                Arc::clone(resolver.routes()),
                Arc::clone(&self.cache),
                self.instance.clone(),
                Arc::clone(&self.seen),
                self.metrics.clone(),
            ),
            resolver,
        })
    }

    fn shared(&self, published: &watch::Sender<Arc<Parts>>) -> Shared {
        Shared {
            parts: published.subscribe(),
            metrics: self.metrics.clone(),
            readiness: self.readiness.clone(),
        }
    }
}

impl InForce {
    /// Brings the first configuration into force, which was read from the file at `path`
    /// and has this digest: answers on `sockets` from now on.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub(crate) fn begin(
        (config, digest): (Config, u64),
        path: PathBuf,
        site: Site,
        resolver: Arc<Resolver>,
        sockets: Vec<Vec<listen::Sockets>>,
    ) -> anyhow::Result<Self> {
        say_what_is_missing(&config);
        let published = watch::Sender::new(site.parts(&config, resolver));
        let workers = Workers::start(sockets, &site.shared(&published))?;
        metrics::configured(Some(digest));
        Ok(Self {
            path,
            config,
            addresses: watch::Sender::new(Arc::clone(workers.addresses())),
            site,
            published,
            workers,
            leaving: JoinSet::new(),
        })
    }

    /// Where clients are answered, now and after each change.
    pub(crate) fn addresses(&self) -> watch::Receiver<Arc<[SocketAddr]>> {
        self.addresses.subscribe()
    }

    /// Reads the configuration again, and brings it into force if it can be.
    pub(crate) async fn reload(&mut self, cause: Cause) {
        let cause = cause.word();
        let outcome = match Config::load_with_digest(&self.path) {
            Ok((config, digest)) => self
                .apply(config)
                .await
                .map(|forgotten| (digest, forgotten)),
            Err(error) => Err(error.into()),
        };
        let file = self.path.display();
        let refused = match outcome {
            Ok((digest, forgotten)) => {
                metrics::configured(Some(digest));
                info!(%file, cause, forgotten, "the configuration is in force");
                None
            }
            Err(error) => {
                metrics::configured(None);
                let error = format!("{error:#}");
                error!(%file, cause, error, "the configuration is refused; the one before stays in force");
                Some(format!("refused, the one before is in force: {error}"))
            }
        };
        self.site.readiness.remark("configuration", refused);
    }

    /// Brings `config` into force, and gives the number of answers that are forgotten
    /// for it.
    async fn apply(&mut self, mut config: Config) -> anyhow::Result<usize> {
        let authorities = Authorities::load(&config)?;
        // They answer as before until the new parts are published.
        let workers = self.other_workers(&config)?;
        let before = Arc::clone(&self.published.borrow());
        let resolver = Arc::new(before.resolver.succeeded(&config, authorities));
        let follow = Order::Follow {
            config: Box::new(config.clone()),
            resolver: Arc::clone(&resolver),
        };
        let followed = self.site.orders.give(follow).await;
        followed.map_err(|stopping| anyhow!(stopping))?;
        let forgotten = {
            let resolver = Arc::clone(&resolver);
            spawn_blocking(move || resolver.take_over(&before.resolver, Instant::now()))
                .await
                .context("looking through the cache panicked: please report this")?
        };
        self.site
            .cache
            .resize(capacity(&config.cache), Instant::now());
        self.published
            .send_replace(self.site.parts(&config, resolver));
        if let Some(workers) = workers {
            self.addresses.send_replace(Arc::clone(workers.addresses()));
            let old = std::mem::replace(&mut self.workers, workers);
            self.leaving.spawn(old.drained());
        }
        while self.leaving.try_join_next().is_some() {}
        say_what_is_missing(&config);
        self.keep_what_is_fixed(&mut config);
        self.config = config;
        Ok(forgotten)
    }

    /// Workers as `config` wants them, where it wants others than there are.
    fn other_workers(&self, config: &Config) -> anyhow::Result<Option<Workers>> {
        if (&config.listen, config.workers) == (&self.config.listen, self.config.workers) {
            return Ok(None);
        }
        let sockets = listen::open(&config.listen, config.workers.get())?;
        Workers::start(sockets, &self.site.shared(&self.published)).map(Some)
    }

    /// What was decided at the start stays, and it is said what that is.
    fn keep_what_is_fixed(&self, config: &mut Config) {
        if config.admin != self.config.admin {
            warn!(
                field = "admin",
                "this takes effect only when nodedns is restarted"
            );
            config.admin = self.config.admin;
        }
    }

    /// Resolves when a worker has ended. Cancel safe.
    pub(crate) async fn one_ended(&mut self) {
        self.workers.one_ended().await;
    }

    /// Has all workers answer what has arrived, and waits until they have.
    pub(crate) async fn drained(self) {
        let Self {
            workers,
            mut leaving,
            ..
        } = self;
        leaving.spawn(workers.drained());
        while leaving.join_next().await.is_some() {}
    }
}

/// How much the cache may take.
pub(crate) const fn capacity(config: &config::Cache) -> Capacity {
    Capacity {
        bytes: config.size,
        inner_share: config.inner_share,
    }
}

/// Says plainly what this version, or this configuration, does not do.
fn say_what_is_missing(config: &Config) {
    if config.validation.mode == Mode::Log {
        warn!("validation is `log`: forged answers are noticed here, and passed on");
    } else if !config.zones.iter().any(|zone| zone.validate) {
        warn!("no zone is validated: a forged answer is not noticed");
    }
    for zone in &config.zones {
        for server in zone.unasked() {
            warn!(
                zone = %zone.name,
                %server,
                "a plaintext server is never asked: the zone has tls:// servers, and does not say `mixed: true`"
            );
        }
    }
    if !config.zones.iter().any(Zone::is_root) {
        warn!("there is no zone `.`: names in no zone are refused");
    }
}
