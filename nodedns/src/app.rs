//! The composition root: builds every part once, starts and stops them.
//!
//! Threads: the main one waits for signals, follows the trust anchors and serves the control socket; each worker has one, with a runtime
//! of its own, and one for the datagrams of each address; the admin endpoint has one.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use daemon::admin::{self, Endpoint};
use daemon::descriptors;
use daemon::exit::Failure;
use daemon::readiness::Readiness;
use daemon::shutdown::{Drain, Shutdown};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{error, info, warn};

use crate::answer::Answers;
use crate::cache::Cache;
use crate::check;
use crate::cli::Folders;
use crate::config::{Config, Mode, Zone};
use crate::control_socket;
use crate::control_socket::server::Commanded;
use crate::instance::Instance;
use crate::listen::{self, Sockets};
use crate::metrics::{self, CacheMetrics, Metrics};
use crate::query;
use crate::resolve::Resolver;
use crate::resolve::route::Routes;
use crate::serve::{Service, tcp, udp};
use crate::sys;
use crate::trust::{Disk, Keeper, Orders};
use crate::upstream::pool::Network;
use crate::upstream::tls::Authorities;

/// Serves until a signal comes and what was asked is answered.
///
/// # Errors
/// Nobody can vouch for a server, an address cannot be listened on, a thread cannot be started, or a worker
/// ended without being told to.
pub(crate) fn run(config: &Config, folders: &Folders) -> Result<ExitCode, Failure> {
    let authorities = Authorities::load(config).map_err(Failure::usage)?;
    let registry = daemon::metrics::Metrics::install();
    let readiness = Readiness::new();
    let starting = readiness.task("listen");
    // What the limit is does not matter: sockets and clients are bounded otherwise.
    let _ = descriptors::raise_limit();
    let sockets = listen::open(&config.listen, config.workers.get()).map_err(Failure::failed)?;
    let endpoint = Endpoint {
        readiness: readiness.clone(),
        metrics: registry,
        pages: Vec::new(),
    };
    serve_admin(config.admin, endpoint)?;
    say_what_is_missing(config);

    let metrics = Metrics::new();
    let Parts {
        cache,
        answers,
        resolver,
        instance,
    } = Parts::new(config, authorities, &metrics);
    let keeper = Keeper::new(config, Disk::new(&folders.state_dir), Arc::clone(&resolver));

    let main = runtime().map_err(Failure::failed)?;
    main.block_on(async {
        let mut beside = JoinSet::new();
        let (orders, inbox) = Orders::new();
        beside.spawn(keeper.run(inbox));
        let addresses = sockets[0].iter().map(|sockets| sockets.address);
        let commanded = Commanded {
            orders: orders.clone(),
            cache: Arc::clone(&cache),
            readiness: readiness.clone(),
            instance,
            addresses: addresses.collect(),
        };
        be_commanded(&folders.run_dir, commanded, &mut beside);
        let shutdown = Shutdown::install()
            .context("cannot listen for signals")
            .map_err(Failure::failed)?;
        for Sockets { address, .. } in &sockets[0] {
            info!(%address, "listening");
        }
        let (ended, workers) = mpsc::channel(config.workers.get());
        for (number, sockets) in sockets.into_iter().enumerate() {
            let worker = Worker {
                number,
                sockets,
                service: Arc::new(Service::new(
                    Arc::clone(&answers),
                    Arc::clone(&resolver),
                    metrics.clone(),
                )),
                readiness: readiness.clone(),
                drain: shutdown.drain(),
                _ended: ended.clone(),
            };
            worker.start().map_err(Failure::failed)?;
        }
        drop(ended);
        starting.done();
        supervise(shutdown, workers, &readiness, &cache).await
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
struct Parts {
    cache: Arc<Cache>,
    answers: Arc<Answers>,
    resolver: Arc<Resolver>,
    instance: Instance,
}

impl Parts {
    fn new(config: &Config, authorities: Authorities, metrics: &Metrics) -> Self {
        let instance = Instance::new();
        let cache = Arc::new(Cache::new(config.cache.size));
        let routes = Arc::new(Routes::new(config, &Network::new(authorities)));
        Self {
            answers: Arc::new(Answers::new(
                Arc::clone(&routes),
                Arc::clone(&cache),
                instance.clone(),
                metrics.clone(),
            )),
            instance,
            resolver: Arc::new(Resolver::new(
                config,
                routes,
                Arc::clone(&cache),
                metrics.clone(),
            )),
            cache,
        }
    }
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
    let Parts {
        answers, resolver, ..
    } = Parts::new(config, authorities, &Metrics::new());
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

/// Waits for the signal, then for the workers. Shows the cache meanwhile.
async fn supervise(
    mut shutdown: Shutdown,
    mut workers: mpsc::Receiver<()>,
    readiness: &Readiness,
    cache: &Cache,
) -> Result<ExitCode, Failure> {
    let shown = CacheMetrics::new();
    let mut clock = Clock::default();
    let mut ticks = ticks();
    let signal = loop {
        tokio::select! {
            signal = shutdown.signal() => break signal,
            _ = workers.recv() => {
                return Err(Failure::failed(anyhow!("a worker ended; the log says why")));
            }
            _ = ticks.tick() => {
                shown.set(cache.usage());
                clock.look(readiness);
            }
        }
    };
    readiness.drain();
    info!(signal, "draining");
    tokio::select! {
        // The last worker takes the last sender along.
        drained = timeout(DRAIN, async { while workers.recv().await.is_some() {} }) => {
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

/// A worker before it runs.
struct Worker {
    number: usize,
    sockets: Vec<Sockets>,
    service: Arc<Service>,
    readiness: Readiness,
    drain: Drain,
    /// Dropped when the worker ends, however it does.
    _ended: mpsc::Sender<()>,
}

impl Worker {
    fn start(self) -> anyhow::Result<()> {
        let number = self.number;
        let runtime = runtime()?;
        thread::Builder::new()
            .name(format!("worker {number}"))
            .spawn(move || runtime.block_on(self.run()))
            .with_context(|| format!("cannot start the thread of worker {number}"))?;
        Ok(())
    }

    async fn run(self) {
        let mut loops = JoinSet::new();
        let heartbeat = self.readiness.heartbeat(format!("worker {}", self.number));
        for Sockets { address, udp, tcp } in self.sockets {
            let name = format!("worker {}, {address}/udp", self.number);
            let (service, drain) = (Arc::clone(&self.service), self.drain.clone());
            let heartbeat = self.readiness.heartbeat(name);
            loops.spawn_blocking(move || udp::serve(udp, service, &heartbeat, &drain));
            loops.spawn(tcp::serve(
                tcp,
                Arc::clone(&self.service),
                self.drain.clone(),
            ));
        }
        let mut ticks = ticks();
        loop {
            tokio::select! {
                ended = loops.join_next() => match ended {
                    None => break,
                    Some(Ok(Ok(()))) => {}
                    // Serving some of the addresses looks like health and is not.
                    Some(Ok(Err(error))) => {
                        error!(worker = self.number, %error, "a socket is lost");
                        return;
                    }
                    Some(Err(panic)) => {
                        error!(worker = self.number, %panic, "a socket's loop panicked: please report this");
                        return;
                    }
                },
                _ = ticks.tick() => heartbeat.beat(),
            }
        }
        self.service.finish().await;
    }
}

fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
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

/// Less than the period of a liveness probe.
const ADMIN_RETRY: Duration = Duration::from_millis(500);
/// A question has 4.5 s; then a moment to send the answers.
const DRAIN: Duration = Duration::from_secs(5);
