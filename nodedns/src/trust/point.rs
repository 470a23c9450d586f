//! One zone with trust anchors: what is configured for it, what its keys have
//! become since, and when to ask for them again.

use std::time::Duration;

use hickory_proto::dnssec::rdata::DNSKEY;
use tracing::{error, info, warn};

use crate::anchors::rfc5011::{
    Change, Event, Observation, Time, Tracked, TrustPoint, query_interval, retry_interval,
};
use crate::anchors::stored::{self, KeptPoint};
use crate::anchors::{Anchor, Trusted};
use crate::wire::name::Name;

/// A zone, and who is trusted for it.
#[derive(Debug)]
pub(super) struct Point {
    pub(super) zone: Name,
    pub(super) configured: Vec<Trusted>,
    keys: TrustPoint,
    pub(super) next_query: Time,
    /// Whether an answer is on its way.
    pub(super) is_asked: bool,
    /// When an answer was last signed by a trusted key; 0: not since the start.
    pub(super) last_seen: Time,
    original_ttl: u32,
    expires_in: u32,
    /// The failure of the last time, so that it is logged once.
    failure: Option<String>,
}

/// The points of these anchors, each as it was kept if the anchors from which it
/// began are still configured: who takes an anchor out of the configuration does
/// not trust it any more, nor what it vouched for.
pub(super) fn all(anchors: &[Anchor], kept: Vec<KeptPoint>, now: Time) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    for Anchor { zone, trusted } in anchors {
        match points.iter_mut().find(|point| point.zone == *zone) {
            Some(point) => point.configured.push(trusted.clone()),
            None => points.push(Point::new(zone.clone(), trusted.clone(), now)),
        }
    }
    for kept in kept {
        if let Some(point) = points.iter_mut().find(|point| point.zone == kept.zone) {
            point.restore(kept, now);
        }
    }
    points
}

impl Point {
    fn new(zone: Name, trusted: Trusted, now: Time) -> Self {
        Self {
            zone,
            configured: vec![trusted],
            keys: TrustPoint::default(),
            next_query: now,
            is_asked: false,
            last_seen: 0,
            original_ttl: 0,
            expires_in: 0,
            failure: None,
        }
    }

    fn restore(&mut self, kept: KeptPoint, now: Time) {
        let configured = self.in_words();
        let keys = TrustPoint::restored(kept.keys);
        if kept.configured.iter().all(|one| configured.contains(one)) {
            self.keys = keys;
            self.original_ttl = kept.original_ttl;
            self.expires_in = kept.expires_in;
            let is_as_before = kept.configured.len() == configured.len();
            // A calendar that was ahead must not keep it from being asked.
            if is_as_before && kept.next_query <= now + LONGEST_INTERVAL.as_secs() {
                self.next_query = kept.next_query;
            }
            return;
        }
        info!(zone = %self.zone, "its configured trust anchors were replaced: following its keys anew from those");
        // What was revoked stays so.
        let distrusted: Vec<&[u8]> = keys.distrusted().collect();
        let stays = |key: &&Tracked| distrusted.contains(&&key.data[..]);
        let revoked = keys.keys().iter().filter(stays).cloned().collect();
        self.keys = TrustPoint::restored(revoked);
    }

    /// Takes over what is not kept on disk from the same zone's point of `before`.
    pub(super) fn remember(&mut self, before: &[Self]) {
        if let Some(same) = before.iter().find(|point| point.zone == self.zone) {
            self.last_seen = same.last_seen;
            self.failure.clone_from(&same.failure);
        }
    }

    /// What is trusted: what is configured and not revoked, and what was learned.
    pub(super) fn anchors(&self) -> Vec<Anchor> {
        let is_distrusted = |trusted: &&Trusted| {
            let mut distrusted = self.keys.distrusted();
            distrusted.any(|data| trusted.means(&self.zone, data))
        };
        let mut trusted: Vec<Trusted> = self
            .configured
            .iter()
            .filter(|trusted| !is_distrusted(trusted))
            .cloned()
            .collect();
        for data in self.keys.trusted() {
            if !trusted.iter().any(|one| one.means(&self.zone, data)) {
                trusted.push(Trusted::Key(data.to_vec()));
            }
        }
        let anchors = trusted.into_iter().map(|trusted| Anchor {
            zone: self.zone.clone(),
            trusted,
        });
        anchors.collect()
    }

    pub(super) fn keys(&self) -> &[Tracked] {
        self.keys.keys()
    }

    pub(super) fn is_due(&self, now: Time) -> bool {
        !self.is_asked && now >= self.next_query
    }

    /// Takes in an answer.
    pub(super) fn see(&mut self, observation: &Observation, now: Time) {
        let changes = self.keys.see(observation, now);
        for change in changes {
            self.say(&change);
        }
        if self.anchors().is_empty() {
            error!(
                zone = %self.zone,
                "all trust anchors of this zone are revoked: its names are no longer validated; configure its new keys"
            );
        }
        if observation.vouchers.is_empty() {
            // Revocations alone: whether there is a key to be trusted is still to be seen.
            self.put_off(now);
            return;
        }
        if self.failure.take().is_some() {
            info!(zone = %self.zone, "the keys of this trust anchor can be had again");
        }
        self.last_seen = now;
        self.original_ttl = observation.original_ttl;
        self.expires_in = observation.expires_in;
        let interval = query_interval(self.original_ttl, self.expires_in);
        self.next_query = now + interval.as_secs();
    }

    /// There was no answer, or none to be believed.
    pub(super) fn fail(&mut self, reason: &str, now: Time) {
        self.put_off(now);
        let again_in = self.next_query - now;
        if self.failure.is_none() {
            let again_in = daemon::duration::format(Duration::from_secs(again_in));
            warn!(
                zone = %self.zone,
                reason,
                again_in,
                "cannot see whether the keys of this trust anchor change; those known stay trusted"
            );
        }
        self.failure = Some(reason.to_owned());
    }

    /// It is asked again when RFC 5011 allows it after a failure.
    pub(super) fn put_off(&mut self, now: Time) {
        let interval = retry_interval(self.original_ttl, self.expires_in);
        self.next_query = now + interval.as_secs();
    }

    /// How it is kept on disk.
    pub(super) fn kept(&self) -> KeptPoint {
        KeptPoint {
            zone: self.zone.clone(),
            configured: self.in_words(),
            keys: self.keys.keys().to_vec(),
            next_query: self.next_query,
            original_ttl: self.original_ttl,
            expires_in: self.expires_in,
        }
    }

    fn in_words(&self) -> Vec<String> {
        self.configured.iter().map(stored::in_words).collect()
    }

    fn say(&self, Change { data, event }: &Change) {
        let (zone, key) = (&self.zone, DNSKEY::calculate_key_tag_internal(data));
        match event {
            Event::New { trusted_at } => {
                let trusted_at = stored::time(*trusted_at);
                info!(%zone, key, %trusted_at, "a new key, signed by a trusted one: trusted from then on if it stays");
            }
            Event::Trusted => info!(%zone, key, "a key is trusted"),
            Event::Withdrawn => {
                info!(%zone, key, "a new key went before it was trusted, or nobody is left who vouches for it");
            }
            Event::Missing => {
                warn!(%zone, key, "a trusted key is no longer shown by its zone; it stays trusted");
            }
            Event::Back => info!(%zone, key, "a trusted key is shown by its zone again"),
            Event::Revoked => {
                warn!(%zone, key, "a trusted key is revoked by its owner: never trusted again");
            }
            Event::Removed => info!(%zone, key, "a key was revoked 30 days ago"),
        }
    }
}

const LONGEST_INTERVAL: Duration = Duration::from_secs(15 * 24 * 3_600);
