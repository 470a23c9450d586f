//! `control run`: the composition root of the long-running program.

use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context;
use daemon::admin::{self, Endpoint};
use daemon::exit::Failure;
use daemon::logging;
use daemon::metrics::Metrics;
use daemon::readiness::Readiness;
use daemon::shutdown::Shutdown;
use tokio::sync::watch;
use tracing::info;

use super::{block_on, connect, instance, read_wish};
use crate::cli::{self, Flags};
use crate::keeper::Keeper;
use crate::metrics;
use crate::record::Scribe;

pub(super) fn run(flags: Flags, options: cli::Run) -> Result<ExitCode, Failure> {
    let wish = read_wish(&flags, &options.limits)?;
    // It lives as long as the process.
    let _log = logging::init(&logging::Options::default()).map_err(Failure::failed)?;
    let recorder = Metrics::install();
    metrics::describe();
    let readiness = Readiness::new();
    let starting = readiness.task("first round");
    let endpoint = Endpoint {
        readiness,
        metrics: recorder,
        pages: Vec::new(),
    };
    admin::serve(options.metrics_addr, endpoint).map_err(Failure::failed)?;
    block_on(async {
        let mut shutdown = Shutdown::install()
            .context("cannot listen for signals")
            .map_err(Failure::failed)?;
        let server = connect(&flags, &wish.cluster).await?;
        let me = instance();
        info!(instance = %me, cluster = %wish.cluster.name, "started");
        let keeper = Keeper {
            server,
            wish: watch::Sender::new(Arc::new(wish)),
            kubeconfig: flags.kubeconfig.clone(),
            read: Box::new(move || {
                read_wish(&flags, &options.limits).map_err(|failure| failure.to_string())
            }),
            scribe: Rc::new(Scribe::new(&me)),
            interval: options.interval,
            failures: 0,
            starting: Some(starting),
        };
        let (stop, stopping) = watch::channel(false);
        let stopped = async {
            let signal = shutdown.signal().await;
            info!(signal, "stopping once the operation under way has ended");
            stop.send_replace(true);
            // A second signal does not wait.
            let signal = shutdown.signal().await;
            info!(signal, "stopping at once");
        };
        tokio::select! {
            () = keeper.run(stopping) => {}
            () = stopped => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}
