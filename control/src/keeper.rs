//! `control run`'s heart: keeps the cluster as it ought to be, while it holds the Lease.
//!
//! Three loops in one task. One renews the Lease and says until when we may write ([`holder`]);
//! one has the endpoints follow the health of API servers and etcd members at once ([`vigil`]);
//! the third syncs all the rest every interval. Files are read again at each round; while they
//! are wrong, the last good ones hold.

use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon::readiness::Pending;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{error, info};

use crate::apply::Report;
use crate::client::Server;
use crate::cluster::Cluster;
use crate::event;
use crate::holder::{self, Until};
use crate::metrics;
use crate::observe::Health;
use crate::record::Scribe;
use crate::sync::{Pen, Scope, SyncError, sync};
use crate::wish::Wish;
use vigil::Vigil;

mod vigil;

/// What runs, and how often.
pub(crate) struct Keeper {
    pub(crate) server: Server,
    /// What holds while the files are wrong.
    pub(crate) wish: watch::Sender<Arc<Wish>>,
    /// Reads the files again.
    pub(crate) read: Box<dyn Fn() -> Result<Wish, String>>,
    /// Writes down what is done, under a name that no other instance has.
    pub(crate) scribe: Rc<Scribe>,
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
            let (over, is_over) = watch::channel(false);
            let server = self.server.clone();
            let scribe = Rc::clone(&self.scribe);
            let (seen, health) = watch::channel(None);
            let vigil = Vigil {
                server: server.clone(),
                wish: self.wish.subscribe(),
                scribe: Rc::clone(&scribe),
                writes_until: writes_until.clone(),
                interval: self.interval,
                seen,
            };
            let rounds = async {
                self.keep(&writes_until, health, &stop).await;
                over.send_replace(true);
            };
            tokio::select! {
                () = holder::hold(&server, scribe.by(), sender) => {}
                ((), ()) = async { tokio::join!(rounds, vigil.keep(&is_over)) } => {}
            }
            if *stop.borrow() {
                return holder::release(&self.server, scribe.by()).await;
            }
        }
    }

    /// Returns when it is to stop, and when other API servers are to be asked.
    async fn keep(
        &mut self,
        writes_until: &Until,
        mut health: watch::Receiver<Option<Health>>,
        stop: &watch::Receiver<bool>,
    ) {
        while !*stop.borrow() {
            if !holder::may_write(writes_until) {
                // A standby is ready to take over.
                self.starting = None;
                let mut writes_until = writes_until.clone();
                tokio::select! {
                    _ = writes_until.changed() => {}
                    () = wait_until(stop, STANDBY) => {}
                }
                continue;
            }
            if self.reread().await {
                return;
            }
            let report = self.round(writes_until, stop).await;
            self.starting = None;
            self.pause(report, &mut health, stop).await;
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
        let has_moved = !addresses(&wish).eq(addresses(&self.wish.borrow()));
        if has_moved {
            if !self.connect(&wish.cluster).await {
                return false;
            }
            info!("cluster.yml has another control plane");
        }
        self.wish.send_replace(Arc::new(wish));
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
            scope: Scope::AllButEndpoints,
            scribe: &self.scribe,
            may_write: &may_write,
        };
        let told = |_: &_| Ok::<(), std::convert::Infallible>(());
        let wish = Arc::clone(&self.wish.borrow());
        let synced = sync(&self.server, &wish, &pen, told).await;
        let is_success = synced.as_ref().is_ok_and(Report::is_success);
        self.failures = if is_success {
            0
        } else {
            self.failures.saturating_add(1)
        };
        match synced {
            Ok(report) => {
                metrics::synced(&report, begun.elapsed());
                event::log(&report);
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
    /// were.
    async fn pause(
        &mut self,
        mut report: Option<Report>,
        health: &mut watch::Receiver<Option<Health>>,
        stop: &watch::Receiver<bool>,
    ) {
        let until = Instant::now() + rest(self.interval, self.failures);
        while Instant::now() < until && !*stop.borrow() {
            let events = async {
                if let Some(report) = &report {
                    event::write(&self.server, report, self.scribe.by()).await;
                }
                std::future::pending().await
            };
            let left = until.saturating_duration_since(Instant::now());
            let has_changed = tokio::select! {
                changed = health.changed() => changed.is_ok(),
                () = wait_until(stop, left) => false,
                () = events => false,
            };
            report = None;
            if has_changed {
                // The server that was asked may be the one that hangs now.
                let wish = Arc::clone(&self.wish.borrow());
                self.connect(&wish.cluster).await;
            }
        }
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

fn addresses(wish: &Wish) -> impl Iterator<Item = IpAddr> {
    wish.cluster.control_plane().map(|node| node.address)
}

async fn wait_until(stop: &watch::Receiver<bool>, time: Duration) {
    let mut stop = stop.clone();
    let _ = timeout(time, stop.wait_for(|&stop| stop)).await;
}

/// Between two looks at whether the Lease is ours.
const STANDBY: Duration = Duration::from_millis(500);
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
