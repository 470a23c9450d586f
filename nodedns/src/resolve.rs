//! A miss on its way to an answer, step by step.
//!
//! ```text
//! resolve ─► coalesce ─► cache, once more ─► route ─► upstream ─► validate
//!                 │                            ▲                     │
//!                 │                            └── chase: a CNAME ◄──┤
//!                 └── whoever asks the same waits      cache, all ◄──┘
//! ```
//!
//! There is always an answer: what failed is an answer too, SERVFAIL with the
//! reason, kept for a second. The work goes on when its client has gone, for the
//! client asks again.

mod chase;
mod coalesce;
pub(crate) mod route;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::cache::Cache;
use crate::cache::entry::{Entry, Limits};
use crate::cache::key::Key;
use crate::metrics::Metrics;
use crate::resolve::chase::Chain;
use crate::resolve::coalesce::{Flights, Seat};
use crate::resolve::route::{Routes, Zone};
use crate::upstream::Failure;
use crate::validate::Judged;
use crate::wire::Rcode;
use crate::wire::edns::{ErrorCode, ExtendedError};
use crate::wire::name::Text;
use crate::wire::response::Response;

/// Finds what the cache does not have. Shared by all workers.
pub(crate) struct Resolver {
    routes: Arc<Routes>,
    cache: Arc<Cache>,
    flights: Flights,
    metrics: Metrics,
}

impl Resolver {
    /// A resolver that asks along `routes` and keeps what it learns in `cache`.
    pub(crate) fn new(routes: Arc<Routes>, cache: Arc<Cache>, metrics: Metrics) -> Self {
        Self {
            routes,
            cache,
            flights: Flights::default(),
            metrics,
        }
    }

    /// The answer to `key`, at the latest after [`BUDGET`]. Not to be cancelled:
    /// others may wait for the same answer.
    pub(crate) async fn resolve(&self, key: &Key) -> Arc<Entry> {
        let deadline = Instant::now() + BUDGET;
        match self.flights.board(key) {
            Seat::Pilot(flight) => {
                let now = Instant::now().into_std();
                // The flight before this one may have landed since the look-up.
                let entry = match self.cache.get(key, now) {
                    Some(entry) => entry,
                    None => self.find(key, deadline).await,
                };
                flight.land(&entry);
                entry
            }
            Seat::Passenger(flight) => {
                self.metrics.coalesced.increment(1);
                match timeout_at(deadline, flight.landed()).await {
                    Ok(Some(entry)) => entry,
                    // The pilot panicked, or took off long before.
                    Ok(None) | Err(_) => Arc::new(Broken::late().entry(key)),
                }
            }
        }
    }

    /// Asks, and keeps the answer.
    async fn find(&self, key: &Key, deadline: Instant) -> Arc<Entry> {
        let began = Instant::now();
        let entry = match self.chain(key, deadline).await {
            Ok((judged, limits)) => Entry::of(judged, limits, Instant::now().into_std()),
            Err(broken) => broken.entry(key),
        };
        debug!(
            question = %key,
            rcode = %entry.rcode(),
            after = ?began.elapsed(),
            reason = entry.error().map(|error| error.text.as_str()),
            "asked"
        );
        let entry = Arc::new(entry);
        self.cache
            .insert(key, Arc::clone(&entry), Instant::now().into_std());
        entry
    }

    /// The answer from the zone of the name, and from every zone into which its
    /// CNAMEs lead.
    async fn chain(&self, key: &Key, deadline: Instant) -> Result<(Judged, Limits), Broken> {
        let zone = self.zone_of(key)?;
        let first = ask(zone, key, deadline).await?;
        let Some(mut link) = self.link(zone, first.response()) else {
            return Ok((first, zone.limits));
        };
        let unreadable = || Broken::chain(key, "cannot be put together with its target");
        let mut limits = zone.limits;
        let mut chain = Chain::begin(first.response(), &link.owners).ok_or_else(unreadable)?;
        for _ in 0..MAX_LINKS {
            let next = key.about(&link.target);
            let zone = self.zone_of(&next)?;
            limits.negative = limits.negative.min(zone.limits.negative);
            let (part, onward) = self.part(zone, &next, deadline).await?;
            let Some(onward) = onward else {
                let whole = chain.end(part.response()).ok_or_else(unreadable)?;
                return Ok((Judged::insecure_by_configuration(whole), limits));
            };
            link = onward;
            chain = chain
                .add(part.response(), &link.owners)
                .ok_or_else(unreadable)?;
        }
        Err(Broken::chain(key, "is a chain of too many CNAMEs"))
    }

    /// The answer to a part of a chain, and where it leads on, from the cache or
    /// from its zone. Not through [`Flights`]: two names that point at each other
    /// would wait for each other.
    async fn part(
        &self,
        zone: &Zone,
        key: &Key,
        deadline: Instant,
    ) -> Result<(Judged, Option<Link>), Broken> {
        let now = Instant::now().into_std();
        if let Some(entry) = self.cache.get(key, now)
            && entry.error().is_none()
            && let Some(kept) = Response::parse(entry.aged(now))
        {
            // What is kept was followed to its end.
            return Ok((Judged::insecure_by_configuration(kept), None));
        }
        let part = ask(zone, key, deadline).await?;
        let onward = self.link(zone, part.response());
        if onward.is_none() {
            let now = Instant::now().into_std();
            let entry = Entry::of(part.clone(), zone.limits, now);
            self.cache.insert(key, Arc::new(entry), now);
        }
        Ok((part, onward))
    }

    /// Where the answer of `zone` leads out of it, or ends without having been
    /// followed to its end.
    fn link(&self, zone: &Zone, response: &Response) -> Option<Link> {
        let mut owners = response.chain();
        let leaves = owners.iter().position(|name| {
            self.routes
                .zone_of(name)
                .is_none_or(|other| !std::ptr::eq(other, zone))
        });
        let at = match leaves {
            Some(at) => at,
            None if response.has_loose_end() => owners.len().checked_sub(1)?,
            None => return None,
        };
        let target = owners.get(at)?.clone();
        owners.truncate(at);
        Some(Link { owners, target })
    }

    fn zone_of(&self, key: &Key) -> Result<&Zone, Broken> {
        self.routes
            .zone_of(key.name())
            .ok_or_else(|| Broken::chain(key, "is in no zone of this resolver"))
    }
}

async fn ask(zone: &Zone, key: &Key, deadline: Instant) -> Result<Judged, Broken> {
    let response = zone.upstream.ask(key, deadline).await?;
    Ok(Judged::insecure_by_configuration(response))
}

/// A step of a chain: the names whose CNAMEs count, and where the last one leads.
struct Link {
    owners: Vec<Vec<u8>>,
    target: Vec<u8>,
}

/// Why there is no answer, and for how long nobody need try again.
struct Broken {
    error: ExtendedError,
    lifetime: Duration,
}

impl Broken {
    fn late() -> Self {
        Self {
            error: ExtendedError::new(ErrorCode::NoReachableAuthority, "no answer in time"),
            lifetime: Duration::ZERO,
        }
    }

    fn chain(key: &Key, what: &str) -> Self {
        let text = format!("{} {what}", Text(key.name()));
        Self {
            error: ExtendedError::new(ErrorCode::Other, text),
            lifetime: FAILURE_LIFETIME,
        }
    }

    fn entry(self, key: &Key) -> Entry {
        let now = Instant::now().into_std();
        Entry::failure(key, Rcode::SERVFAIL, self.error, self.lifetime, now)
    }
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self {
            error: failure.extended_error(),
            lifetime: match failure {
                // Says nothing about the name.
                Failure::TooBusy { .. } => Duration::ZERO,
                Failure::Server { .. } | Failure::NoAnswer { .. } => FAILURE_LIFETIME,
            },
        }
    }
}

/// All the time that a question has. Clients give up after 5 s.
const BUDGET: Duration = Duration::from_millis(4_500);
/// The least that RFC 9520 §3.2 asks for: what is mended is seen at once.
const FAILURE_LIFETIME: Duration = Duration::from_secs(1);
/// Zones that are asked for one name. Longer chains are loops or mistakes.
const MAX_LINKS: usize = 8;
