//! Who is trusted, while nodedns runs: the one task that owns the trust anchors and
//! publishes them to the validator whenever they change.
//!
//! ```text
//! configuration ──┐                    ┌─► validator, cache: what is trusted now
//! state on disk ──┼─► Keeper ──────────┼─► state on disk
//! answers (5011) ─┤   one task, on the └─► metrics, log
//! a person's word ┘   main runtime
//! ```
//!
//! Keys are followed as their zones replace them ([`rfc5011`](crate::anchors::rfc5011)),
//! names that a person takes out of validation come back by themselves
//! ([`negative`](crate::anchors::negative)). What is on disk is a memory, not an
//! authority: if it cannot be read, the configured anchors hold.

mod disk;
mod point;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::anchors::negative::{NegativeAnchor, NegativeAnchors};
use crate::anchors::rfc5011::{Observation, Time};
use crate::anchors::{Anchor, Anchors};
use crate::config::Config;
use crate::metrics::TrustMetrics;
use crate::resolve::Resolver;
use crate::wire::name::Name;

pub(crate) use self::disk::Disk;
use self::point::Point;

/// The task, before it runs.
pub(crate) struct Keeper {
    points: Vec<Point>,
    follows: bool,
    /// From the configuration: without an end.
    negative: Vec<Name>,
    /// Set by hand.
    by_hand: NegativeAnchors,
    disk: Disk,
    resolver: Arc<Resolver>,
    metrics: TrustMetrics,
}

/// What is wanted of it.
pub(crate) enum Order {
    /// Trust what another configuration says, and have another one know it.
    Follow {
        config: Box<Config>,
        resolver: Arc<Resolver>,
    },
    /// Set a negative anchor.
    Add {
        name: Name,
        lifetime: Duration,
        reason: String,
    },
    /// Take it away.
    Remove { name: Name },
    /// Nothing but to see them.
    List,
}

/// What came of an order: the negative anchors as they are now.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) anchors: Vec<NegativeAnchor>,
    /// What a person should know although it is done.
    pub(crate) warning: Option<String>,
}

type Answer = Result<Done, String>;

/// The way to the task.
#[derive(Debug, Clone)]
pub(crate) struct Orders(mpsc::Sender<(Order, oneshot::Sender<Answer>)>);

/// The other end.
pub(crate) type Inbox = mpsc::Receiver<(Order, oneshot::Sender<Answer>)>;

impl Orders {
    /// A way and its end.
    pub(crate) fn new() -> (Self, Inbox) {
        let (sender, inbox) = mpsc::channel(1);
        (Self(sender), inbox)
    }

    /// Has the order carried out.
    ///
    /// # Errors
    /// It cannot be; the sentence says how to mend it.
    pub(crate) async fn give(&self, order: Order) -> Answer {
        let (reply, answer) = oneshot::channel();
        let stopping = || "nodedns is stopping; try again when it is back".to_owned();
        self.0.send((order, reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }
}

impl Keeper {
    /// One that begins with what `config` says and what is on `disk`, and publishes
    /// that at once.
    pub(crate) fn new(config: &Config, disk: Disk, resolver: Arc<Resolver>) -> Self {
        let now = now();
        let validation = &config.validation;
        let learned = validation.follow_rollovers.then(|| disk.points());
        let keeper = Self {
            points: point::all(&validation.anchors, learned.unwrap_or_default(), now),
            follows: follows(config),
            negative: validation.negative.clone(),
            by_hand: disk.negative(now),
            metrics: TrustMetrics::new(),
            disk,
            resolver,
        };
        for anchor in keeper.by_hand.all() {
            let name = &anchor.name;
            let until = crate::anchors::stored::time(anchor.until);
            info!(%name, %until, reason = anchor.reason, "not validated, as somebody said before the start");
        }
        keeper.publish(&[]);
        keeper
    }

    /// Follows keys and orders until nobody can give any.
    pub(crate) async fn run(mut self, mut inbox: Inbox) {
        let mut asking: JoinSet<(usize, Result<Observation, String>)> = JoinSet::new();
        loop {
            self.expire();
            self.ask(&mut asking);
            tokio::select! {
                order = inbox.recv() => {
                    let Some((order, reply)) = order else { return };
                    if matches!(order, Order::Follow { .. }) {
                        // What is asked for may be nobody's key any more.
                        asking = JoinSet::new();
                    }
                    // Who gave it may have gone; it is done all the same.
                    let _ = reply.send(self.obey(order));
                }
                Some(ended) = asking.join_next() => match ended {
                    Ok((place, observed)) => self.learn(place, observed),
                    Err(panic) => {
                        tracing::error!(%panic, "asking for the keys of a trust anchor panicked: please report this");
                        // Not again and again.
                        for point in &mut self.points {
                            point.is_asked = false;
                            point.put_off(now());
                        }
                    }
                },
                () = sleep(self.until_next()) => {}
            }
        }
    }

    /// Starts to ask for the keys whose time has come.
    fn ask(&mut self, asking: &mut JoinSet<(usize, Result<Observation, String>)>) {
        if !self.follows {
            return;
        }
        let now = now();
        for (place, point) in self.points.iter_mut().enumerate() {
            if point.is_due(now) {
                point.is_asked = true;
                let (zone, configured) = (point.zone.clone(), point.configured.clone());
                let resolver = Arc::clone(&self.resolver);
                asking.spawn(async move { (place, resolver.observe(&zone, &configured).await) });
            }
        }
    }

    /// Takes in what was asked for.
    fn learn(&mut self, place: usize, observed: Result<Observation, String>) {
        let now = now();
        let point = &mut self.points[place];
        point.is_asked = false;
        let is_seen = observed.is_ok();
        match observed {
            Ok(observation) => {
                let before = point.anchors();
                point.see(&observation, now);
                let (zone, after) = (point.zone.clone(), point.anchors());
                if before.iter().any(|anchor| !after.contains(anchor)) {
                    // What a revoked key proved is worth nothing.
                    self.publish(&[zone]);
                } else if after != before {
                    self.publish(&[]);
                }
            }
            Err(reason) => point.fail(&reason, now),
        }
        self.show();
        if let Err(error) = self.disk.keep_points(&self.points) {
            self.disk.warn_once(&error);
        }
        // Whoever waits for it finds all else done.
        self.metrics.query(is_seen);
    }

    fn obey(&mut self, order: Order) -> Answer {
        let now = now();
        let name = match order {
            Order::List => return Ok(self.done(None)),
            Order::Follow { config, resolver } => {
                self.follow(&config, resolver, now);
                return Ok(self.done(None));
            }
            Order::Add {
                name,
                lifetime,
                reason,
            } => {
                self.by_hand
                    .add(name.clone(), lifetime, &reason, now)
                    .map_err(|refusal| refusal.to_string())?;
                let lifetime = daemon::duration::format(lifetime);
                warn!(%name, lifetime, reason, "not validated from now on, as somebody said");
                name
            }
            Order::Remove { name } => {
                if self.by_hand.remove(&name).is_none() {
                    return Err(self.nothing_at(&name));
                }
                info!(%name, "validated again, as somebody said");
                name
            }
        };
        self.publish(&[name]);
        let kept = self.disk.keep_negative(&self.by_hand);
        Ok(self.done(
            kept.err()
                .map(|error| format!("it is in force, but a restart will forget it: {error}")),
        ))
    }

    /// Goes on from what `config` says. What was learned of keys stays as it does
    /// over a restart.
    fn follow(&mut self, config: &Config, resolver: Arc<Resolver>, now: Time) {
        let validation = &config.validation;
        let (anchors, negative) = (self.anchors(), self.negative.clone());
        let before = std::mem::take(&mut self.points);
        let learned = if validation.follow_rollovers {
            before.iter().map(Point::kept).collect()
        } else {
            Vec::new()
        };
        self.points = point::all(&validation.anchors, learned, now);
        for point in &mut self.points {
            point.remember(&before);
        }
        self.follows = follows(config);
        self.negative.clone_from(&validation.negative);
        self.resolver = resolver;
        let after = self.anchors();
        let is_other = |anchor: &&Anchor| !(anchors.contains(anchor) && after.contains(anchor));
        let zones = anchors.iter().chain(&after).filter(is_other);
        let names = negative.iter().chain(&self.negative);
        let names = names.filter(|name| !(negative.contains(name) && self.negative.contains(name)));
        let changed: Vec<Name> = zones
            .map(|anchor| &anchor.zone)
            .chain(names)
            .cloned()
            .collect();
        self.publish(&changed);
    }

    fn done(&self, warning: Option<String>) -> Done {
        Done {
            anchors: self.by_hand.all().to_vec(),
            warning,
        }
    }

    fn nothing_at(&self, name: &Name) -> String {
        if self.negative.contains(name) {
            return format!(
                "the negative trust anchor at {name} is in the configuration: take it out of `trust_anchors.negative` there"
            );
        }
        format!(
            "there is no negative trust anchor at {name}; `nodedns negative-anchor list` shows all"
        )
    }

    /// Ends the negative anchors whose time is over.
    fn expire(&mut self) {
        let ended = self.by_hand.expire(now());
        if ended.is_empty() {
            return;
        }
        for anchor in &ended {
            info!(name = %anchor.name, reason = anchor.reason, "validated again: the time of the negative trust anchor is over");
        }
        let names: Vec<Name> = ended.into_iter().map(|anchor| anchor.name).collect();
        self.publish(&names);
        if let Err(error) = self.disk.keep_negative(&self.by_hand) {
            self.disk.warn_once(&error);
        }
    }

    /// Has the validator trust what is trusted now; what is known of the `changed`
    /// names is forgotten.
    fn publish(&self, changed: &[Name]) {
        let anchors = self.anchors();
        let by_hand = self.by_hand.all().iter().map(|anchor| &anchor.name);
        let negative = self.negative.iter().chain(by_hand);
        let forgotten = self
            .resolver
            .trust(Anchors::new(&anchors, negative), changed);
        if forgotten > 0 {
            info!(answers = forgotten, "forgot what was judged otherwise");
        }
        self.show();
    }

    fn anchors(&self) -> Vec<Anchor> {
        self.points.iter().flat_map(Point::anchors).collect()
    }

    fn show(&self) {
        self.metrics.negative_anchors(self.by_hand.all().len());
        if self.follows {
            for point in &self.points {
                self.metrics
                    .point(&point.zone, point.keys(), point.last_seen);
            }
        }
    }

    fn until_next(&self) -> Duration {
        let asks = self.points.iter().filter(|_| self.follows);
        let next = asks
            .filter(|point| !point.is_asked)
            .map(|point| point.next_query)
            .chain(self.by_hand.next_end())
            .min();
        let seconds = next.map_or(u64::MAX, |next| next.saturating_sub(now()));
        Duration::from_secs(seconds).clamp(SHORTEST_SLEEP, LONGEST_SLEEP)
    }
}

/// Whether keys are to be followed: where nothing is validated nobody needs them.
fn follows(config: &Config) -> bool {
    config.validation.follow_rollovers && config.zones.iter().any(|zone| zone.validate)
}

/// The calendar's time; 1970 if it is before that.
fn now() -> Time {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

const SHORTEST_SLEEP: Duration = Duration::from_millis(100);
/// The calendar may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
