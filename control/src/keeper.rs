//! `control run`'s heart: keeps the cluster as it ought to be, while it holds the Lease.
//!
//! Two loops in one task. One renews the Lease and says until when we may write ([`holder`]);
//! the other syncs every interval, and at once when the health of an API server or an etcd
//! member changes. Files are read again at each round; while they are wrong, the last
//! good ones hold.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use daemon::readiness::Pending;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::apply::{End, Report};
use crate::client::Server;
use crate::event;
use crate::holder::{self, Until};
use crate::metrics;
use crate::observe;
use crate::sync::{Pen, SyncError, sync};
use crate::wish::Wish;

/// What runs, and how often.
pub(crate) struct Keeper {
    pub(crate) server: Server,
    /// What holds while the files are wrong.
    pub(crate) wish: Wish,
    /// Reads the files again.
    pub(crate) read: Box<dyn Fn() -> Result<Wish, String>>,
    /// A name that no other instance has.
    pub(crate) me: String,
    pub(crate) interval: Duration,
    pub(crate) kubeconfig: Option<PathBuf>,
    /// What `/readyz` waits for until the first round, or until another one keeps.
    pub(crate) starting: Option<Pending>,
}

impl Keeper {
    /// Runs until `stop` says so; an operation under way is ended first, and the Lease
    /// given back.
    pub(crate) async fn run(mut self, stop: watch::Receiver<bool>) {
        loop {
            let (sender, writes_until) = watch::channel(None);
            let server = self.server.clone();
            let me = self.me.clone();
            tokio::select! {
                () = holder::hold(&server, &me, sender) => {}
                () = self.keep(&writes_until, &stop) => {}
            }
            if *stop.borrow() {
                return holder::release(&self.server, &self.me).await;
            }
        }
    }

    /// Returns when it is to stop, and when the control plane has moved.
    async fn keep(&mut self, writes_until: &Until, stop: &watch::Receiver<bool>) {
        while !*stop.borrow() {
            if !holder::may_write(writes_until) {
                // A standby is ready to take over.
                self.starting = None;
                wait_until(stop, PULSE).await;
                continue;
            }
            if self.reread().await {
                return;
            }
            self.round(writes_until, stop).await;
            self.starting = None;
            self.pause(stop).await;
        }
    }

    /// Reads the files again; whether other API servers are to be asked from now on.
    async fn reread(&mut self) -> bool {
        let wish = match (self.read)() {
            Ok(wish) => wish,
            Err(error) => {
                error!(%error, "the files are wrong; the last good ones hold");
                return false;
            }
        };
        let has_moved = !addresses(&wish).eq(addresses(&self.wish));
        if has_moved {
            match Server::connect(&wish.cluster, self.kubeconfig.as_deref()).await {
                Ok(server) => self.server = server,
                Err(error) => {
                    error!(%error, "the new control plane cannot be asked; the old files hold");
                    return false;
                }
            }
            info!("cluster.yml has another control plane");
        }
        self.wish = wish;
        has_moved
    }

    async fn round(&self, writes_until: &Until, stop: &watch::Receiver<bool>) {
        let begun = Instant::now();
        let may_write = || holder::may_write(writes_until) && !*stop.borrow();
        let pen = Pen {
            by: &self.me,
            may_write: &may_write,
        };
        let told = |_: &_| Ok::<(), std::convert::Infallible>(());
        match sync(&self.server, &self.wish, &pen, told).await {
            Ok(report) => {
                metrics::synced(&report, begun.elapsed());
                tell(&report);
                event::write(&self.server, &report, &self.me).await;
            }
            Err(SyncError::Unread(error)) => {
                metrics::unread(begun.elapsed());
                error!(%error, "the cluster could not be read");
            }
            Err(SyncError::Lost) => {
                info!("stopped in the middle: the Lease is not ours any more, or we end")
            }
            Err(SyncError::Untold(never)) => match never {},
        }
    }

    /// Waits for the next round: the interval, or a change of health.
    async fn pause(&self, stop: &watch::Receiver<bool>) {
        let until = Instant::now() + self.interval;
        let before = observe::health(&self.server, &self.wish).await;
        while Instant::now() < until && !*stop.borrow() {
            wait_until(stop, PULSE).await;
            let now = observe::health(&self.server, &self.wish).await;
            if now != before {
                info!("the health of an API server or of etcd has changed");
                return;
            }
        }
    }
}

fn tell(report: &Report) {
    for outcome in &report.outcomes {
        let key = &outcome.key;
        match &outcome.end {
            End::Failed(why) => error!(object = %key, error = why, "could not be written"),
            End::Skipped(needed) => warn!(object = %key, %needed, "skipped: what it needs failed"),
            end => info!(object = %key, "{end}"),
        }
        for warning in &outcome.warnings {
            warn!(object = %key, warning, "the API server warns");
        }
    }
}

fn addresses(wish: &Wish) -> impl Iterator<Item = IpAddr> {
    wish.cluster.control_plane().map(|node| node.address)
}

async fn wait_until(stop: &watch::Receiver<bool>, time: Duration) {
    let mut stop = stop.clone();
    let _ = timeout(time, stop.wait_for(|&stop| stop)).await;
}

/// Between two looks at the health of the servers: the endpoints follow within 5 s.
const PULSE: Duration = Duration::from_secs(1);
