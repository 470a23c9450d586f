//! The composition root: builds every part once, starts and stops them.
//!
//! Threads: the main one waits for signals, reads the configuration again, follows the trust anchors and serves the control socket; each worker has one, with a runtime
//! of its own, and one for the datagrams of each address; the admin endpoint has one.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use daemon::admin::{self, Endpoint};
use daemon::descriptors;
use daemon::exit::Failure;
use daemon::readiness::Readiness;
use daemon::reload::Reload;
use daemon::shutdown::Shutdown;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::answer::Answers;
use crate::cache::Cache;
use crate::check;
use crate::cli::Folders;
use crate::config::Config;
use crate::control_socket;
use crate::control_socket::server::Commanded;
use crate::in_force::{InForce, Site, capacity};
use crate::instance::Instance;
use crate::listen;
use crate::metrics::{self, CacheMetrics, Metrics};
use crate::query;
use crate::resolve::Resolver;
use crate::resolve::route::Routes;
use crate::seen::Seen;
use crate::status::Gather;
use crate::sys;
use crate::trust::{Disk, Keeper, Orders};
use crate::upstream::pool::Network;
use crate::upstream::tls::Authorities;
use crate::workers::{runtime, ticks};

/// Serves until a signal comes and what was asked is answered. The configuration was
/// read from the file at `path`, and has this digest.
///
/// # Errors
/// Nobody can vouch for a server, an address cannot be listened on, a thread cannot be started, or a worker
/// ended without being told to.
pub(crate) fn run(
    (config, digest): (Config, u64),
    path: PathBuf,
    folders: &Folders,
) -> Result<ExitCode, Failure> {
    let authorities = Authorities::load(&config).map_err(Failure::usage)?;
    let registry = daemon::metrics::Metrics::install();
    let readiness = Readiness::new();
    let starting = readiness.task("listen");
    // What the limit is does not matter: sockets and clients are bounded otherwise.
    let _ = descriptors::raise_limit();
    let sockets = listen::open(&config.listen, config.workers.get()).map_err(Failure::failed)?;
    let seen = Arc::new(Seen::new());
    let gather = Gather::new(registry.clone(), Arc::clone(&seen));
    let endpoint = Endpoint {
        readiness: readiness.clone(),
        metrics: registry,
        pages: gather.pages(config.admin.ip().is_loopback()),
    };
    serve_admin(config.admin, endpoint)?;

    let metrics = Metrics::new();
    let cache = Arc::new(Cache::new(capacity(&config.cache)));
    let resolver = resolver(&config, authorities, &cache, &metrics);
    let keeper = Keeper::new(
        &config,
        Disk::new(&folders.state_dir),
        Arc::clone(&resolver),
    );

    let main = runtime().map_err(Failure::failed)?;
    main.block_on(async {
        let mut beside = JoinSet::new();
        let (orders, inbox) = Orders::new();
        beside.spawn(keeper.run(inbox));
        let shutdown = Shutdown::install()
            .context("cannot listen for signals")
            .map_err(Failure::failed)?;
        let reload = Reload::install(Some(&path))
            .context("cannot listen for SIGHUP")
            .map_err(Failure::failed)?;
        let instance = Instance::new();
        let site = Site {
            cache: Arc::clone(&cache),
            instance: instance.clone(),
            seen,
            metrics,
            readiness: readiness.clone(),
            orders: orders.clone(),
        };
        let in_force = InForce::begin((config, digest), path, site, resolver, sockets)
            .map_err(Failure::failed)?;
        let commanded = Commanded {
            orders,
            cache: Arc::clone(&cache),
            readiness: readiness.clone(),
            instance,
            gather,
            addresses: in_force.addresses(),
        };
        be_commanded(&folders.run_dir, commanded, &mut beside);
        starting.done();
        supervise(shutdown, reload, in_force, &readiness, &cache).await
    })
}

/// Serves the admin endpoint as soon as its address is free: during an update the pod
/// before this one has it until it ends, and questions are answered meanwhile.
fn serve_admin(address: SocketAddr, endpoint: Endpoint) -> Result<(), Failure> {
    match admin::serve(address, endpoint.clone()) {
        Ok(_) => Ok(()),
        Err(error) if error.is_address_in_use() => {
            warn!(%error, "another one has it, a nodedns before this one perhaps; waiting for it");
            thread::Builder::new()
                .name("admin wait".to_owned())
                .spawn(move || wait_for_admin(address, &endpoint))
                .context("cannot start a thread")
                .map_err(Failure::failed)?;
            Ok(())
        }
        Err(error) => Err(Failure::failed(error)),
    }
}

fn wait_for_admin(address: SocketAddr, endpoint: &Endpoint) {
    loop {
        thread::sleep(ADMIN_RETRY);
        match admin::serve(address, endpoint.clone()) {
            Ok(_) => return info!(%address, "admin endpoint"),
            Err(error) if error.is_address_in_use() => {}
            Err(error) => return error!(%error, "going on without"),
        }
    }
}

/// What finds answers; the same whoever asks.
fn resolver(
    config: &Config,
    authorities: Authorities,
    cache: &Arc<Cache>,
    metrics: &Metrics,
) -> Arc<Resolver> {
    let routes = Arc::new(Routes::new(config, &Network::new(authorities)));
    let resolver = Resolver::new(config, routes, Arc::clone(cache), metrics.clone());
    Arc::new(resolver)
}

/// Resolves one name, on standard output.
///
/// # Errors
/// Nobody can vouch for a server, or the name is not answered.
pub(crate) fn query(
    config: &Config,
    folders: &Folders,
    question: &query::Question,
    shown: query::Shown,
) -> Result<ExitCode, Failure> {
    let authorities = Authorities::load(config).map_err(Failure::usage)?;
    let (metrics, cache) = (
        Metrics::new(),
        Arc::new(Cache::new(capacity(&config.cache))),
    );
    let resolver = resolver(config, authorities, &cache, &metrics);
    let routes = Arc::clone(resolver.routes());
    let seen = Arc::new(Seen::new());
    let answers = Answers::new(config, routes, cache, Instance::new(), seen, metrics);
    // What the server has learned to trust, and not to, counts here as well.
    let _keeper = Keeper::new(config, Disk::new(&folders.state_dir), Arc::clone(&resolver));
    runtime().map_err(Failure::failed)?.block_on(query::run(
        &answers,
        &resolver,
        question,
        shown,
        &mut io::stdout().lock(),
    ))
}

/// Checks `config` against the world, on standard output.
///
/// # Errors
/// A zone has no server that answers, or nobody can vouch for a server.
pub(crate) fn check(config: &Config) -> Result<ExitCode, Failure> {
    let authorities = Authorities::load(config).map_err(Failure::usage)?;
    runtime().map_err(Failure::failed)?.block_on(check::run(
        config,
        &Network::new(authorities),
        &mut io::stdout().lock(),
    ))
}

/// Serves the control socket. Without one nobody can command this process, which
/// serves its clients all the same.
fn be_commanded(run_dir: &Path, commanded: Commanded, tasks: &mut JoinSet<()>) {
    match control_socket::server::bind(run_dir) {
        Ok(listener) => {
            tasks.spawn(control_socket::server::serve(listener, commanded));
        }
        Err(error) => warn!(
            run_dir = %run_dir.display(),
            %error,
            "no control socket: commands cannot reach this process; --run-dir names a folder in which sockets can be made"
        ),
    }
}

/// Waits for the signal, then for the workers. Meanwhile shows the cache, and reads the
/// configuration again when it is to be.
async fn supervise(
    mut shutdown: Shutdown,
    mut reload: Reload,
    mut in_force: InForce,
    readiness: &Readiness,
    cache: &Cache,
) -> Result<ExitCode, Failure> {
    let shown = CacheMetrics::new();
    let mut clock = Clock::default();
    let mut ticks = ticks();
    let signal = loop {
        tokio::select! {
            signal = shutdown.signal() => break signal,
            () = in_force.one_ended() => {
                return Err(Failure::failed(anyhow!("a worker ended; the log says why")));
            }
            cause = reload.wanted() => in_force.reload(cause).await,
            _ = ticks.tick() => {
                shown.set(cache.usage());
                clock.look(readiness);
            }
        }
    };
    readiness.drain();
    info!(signal, "draining");
    tokio::select! {
        drained = timeout(DRAIN, in_force.drained()) => {
            if drained.is_err() {
                warn!(after = ?DRAIN, "stopping with questions unanswered");
            }
            info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        signal = shutdown.signal() => {
            Err(Failure::failed(anyhow!("stopped at once by a second signal, {signal}")))
        }
    }
}

/// What the kernel last said of this node's clock.
#[derive(Default)]
struct Clock(Option<bool>);

impl Clock {
    /// Tells people when that has changed; probes do not mind.
    fn look(&mut self, readiness: &Readiness) {
        let is_synchronized = sys::clock::is_synchronized();
        if is_synchronized == self.0 {
            return;
        }
        let before = std::mem::replace(&mut self.0, is_synchronized);
        let Some(is_synchronized) = is_synchronized else {
            return;
        };
        metrics::clock_synchronized(is_synchronized);
        let remark = (!is_synchronized).then(|| CLOCK_ALONE.to_owned());
        readiness.remark("clock", remark);
        if !is_synchronized {
            warn!("{CLOCK_ALONE}");
        } else if before.is_some() {
            info!("the kernel says that this node's clock is synchronised again");
        }
    }
}

const CLOCK_ALONE: &str = "the kernel says that nobody keeps this node's clock right, and signatures depend on it: does chrony or systemd-timesyncd run?";

/// Less than the period of a liveness probe.
const ADMIN_RETRY: Duration = Duration::from_millis(500);
/// A question has 4.5 s; then a moment to send the answers.
const DRAIN: Duration = Duration::from_secs(5);
