//! Has the endpoints follow the health of API servers and etcd members within seconds, beside the
//! rounds: these may be long, and may be asking the very API server that hangs.
//!
//! One loop looks every [`PULSE`]; the other writes, through one API server alone that has just
//! answered. Where that does not answer any more, it goes on through the next one.
//!
//! ```text
//!   a server hangs ──≤ PULSE──► asked ──1.5 s──► not well ──► written through another
//! ```

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::apply::{self, Report};
use crate::client::{RequestError, Server};
use crate::desired;
use crate::event;
use crate::holder::{self, Until};
use crate::metrics;
use crate::observe::{self, Health};
use crate::observed::Observed;
use crate::plan::{Action, Limits, Operation, plan};
use crate::record::Scribe;
use crate::wish::Wish;

/// What it needs.
pub(super) struct Vigil {
    pub(super) server: Server,
    pub(super) wish: watch::Receiver<Arc<Wish>>,
    pub(super) scribe: Rc<Scribe>,
    pub(super) writes_until: Until,
    /// Between two looks at endpoints that ought to be right.
    pub(super) interval: Duration,
    /// Who hears of each change.
    pub(super) seen: watch::Sender<Option<Health>>,
}

impl Vigil {
    /// Returns once it is over.
    pub(super) async fn keep(self, is_over: &watch::Receiver<bool>) {
        tokio::join!(self.look(is_over.clone()), self.follow(is_over.clone()));
    }

    /// Says how the servers are, again and again.
    async fn look(&self, mut is_over: watch::Receiver<bool>) {
        while !*is_over.borrow() {
            let wish = Arc::clone(&self.wish.borrow());
            let health = observe::health(&self.server, &wish).await;
            self.seen.send_if_modified(|before| {
                let is_new = before.as_ref() != Some(&health);
                if is_new && before.is_some() {
                    info!("the health of an API server or of etcd has changed");
                }
                *before = Some(health);
                is_new
            });
            let _ = timeout(PULSE, is_over.wait_for(|&over| over)).await;
        }
    }

    /// Has the endpoints follow what is said.
    async fn follow(&self, mut is_over: watch::Receiver<bool>) {
        let mut seen = self.seen.subscribe();
        let mut last: Option<Attempt> = None;
        while !*is_over.borrow() {
            let health = seen.borrow_and_update().clone();
            if !holder::may_write(&self.writes_until) {
                last = None;
            } else if let Some(health) = health
                && last.as_ref().is_none_or(|last| last.is_over(&health))
            {
                let failures = last.map_or(0, |last| last.failures);
                let is_done = self.attempt(&health, failures).await;
                last = Some(Attempt {
                    failures: if is_done { 0 } else { failures + 1 },
                    next: Instant::now() + if is_done { self.interval } else { RETRY },
                    health,
                });
            }
            tokio::select! {
                _ = seen.changed() => {}
                _ = timeout(PULSE, is_over.wait_for(|&over| over)) => {}
            }
        }
    }

    /// Makes the endpoints so, through one API server after the other until it is done.
    async fn attempt(&self, health: &Health, failures: u32) -> bool {
        let deadline = (ATTEMPT * 2u32.pow(failures.min(8))).min(MAX_ATTEMPT);
        for address in asked(health) {
            let Some(server) = self.server.alone(address, deadline) else {
                continue;
            };
            let written = tokio::select! {
                written = self.write(&server, health) => written,
                () = self.fallen(address) => continue,
            };
            match written {
                Ok(is_done) if is_done => return true,
                Ok(_) => {}
                Err(error) => warn!(%error, "the endpoints do not follow"),
            }
            if !holder::may_write(&self.writes_until) {
                break;
            }
        }
        false
    }

    /// Returns once this API server is well no more.
    async fn fallen(&self, address: IpAddr) {
        let was_well = |health: &Option<Health>| {
            let servers = health.as_ref().map(|health| &health.api_servers);
            servers.is_some_and(|servers| servers.get(&address) == Some(&true))
        };
        let mut seen = self.seen.subscribe();
        if !was_well(&seen.borrow()) {
            return std::future::pending().await;
        }
        if seen.wait_for(|health| !was_well(health)).await.is_err() {
            std::future::pending().await
        }
    }

    /// Whether the endpoints are so now.
    async fn write(&self, server: &Server, health: &Health) -> Result<bool, RequestError> {
        let wish = Arc::clone(&self.wish.borrow());
        let observed = observe::endpoints(server, health).await?;
        let desired = desired::endpoints(&wish.cluster, &observed);
        let plan = plan(desired, &observed, &Limits::default());
        let plan = observe::refine(server, plan, &observed).await;
        if plan.operations.is_empty() {
            return Ok(true);
        }
        if !holder::may_write(&self.writes_until) {
            return Ok(false);
        }
        for note in &plan.notes {
            warn!("{note}");
        }
        let batch = self.scribe.begin(server, &plan.operations).await;
        if let Err(error) = &batch {
            warn!(%error, "the operations are not recorded");
        }
        let mut report = Report::default();
        for operation in plan.operations {
            let operation = of_this_version(operation, &observed);
            let outcome = apply::apply(server, &wish, operation, &report).await;
            report.add(outcome);
        }
        if let Ok(batch) = batch {
            // Whoever begins next calls them cut off.
            let _ = batch.end(server, &report.outcomes).await;
        }
        metrics::carried_out(&report);
        event::log(&report);
        event::write(server, &report, self.scribe.by()).await;
        Ok(report.is_success())
    }
}

/// When it was tried last to have the endpoints follow.
struct Attempt {
    health: Health,
    /// When it is due again, though nothing changes.
    next: Instant,
    failures: u32,
}

impl Attempt {
    fn is_over(&self, now: &Health) -> bool {
        self.health != *now || self.next <= Instant::now()
    }
}

/// The API servers that are well, or all when none is.
fn asked(health: &Health) -> Vec<IpAddr> {
    let servers = &health.api_servers;
    let well = servers.iter().filter(|(_, well)| **well);
    let well: Vec<IpAddr> = well.map(|(address, _)| *address).collect();
    if well.is_empty() {
        servers.keys().copied().collect()
    } else {
        well
    }
}

/// The operation for the version that was read only: an API server that hung may carry it out when
/// it goes on, long after others have written something newer.
fn of_this_version(mut operation: Operation, observed: &Observed) -> Operation {
    let live = observed.objects.get(&operation.key);
    if let (Action::Update(content), Some(live)) = (&mut operation.action, live) {
        content["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
    }
    operation
}

/// Between two looks.
const PULSE: Duration = Duration::from_millis(500);
/// For one request, which an API server that is well answers in milliseconds; after each failure
/// twice that.
const ATTEMPT: Duration = Duration::from_secs(1);
const MAX_ATTEMPT: Duration = Duration::from_secs(30);
/// Between two attempts, each through all API servers.
const RETRY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::object::Key;
    use crate::plan::Reason;

    fn health(servers: &[(&str, bool)]) -> Health {
        let servers = servers.iter();
        Health {
            api_servers: servers
                .map(|(address, well)| (address.parse().unwrap(), *well))
                .collect(),
            ..Health::default()
        }
    }

    #[test]
    fn who_is_well_is_asked_and_all_when_nobody_is() {
        let asked = |servers: &[(&str, bool)]| asked(&health(servers)).len();
        assert_eq!(asked(&[("10.0.0.1", true), ("10.0.0.2", false)]), 1);
        assert_eq!(asked(&[("10.0.0.1", false), ("10.0.0.2", false)]), 2);
    }

    #[test]
    fn another_health_is_followed_at_once_and_the_same_one_looked_at_later() {
        let now = Instant::now();
        let attempt = |next| Attempt {
            health: health(&[("10.0.0.1", true)]),
            next,
            failures: 0,
        };
        let later = attempt(now + Duration::from_secs(60));
        assert!(!later.is_over(&health(&[("10.0.0.1", true)])));
        assert!(later.is_over(&health(&[("10.0.0.1", false)])));
        assert!(attempt(now).is_over(&health(&[("10.0.0.1", true)])));
    }

    #[test]
    fn an_update_is_for_the_version_that_was_read() {
        let key = Key::core("Endpoints", "default", "kubernetes");
        let live = json!({"metadata": {"resourceVersion": "7"}});
        let observed = Observed {
            objects: [(key.clone(), live)].into(),
            ..Observed::default()
        };
        let update = Operation {
            key,
            plural: "endpoints".to_owned(),
            action: Action::Update(json!({"metadata": {"name": "kubernetes"}})),
            reason: Reason::Missing,
            changes: Vec::new(),
            depends_on: Vec::new(),
        };
        let Action::Update(content) = of_this_version(update, &observed).action else {
            panic!("it is an update still");
        };
        assert_eq!(content["metadata"]["resourceVersion"], "7");
    }
}
