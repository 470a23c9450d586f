//! The composition root: builds every part once, hands each what it needs, and stops them in order.

use std::{io, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use daemon::{
    admin::{self, Endpoint, Server},
    descriptors, duration,
    exit::Failure,
    logging::{self, Log},
    metrics::Metrics,
    readiness::Readiness,
    reload::{Cause, Reload},
    shutdown::Shutdown,
};
use tokio::{
    runtime::Builder,
    sync::mpsc,
    task::{JoinSet, spawn_blocking},
    time::{sleep, timeout},
};
use tracing::{debug, error, info, warn};

use crate::{
    cli::Source,
    config::{Config, handover::WhenReplaced},
    director::Director,
    discover::Discoveries,
    handover::{Offer, Request},
    in_force::{InForce, Parts, possible_slots},
    listen,
    listeners::{Listeners, Shown},
    metrics,
    notify::Notify,
    status::{self, Gather},
    succession::{Predecessor, be_replaceable, predecessor, replaced},
    successor::Program,
    vanished::Vanished,
    worker::{Shared, Workers, slots::Slots},
};

/// Runs rivers until a signal stops it.
///
/// # Errors
/// It cannot start, or a part of it ended by itself.
pub(crate) fn run(config: Config, source: Option<&Source>) -> Result<ExitCode, Failure> {
    let log = logging::init(&config.log).map_err(Failure::failed)?;
    log_panics();
    let recorder = Metrics::install();
    metrics::describe();
    let descriptors = descriptors::raise_limit().unwrap_or(usize::MAX);

    Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .and_then(|runtime| runtime.block_on(serve(config, source, log, recorder, descriptors)))
        .map_err(Failure::failed)
}

async fn serve(
    config: Config,
    source: Option<&Source>,
    log: Log,
    recorder: Metrics,
    descriptors: usize,
) -> anyhow::Result<ExitCode> {
    let program = Program::of_this_process().context("cannot tell which program this is")?;
    let notify = Notify::from_environment();
    let mut shutdown = Shutdown::install().context("cannot listen for signals")?;
    let mut reload =
        Reload::install(source.map(Source::path)).context("cannot listen for SIGHUP")?;
    let Predecessor::Found(mut offer) = predecessor(&config, &mut shutdown).await? else {
        return Ok(ExitCode::SUCCESS);
    };
    let readiness = Readiness::new();
    let starting = readiness.task("listen");
    let (director, ends) = Director::new(readiness.clone());
    let mut director = tokio::spawn(director.run());

    let slots = Slots::new(possible_slots(&config, descriptors));
    let shared = Shared {
        published: Arc::clone(&ends.published),
        events: ends.events,
        slots: slots.clone(),
        readiness: readiness.clone(),
    };
    let (workers, mut ended) =
        Workers::spawn(config.workers, &shared).context("cannot start a worker")?;
    let mut running = config.workers.get();
    drop(shared);
    let mut looking = JoinSet::new();
    looking.spawn(bury_the_vanished(workers.clone()));
    let gather = Gather {
        published: Arc::clone(&ends.published),
        workers: workers.clone(),
        shown: Shown::default(),
    };
    let mut admin = match offer {
        None => serve_admin(&config, &readiness, &recorder, &gather)?,
        // The one before has the address until it is gone.
        Some(_) => None,
    };
    let state_dir = config.state_dir.clone();
    let discoveries = Discoveries::new(ends.changes.clone(), ends.published, state_dir);
    let mut spare = offer.as_mut().map_or_else(Vec::new, Offer::take_listeners);
    spare.extend(listen::passed());
    let shown = Arc::clone(&gather.shown);
    let mut listeners = Listeners::new(ends.changes, workers.clone(), spare, shown);
    let prepared = listeners.prepare(&config.listeners)?;
    // From here on nothing may fail that would take the connections down with us.
    let connections = offer.map(Offer::commit).transpose()?;
    metrics::configured(true);
    listeners.start(prepared).await;
    if let Some(connections) = connections {
        listeners.adopt(connections).await;
        admin = serve_admin(&config, &readiness, &recorder, &gather).unwrap_or_else(|error| {
            warn!(%error, "going on without the admin endpoint");
            None
        });
    }
    let handover = config.handover.clone();
    let addresses = listeners.addresses();
    let mut requests = be_replaceable(&handover, &addresses);
    let parts = Parts {
        listeners,
        discoveries,
        slots,
        log,
        readiness: readiness.clone(),
    };
    let mut in_force = InForce::begin(config, parts, descriptors).await;
    starting.done();
    notify.ready();
    tokio::spawn(notify.clone().watch(readiness.clone()));

    loop {
        tokio::select! {
            signal = shutdown.signal() => {
                info!(signal, "stopping: no more clients are accepted");
                break;
            }
            cause = reload.wanted() => {
                notify.reloading();
                if cause != Cause::Hangup || !program.start_if_changed() {
                    in_force.reload(cause, source).await;
                }
                notify.ready();
            }
            // Who asked waits for the answer, unless the process is about to end.
            Some(request) = requests.recv() => match request {
                Request::Release(done) => {
                    let _ = done.send(in_force.listeners().release().await);
                }
                Request::Restore(released, done) => {
                    in_force.listeners().restore(released).await;
                    let _ = done.send(());
                }
                Request::Gone(successor, done) => {
                    // Else this one stays what the service manager looks after; and another pod's is none of its.
                    let goes = handover.when_replaced == WhenReplaced::Exit;
                    if let Some(successor) = successor.filter(|_| goes) {
                        notify.replaced(successor);
                    }
                    readiness.drain();
                    if let Some(admin) = admin.take() {
                        admin.stop();
                    }
                    let _ = done.send(());
                    return Ok(replaced(&handover, &addresses, &mut shutdown).await);
                }
            },
            _ = &mut director => bail!("the director ended by itself; the log says why"),
            Some(number) = ended.recv() => {
                bail!("worker {number} ended by itself; the log says why")
            }
        }
    }
    notify.stopping();
    readiness.drain();
    // The sockets close when nobody has them any more: clients are to be refused from now on.
    let shutdown_timeout = in_force.shutdown_timeout();
    drop(in_force);
    workers.drain().await;
    tokio::select! {
        () = all(&mut ended, &mut running) => return Ok(ExitCode::SUCCESS),
        signal = shutdown.signal() => warn!(signal, "stopping at once"),
        () = deadline(shutdown_timeout) => {
            let after = shutdown_timeout.map(duration::format);
            warn!(after, "closing the connections that are left");
        }
    }
    workers.close().await;
    if timeout(CLOSING, all(&mut ended, &mut running))
        .await
        .is_err()
    {
        error!("a worker is stuck; leaving it behind");
    }
    Ok(ExitCode::SUCCESS)
}

/// Looks for peers that have vanished, for as long as it is polled.
async fn bury_the_vanished(workers: Workers) {
    loop {
        sleep(LOOKING).await;
        let read = spawn_blocking(Vanished::read).await;
        match read.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            Ok(vanished) if vanished.is_empty() => {}
            Ok(vanished) => workers.bury(&Arc::new(vanished)).await,
            Err(error) => debug!(%error, "cannot tell whether peers have vanished"),
        }
    }
}

/// Waits until `left` workers have ended. Cancel safe.
async fn all(ended: &mut mpsc::Receiver<usize>, left: &mut usize) {
    while *left > 0 {
        ended.recv().await;
        *left -= 1;
    }
}

async fn deadline(after: Option<Duration>) {
    match after {
        Some(after) => sleep(after).await,
        None => std::future::pending().await,
    }
}

fn serve_admin(
    config: &Config,
    readiness: &Readiness,
    metrics: &Metrics,
    gather: &Gather,
) -> anyhow::Result<Option<Server>> {
    let Some(admin) = config.admin else {
        return Ok(None);
    };
    let endpoint = Endpoint {
        readiness: readiness.clone(),
        metrics: metrics.clone(),
        pages: status::pages(gather),
    };
    match admin::serve(admin.address, endpoint) {
        Ok(server) => {
            info!(address = %server.local_addr(), "admin endpoint");
            Ok(Some(server))
        }
        Err(error) if error.is_address_in_use() && !admin.required => {
            warn!(%error, "going on without; `--admin IP:PORT` gives this process one of its own");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// A panic is a line in the log like any other, without a backtrace.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string);
        let payload = panic.payload();
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        error!(at, message, "error in rivers; please report it");
    }));
}

/// Between looks for peers that have vanished.
const LOOKING: Duration = Duration::from_secs(15);
/// How long workers get to close their connections.
const CLOSING: Duration = Duration::from_secs(2);
