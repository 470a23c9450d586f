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
use crate::cluster::Cluster;
use crate::event;
use crate::holder::{self, Until};
use crate::metrics;
use crate::observe::{self, Health};
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
    /// Rounds that failed since the last one that did not.
    pub(crate) failures: u32,
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

    /// Returns when it is to stop, and when other connections are to be used.
    async fn keep(&mut self, writes_until: &Until, stop: &watch::Receiver<bool>) {
        while !*stop.borrow() {
            if !holder::may_write(writes_until) {
                // A standby is ready to take over.
                self.starting = None;
                let mut writes_until = writes_until.clone();
                tokio::select! {
                    _ = writes_until.changed() => {}
                    () = wait_until(stop, PULSE) => {}
                }
                continue;
            }
            if self.reread().await {
                return;
            }
            let report = self.round(writes_until, stop).await;
            self.starting = None;
            if self.pause(report, stop).await {
                info!("the health of an API server or of etcd has changed");
                // The server that was asked may be the one that hangs now.
                self.connect(&self.wish.cluster.clone()).await;
                return;
            }
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
            if !self.connect(&wish.cluster).await {
                return false;
            }
            info!("cluster.yml has another control plane");
        }
        self.wish = wish;
        has_moved
    }

    /// Takes new connections, to this cluster; whether it could.
    async fn connect(&mut self, cluster: &Cluster) -> bool {
        match Server::connect(cluster, self.kubeconfig.as_deref()).await {
            Ok(server) => {
                self.server = server;
                true
            }
            Err(error) => {
                error!(%error, "no new connections can be made; the old ones hold");
                false
            }
        }
    }

    /// Gives what was done; None when the cluster could not be read, or not to the end.
    async fn round(
        &mut self,
        writes_until: &Until,
        stop: &watch::Receiver<bool>,
    ) -> Option<Report> {
        let begun = Instant::now();
        let may_write = || holder::may_write(writes_until) && !*stop.borrow();
        let pen = Pen {
            by: &self.me,
            may_write: &may_write,
        };
        let told = |_: &_| Ok::<(), std::convert::Infallible>(());
        let synced = sync(&self.server, &self.wish, &pen, told).await;
        let is_success = synced.as_ref().is_ok_and(Report::is_success);
        self.failures = if is_success {
            0
        } else {
            self.failures.saturating_add(1)
        };
        match synced {
            Ok(report) => {
                metrics::synced(&report, begun.elapsed());
                tell(&report);
                return Some(report);
            }
            Err(SyncError::Unread(error)) => {
                metrics::unread(begun.elapsed());
                error!(%error, "the cluster could not be read");
            }
            Err(SyncError::Lost) => {
                info!("stopped in the middle: the Lease is not ours any more, or we end");
            }
            Err(SyncError::Untold(never)) => match never {},
        }
        None
    }

    /// Writes Events and waits for the next round, after a failure the shorter the fewer there
    /// were; or for another health than at this one, which it tells.
    async fn pause(&self, report: Option<Report>, stop: &watch::Receiver<bool>) -> bool {
        let Some(report) = report else {
            wait_until(stop, rest(self.interval, self.failures)).await;
            return false;
        };
        let events = async {
            event::write(&self.server, &report, &self.me).await;
            std::future::pending().await
        };
        // A server that hangs must not keep us from seeing that.
        tokio::select! {
            has_changed = self.watch(&report.health, stop) => has_changed,
            () = events => false,
        }
    }

    async fn watch(&self, before: &Health, stop: &watch::Receiver<bool>) -> bool {
        let until = Instant::now() + rest(self.interval, self.failures);
        while Instant::now() < until && !*stop.borrow() {
            if observe::health(&self.server, &self.wish).await != *before {
                return true;
            }
            wait_until(stop, PULSE).await;
        }
        false
    }
}

/// How long to wait after so many rounds that failed, one after the other.
fn rest(interval: Duration, failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => interval,
        Some(doublings) => RETRY
            .saturating_mul(1 << doublings.min(MAX_DOUBLINGS))
            .min(interval),
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

/// Between two looks at the health of the servers. One that hangs costs that, and two probes without
/// an answer, until the endpoints follow: less than 5 s.
const PULSE: Duration = Duration::from_millis(500);
/// After the first failure.
const RETRY: Duration = Duration::from_secs(2);
/// 17 minutes.
const MAX_DOUBLINGS: u32 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_failed_is_tried_again_soon_then_less_often() {
        let of = |failures| rest(Duration::from_secs(30), failures).as_secs();
        assert_eq!(
            [0, 1, 2, 3, 4, 5, u32::MAX].map(of),
            [30, 2, 4, 8, 16, 30, 30]
        );
        assert_eq!(rest(Duration::from_secs(1), 1).as_secs(), 1);
    }
}
