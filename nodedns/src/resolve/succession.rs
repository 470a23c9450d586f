//! One configuration follows another: what the next resolver takes over from the one
//! before, and what of the cache is wrong from then on.
//!
//! The one before goes on with the questions it has, for their clients wait, and keeps
//! no answer any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::cache::entry::{Entry, Limits};
use crate::coalesce::Flights;
use crate::config::Config;
use crate::resolve::Resolver;
use crate::resolve::judge::Judge;
use crate::resolve::rebinding::Filter;
use crate::resolve::route::Routes;
use crate::upstream::pool::Network;
use crate::upstream::tls::Authorities;
use crate::wire::Rcode;

impl Resolver {
    /// One for `config`, with all that stays: the cache, and what is known of zones
    /// and servers of which `config` says the same.
    pub(crate) fn succeeded(&self, config: &Config, authorities: Authorities) -> Self {
        let network = Network::with(self.routes.network(), authorities);
        let judge = if self.judge.fits(config) {
            Arc::clone(&self.judge)
        } else {
            Arc::new(Judge::new(config, self.metrics.clone()))
        };
        Self {
            routes: Arc::new(self.routes.succeeded(config, &network)),
            cache: Arc::clone(&self.cache),
            judge,
            filter: Filter::new(&config.rebinding),
            flights: Flights::default(),
            above: Flights::default(),
            failure_recheck: config.cache.stale.failure_recheck,
            is_retired: AtomicBool::new(false),
            metrics: self.metrics.clone(),
        }
    }

    /// The zones that it asks.
    pub(crate) const fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    /// Has `before` keep no answer any more, and forgets what it kept that this one
    /// would have found otherwise, or may not use for so long. Gives the number of
    /// those answers. Looks at the whole cache.
    pub(crate) fn take_over(&self, before: &Self, now: Instant) -> usize {
        before.is_retired.store(true, Ordering::SeqCst);
        self.judge
            .validator()
            .forget_within(&self.routes.changed(&before.routes));
        let judges_otherwise = !Arc::ptr_eq(&self.judge, &before.judge);
        let filters_otherwise = self.filter != before.filter;
        let is_wrong = |name: &[u8]| {
            let zone = self.routes.zone_of(name);
            self.routes.differ_for(name, &before.routes)
                || judges_otherwise && zone.is_some_and(|zone| zone.validate)
                || filters_otherwise && zone.is_none_or(|zone| zone.name.is_root())
        };
        self.cache
            .forget(|entry| self.is_kept_too_long(entry, now) || entry.touches(is_wrong))
    }

    fn is_kept_too_long(&self, entry: &Entry, now: Instant) -> bool {
        let Some(zone) = self.routes.zone_of(entry.name()) else {
            return true;
        };
        let Limits {
            positive, negative, ..
        } = zone.limits;
        let most = match entry.rcode() {
            Rcode::NXDOMAIN => negative,
            _ => positive,
        };
        entry.left(now) > most
    }
}
