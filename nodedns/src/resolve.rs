//! A miss on its way to an answer, step by step.
//!
//! ```text
//! resolve ─► coalesce ─► cache, once more ─► above ─► route ─► source ─► judge ◄─► validate
//!                 │                                     ▲                     │
//!                 │                                     └── chase: a CNAME ◄──┤
//!                 └── whoever asks the same waits               cache, all ◄──┘
//! ```
//!
//! There is always an answer: what failed is an answer too, SERVFAIL with the
//! reason, kept for a second, or an answer whose time is over. The work goes on when
//! its client has gone, for the client asks again.

pub(crate) mod above;
mod chase;
mod judge;
mod nothing_below;
mod rebinding;
pub(crate) mod route;
mod sampled;
mod source;
mod succession;
mod tree;
mod trust_point;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::cache::entry::{Entry, Limits};
use crate::cache::key::Key;
use crate::cache::{Cache, Share};
use crate::client::Due;
use crate::coalesce::{Flights, Seat};
use crate::config::Config;
use crate::errand::Errand;
use crate::explain::{Event, Record};
use crate::metrics::Metrics;
use crate::resolve::above::Found;
use crate::resolve::chase::Chain;
use crate::resolve::judge::{Judge, SECOND_OPINION};
use crate::resolve::rebinding::Filter;
use crate::resolve::route::{Routes, Zone};
use crate::resolve::source::{Reply, Source};
use crate::upstream::failure::Failure;
use crate::validate::{Fault, Judged, Scope, TrustLink};
use crate::wire::Rcode;
use crate::wire::edns::{ErrorCode, ExtendedError};
use crate::wire::name::{Name, Text};
use crate::wire::order::is_within;
use crate::wire::response::Response;

/// Finds what the cache does not have. Shared by all workers.
pub(crate) struct Resolver {
    routes: Arc<Routes>,
    cache: Arc<Cache>,
    judge: Arc<Judge>,
    filter: Filter,
    flights: Flights<Entry>,
    /// Questions about what lies above a name.
    above: Flights<()>,
    /// How long a name that has an answer is not asked about again after a failure.
    failure_recheck: Duration,
    /// Set once another one has taken its place.
    is_retired: AtomicBool,
    metrics: Metrics,
}

impl Resolver {
    /// A resolver that asks along `routes`, judges as `config` says, and keeps
    /// what it learns in `cache`.
    pub(crate) fn new(
        config: &Config,
        routes: Arc<Routes>,
        cache: Arc<Cache>,
        metrics: Metrics,
    ) -> Self {
        Self {
            routes,
            cache,
            judge: Arc::new(Judge::new(config, metrics.clone())),
            filter: Filter::new(&config.rebinding),
            flights: Flights::default(),
            above: Flights::default(),
            failure_recheck: config.cache.stale.failure_recheck,
            is_retired: AtomicBool::new(false),
            metrics,
        }
    }

    /// The answer to `key`, at the latest when it is [due](Due::asked_by). Not to be cancelled:
    /// others may wait for the same answer. How it was found goes into `record`.
    pub(crate) async fn resolve(&self, key: &Key, record: Option<&Record>) -> Arc<Entry> {
        let deadline = deadline();
        match self.flights.board(key) {
            Seat::Pilot(flight) => {
                let now = Instant::now().into_std();
                // The flight before this one may have landed since the look-up.
                let entry = match self.cache.get(key, now) {
                    Some(entry) => entry,
                    None => self.find_or_deny(key, deadline, record).await,
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

    /// Has a newer answer to `key` in the cache, if there is one: unless somebody asks
    /// already, or nobody answers.
    pub(crate) async fn refresh(&self, key: &Key) {
        if let Seat::Pilot(flight) = self.flights.board(key) {
            let entry = self.find(key, deadline(), None).await;
            flight.land(&entry);
        }
    }

    /// The chain of trust above `name`, as far as it is known.
    pub(crate) fn links(&self, name: &Name) -> Vec<TrustLink> {
        self.judge.validator().links(name, judge::now())
    }

    /// Asks, unless what lies above the name shows that there is nothing to ask for.
    async fn find_or_deny(
        &self,
        key: &Key,
        deadline: Instant,
        record: Option<&Record>,
    ) -> Arc<Entry> {
        if let Some(entry) = self.proved(key) {
            return entry;
        }
        let mut errand = Errand::new(record);
        match self.look_above(key, deadline, &mut errand).await {
            Found::Denied(entry) => Arc::new(entry),
            Found::Nothing(beneath) => {
                let entry = self.find(key, deadline, record).await;
                self.learn(key, beneath, &entry);
                entry
            }
        }
    }

    /// The answer that follows from what signed zones have proved before, unless it has an
    /// address that may not be there.
    fn proved(&self, key: &Key) -> Option<Arc<Entry>> {
        let zone = self.validated(key)?;
        let epoch = self.judge.validator().epoch();
        let judged = self.judge.proved(key, &zone.name)?;
        let offence = self.filter.offence(key, judged.response(), &self.routes);
        if offence.is_some() {
            return None;
        }
        let entry = Arc::new(Entry::of(
            key,
            judged,
            zone.limits,
            Instant::now().into_std(),
        ));
        // Denials are made as fast as they are found, and nobody asks for such a name twice.
        if entry.has_answers() {
            self.keep(key, &entry, epoch);
        }
        Some(entry)
    }

    /// The denial of `key`, if it follows from what signed zones have proved before and takes
    /// next to no time. Nothing in it is anybody's address.
    pub(crate) fn denied_at_once(&self, key: &Key, now: std::time::Instant) -> Option<Entry> {
        let zone = self.validated(key)?;
        let denied = self.judge.denied_at_once(key, &zone.name, now)?;
        Some(Entry::of(key, denied, zone.limits, now))
    }

    /// The zone that has the name, if its answers are validated.
    fn validated(&self, key: &Key) -> Option<&Zone> {
        let zone = self.routes.zone_of(key.name())?;
        zone.validate.then_some(zone)
    }

    /// Asks, and keeps the answer.
    async fn find(&self, key: &Key, deadline: Instant, record: Option<&Record>) -> Arc<Entry> {
        let began = Instant::now();
        let epoch = self.judge.validator().epoch();
        let mut errand = Errand::new(record);
        let found = self.chain(key, deadline, &mut errand).await;
        self.metrics.work(errand.budget.spent());
        let found = found.and_then(|(judged, limits)| {
            match self.filter.offence(key, judged.response(), &self.routes) {
                None => Ok((judged, limits)),
                Some(address) => Err(self.withheld(key, address)),
            }
        });
        let (entry, is_bogus) = match found {
            Ok((judged, limits)) => {
                let entry = Entry::of(key, judged, limits, Instant::now().into_std());
                (entry, false)
            }
            Err(broken) => (broken.entry(key), broken.is_bogus),
        };
        debug!(
            question = %key,
            rcode = %entry.rcode(),
            after = ?began.elapsed(),
            reason = entry.error().map(|error| error.text.as_str()),
            "asked"
        );
        let entry = Arc::new(entry);
        // A failure takes no answer's place that may be used for want of a newer one. One
        // that cannot be believed does: who broke his zone is to see it.
        let now = Instant::now().into_std();
        match self.cache.last_known(key, now) {
            Some(old)
                if entry.rcode() == Rcode::SERVFAIL
                    && !is_bogus
                    && old.rcode() != Rcode::SERVFAIL =>
            {
                old.put_off(now, self.failure_recheck);
            }
            _ => self.keep(key, &entry, epoch),
        }
        entry
    }

    /// The answer to `key` has an address that may not be there.
    fn withheld(&self, key: &Key, address: IpAddr) -> Broken {
        self.metrics.rebinding.increment(1);
        let text = format!(
            "{} is a name of the public with an address in a network of one's own, {address} (`rebinding.deny`)",
            Text(key.name())
        );
        Broken {
            error: ExtendedError::new(ErrorCode::Blocked, text),
            lifetime: WITHHELD_LIFETIME,
            is_bogus: false,
        }
    }

    /// Keeps `entry`, unless other keys are trusted by now than when it was judged,
    /// or others would have been asked.
    fn keep(&self, key: &Key, entry: &Arc<Entry>, epoch: u64) {
        // By that it is found.
        debug_assert_eq!(Key::from(entry.key()), *key);
        let share = match self.routes.zone_of(key.name()) {
            Some(zone) if !zone.name.is_root() => Share::Inner,
            _ => Share::Outer,
        };
        self.cache
            .insert(Arc::clone(entry), share, Instant::now().into_std());
        // Only now: what is changed later is forgotten later, too.
        if self.judge.validator().epoch() != epoch || self.is_retired.load(Ordering::SeqCst) {
            self.cache.remove(key);
        }
    }

    /// The answer from the zone of the name, and from every zone into which its
    /// CNAMEs lead.
    async fn chain(
        &self,
        key: &Key,
        deadline: Instant,
        errand: &mut Errand<'_>,
    ) -> Result<(Judged, Limits), Broken> {
        let zone = self.zone_of(key)?;
        let (first, onward) = self.ask(zone, key, deadline, errand).await?;
        let Some(mut link) = onward else {
            return Ok((first, zone.limits));
        };
        let unreadable = || Broken::chain(key, "cannot be put together with its target");
        let mut limits = zone.limits;
        let mut chain = Chain::begin(first.response(), &link.owners).ok_or_else(unreadable)?;
        let mut parts = vec![first];
        let mut seen = vec![key.name().to_ascii_lowercase()];
        for _ in 0..MAX_LINKS {
            if seen.contains(&link.target) {
                return Err(Broken::chain(key, "is a CNAME that leads back to itself"));
            }
            seen.push(link.target.clone());
            let next = key.about(&link.target);
            let zone = self.zone_of(&next)?;
            limits.negative = limits.negative.min(zone.limits.negative);
            // Most names are none: these futures are not for every question to have room for.
            let part = Box::pin(self.part(zone, &next, deadline, errand));
            let (part, onward) = part.await?;
            let Some(onward) = onward else {
                let whole = chain.end(part.response()).ok_or_else(unreadable)?;
                parts.push(part);
                return Ok((Judged::joined(whole, &parts), limits));
            };
            link = onward;
            chain = chain
                .add(part.response(), &link.owners)
                .ok_or_else(unreadable)?;
            parts.push(part);
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
        errand: &mut Errand<'_>,
    ) -> Result<(Judged, Option<Link>), Broken> {
        let now = Instant::now().into_std();
        if let Some(entry) = self.cache.get(key, now)
            && entry.rcode() != Rcode::SERVFAIL
            && let Some(kept) = Response::parse(entry.aged(now))
        {
            // What is kept was followed to its end.
            return Ok((Judged::kept(kept, entry.is_secure()), None));
        }
        if zone.validate
            && let Some(proved) = self.judge.proved(key, &zone.name)
        {
            return Ok((proved, None));
        }
        let epoch = self.judge.validator().epoch();
        let (part, onward) = self.ask(zone, key, deadline, errand).await?;
        let offence = self.filter.offence(key, part.response(), &self.routes);
        if onward.is_none() && offence.is_none() {
            let entry = Entry::of(key, part.clone(), zone.limits, Instant::now().into_std());
            self.keep(key, &Arc::new(entry), epoch);
        }
        Ok((part, onward))
    }

    /// Asks `zone`, and has judged what it says of its own names.
    async fn ask(
        &self,
        zone: &Zone,
        key: &Key,
        deadline: Instant,
        errand: &mut Errand<'_>,
    ) -> Result<(Judged, Option<Link>), Broken> {
        errand.note(|| Event::Route {
            key: key.clone(),
            zone: zone.name.clone(),
            recursion: matches!(*zone.source, Source::Recursion(_)),
            validate: zone.validate,
        });
        // Who sets CD validates for himself.
        if !zone.validate || key.checking_disabled() {
            let reply = zone.source.ask(key, deadline, None, errand).await?;
            let onward = self.link(zone, key.rtype(), &reply);
            return Ok((Judged::unchecked(reply.response), onward));
        }
        let asked = key.unvalidated();
        let reply = zone.source.ask(&asked, deadline, None, errand).await?;
        let server = Arc::clone(&reply.server);
        let first = Box::pin(self.judged(zone, key, reply, deadline, errand)).await;
        match first {
            Err(broken) if broken.is_bogus && zone.source.has_others() => {
                let soon = deadline.min(Instant::now() + SECOND_OPINION);
                match zone.source.ask(&asked, soon, Some(&server), errand).await {
                    Ok(other) => Box::pin(self.judged(zone, key, other, deadline, errand)).await,
                    Err(_) => Err(broken),
                }
            }
            first => first,
        }
    }

    /// Has judged what `zone` says of its own names.
    async fn judged(
        &self,
        zone: &Zone,
        key: &Key,
        reply: Reply,
        deadline: Instant,
        errand: &mut Errand<'_>,
    ) -> Result<(Judged, Option<Link>), Broken> {
        let onward = self.link(zone, key.rtype(), &reply);
        let scope = onward
            .as_ref()
            .map_or(Scope::Whole, |link| Scope::Aliases(link.owners.len()));
        let judged = self
            .judge
            .judge(reply.response, key, scope, &self.routes, deadline, errand)
            .await?;
        Ok((judged, onward))
    }

    /// Where the answer of `zone` leads out of what its server has, or ends without
    /// having been followed to its end.
    fn link(&self, zone: &Zone, rtype: u16, reply: &Reply) -> Option<Link> {
        let mut owners = reply.response.chain();
        let leaves = owners.iter().position(|name| {
            let within = reply.within.as_ref();
            within.is_some_and(|within| !is_within(name, within.as_wire()))
                || self
                    .routes
                    .zone_for(name, rtype)
                    .is_none_or(|other| !std::ptr::eq(other, zone))
        });
        let at = match leaves {
            Some(at) => at,
            None if reply.response.has_loose_end() => owners.len().checked_sub(1)?,
            None => return None,
        };
        let target = owners.get(at)?.clone();
        owners.truncate(at);
        Some(Link { owners, target })
    }

    fn zone_of(&self, key: &Key) -> Result<&Zone, Broken> {
        self.routes
            .zone_for(key.name(), key.rtype())
            .ok_or_else(|| Broken::chain(key, "is in no zone of this resolver"))
    }
}

/// That of a question whose turn comes now.
fn deadline() -> Instant {
    Due::since(Instant::now().into_std()).asked_by().into()
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
    /// There is an answer, but it cannot be believed.
    is_bogus: bool,
}

impl Broken {
    fn late() -> Self {
        Self {
            error: ExtendedError::new(ErrorCode::NoReachableAuthority, "no answer in time"),
            lifetime: Duration::ZERO,
            is_bogus: false,
        }
    }

    fn chain(key: &Key, what: &str) -> Self {
        let text = format!("{} {what}", Text(key.name()));
        Self {
            error: ExtendedError::new(ErrorCode::Other, text),
            lifetime: FAILURE_LIFETIME,
            is_bogus: false,
        }
    }

    fn bogus(fault: &Fault) -> Self {
        Self {
            error: fault.extended_error(),
            lifetime: FAILURE_LIFETIME,
            is_bogus: true,
        }
    }

    /// A question of the chain of trust was not answered.
    fn chain_of_trust(key: &Key, error: &ExtendedError) -> Self {
        let text = format!("cannot be validated without {key}: {}", error.text);
        Self {
            error: ExtendedError::new(error.code, text),
            lifetime: FAILURE_LIFETIME,
            is_bogus: false,
        }
    }

    fn entry(&self, key: &Key) -> Entry {
        let now = Instant::now().into_std();
        Entry::failure(key, Rcode::SERVFAIL, self.error.clone(), self.lifetime, now)
    }
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self {
            error: failure.extended_error(),
            lifetime: match failure {
                // Says nothing about the name.
                Failure::TooBusy { .. } => Duration::ZERO,
                Failure::Server { .. } | Failure::NoAnswer { .. } | Failure::Lost { .. } => {
                    FAILURE_LIFETIME
                }
            },
            is_bogus: false,
        }
    }
}

/// The least that RFC 9520 §3.2 asks for: what is mended is seen at once.
const FAILURE_LIFETIME: Duration = Duration::from_secs(1);
/// What is withheld is so because somebody says so.
const WITHHELD_LIFETIME: Duration = Duration::from_secs(30);
/// Zones that are asked for one name. Longer chains are loops or mistakes.
const MAX_LINKS: usize = 8;
