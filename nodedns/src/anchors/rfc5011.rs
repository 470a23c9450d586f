//! One trust point over the years: which of its zone's keys are trusted, as they
//! come and go (RFC 5011). Pure: what was seen and the time go in, what changed
//! comes out; who asks for the keys, verifies them and keeps the state on disk is
//! [`trust`](crate::trust)'s business.
//!
//! ```text
//!            seen, vouched for        30 days          not seen
//!   (start) ──────────────────► Pending ─────► Valid ◄─────────► Missing
//!      ▲    not seen, or nobody    │             │                  │
//!      └──── left who vouches ─────┘             └──── revoked ─────┤
//!                                                                   ▼
//!                                           Removed ◄── 30 days ── Revoked
//! ```
//!
//! A key that the operator configured is Valid as soon as it is seen. One that is
//! Removed stays known, so that nothing brings it back, until its place is needed
//! for another.

use std::time::Duration;

/// Seconds since 1970.
pub(crate) type Time = u64;

/// The keys of one zone that are trusted, may come to be, or were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TrustPoint {
    keys: Vec<Tracked>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tracked {
    /// The data of its DNSKEY record, the REVOKE bit cleared.
    pub(crate) data: Vec<u8>,
    /// Whether an anchor of the configuration means it.
    pub(crate) is_configured: bool,
    pub(crate) state: State,
    /// Since when it is in that state.
    pub(crate) since: Time,
}

/// The states of RFC 5011 §4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// AddPend: seen, and trusted from `until` on if it is still there then.
    Pending {
        until: Time,
        /// The keys that had signed when it was first seen.
        vouchers: Vec<Vec<u8>>,
    },
    /// Trusted.
    Valid,
    /// Trusted, though its zone no longer shows it.
    Missing,
    /// Its own signature says that it is not to be trusted any more.
    Revoked,
    /// Revoked long ago.
    Removed,
}

/// What an answer for the zone's DNSKEY says, verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Observation {
    /// Its keys that may become anchors: those with SEP bit, not revoked.
    pub(crate) keys: Vec<Seen>,
    /// Its revoked keys, each of which has signed the set.
    pub(crate) revoked: Vec<Seen>,
    /// The trusted keys that have signed the set. None: only revocations count.
    pub(crate) vouchers: Vec<Vec<u8>>,
    /// The TTL that was signed, in seconds.
    pub(crate) original_ttl: u32,
    /// Seconds until the signatures expire.
    pub(crate) expires_in: u32,
}

/// A key in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The data of its DNSKEY record, the REVOKE bit cleared.
    pub(crate) data: Vec<u8>,
    /// Whether an anchor of the configuration means it.
    pub(crate) is_configured: bool,
}

/// What became of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) data: Vec<u8>,
    pub(crate) event: Event,
}

/// The events of RFC 5011 §4.1 that change a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// NewKey: it is trusted at that time if it stays.
    New { trusted_at: Time },
    /// It is trusted: AddTime, or it was configured.
    Trusted,
    /// KeyRem, of a pending key: its time begins anew if it comes back.
    Withdrawn,
    /// KeyRem, of a trusted key.
    Missing,
    /// KeyPres.
    Back,
    /// RevBit.
    Revoked,
    /// RemTime.
    Removed,
}

impl TrustPoint {
    /// One whose keys were kept.
    pub(crate) const fn restored(keys: Vec<Tracked>) -> Self {
        Self { keys }
    }

    /// All its keys.
    pub(crate) fn keys(&self) -> &[Tracked] {
        &self.keys
    }

    /// The keys that are trusted.
    pub(crate) fn trusted(&self) -> impl Iterator<Item = &[u8]> {
        let trusted = |key: &&Tracked| matches!(key.state, State::Valid | State::Missing);
        self.keys.iter().filter(trusted).map(|key| &key.data[..])
    }

    /// The keys that must never be trusted again, be they configured.
    pub(crate) fn distrusted(&self) -> impl Iterator<Item = &[u8]> {
        let distrusted = |key: &&Tracked| matches!(key.state, State::Revoked | State::Removed);
        self.keys.iter().filter(distrusted).map(|key| &key.data[..])
    }

    /// Takes in what was seen at `now`, and says what changed.
    pub(crate) fn see(&mut self, seen: &Observation, now: Time) -> Vec<Change> {
        let mut changes = Vec::new();
        self.revoke(seen, now, &mut changes);
        self.remove(now, &mut changes);
        let is_distrusted = |data: &Vec<u8>| self.distrusted().any(|one| one == data);
        let vouchers: Vec<Vec<u8>> = seen
            .vouchers
            .iter()
            .filter(|data| !is_distrusted(data))
            .cloned()
            .collect();
        self.withdraw(seen, &vouchers, &mut changes);
        if vouchers.is_empty() {
            return changes;
        }
        for key in &seen.keys {
            self.key_is_there(key, &vouchers, seen.original_ttl, now, &mut changes);
        }
        for key in &mut self.keys {
            if key.state == State::Valid && !seen.keys.iter().any(|one| one.data == key.data) {
                key.enter(State::Missing, Event::Missing, now, &mut changes);
            }
        }
        changes
    }

    /// RevBit: whoever has the key may say so, whoever else has signed.
    fn revoke(&mut self, seen: &Observation, now: Time, changes: &mut Vec<Change>) {
        for revoked in &seen.revoked {
            let place = self.keys.iter().position(|key| key.data == revoked.data);
            match place.map(|place| &mut self.keys[place]) {
                Some(key) => {
                    if matches!(key.state, State::Valid | State::Missing) {
                        key.enter(State::Revoked, Event::Revoked, now, changes);
                    }
                }
                None => {
                    if revoked.is_configured && self.make_room() {
                        let mut key = Tracked::new(revoked, now);
                        key.enter(State::Revoked, Event::Revoked, now, changes);
                        self.keys.push(key);
                    }
                }
            }
        }
    }

    /// RemTime.
    fn remove(&mut self, now: Time, changes: &mut Vec<Change>) {
        for key in &mut self.keys {
            if key.state == State::Revoked && now >= key.since.saturating_add(HOLD_DOWN) {
                key.enter(State::Removed, Event::Removed, now, changes);
            }
        }
    }

    /// Makes sure that there is a place for one more key.
    fn make_room(&mut self) -> bool {
        let is_dispensable =
            |(_, key): &(usize, &Tracked)| key.state == State::Removed && !key.is_configured;
        if self.keys.len() < MAX_KEYS {
            return true;
        }
        let keys = self.keys.iter().enumerate();
        let oldest = keys
            .filter(is_dispensable)
            .min_by_key(|(_, key)| key.since)
            .map(|(place, _)| place);
        oldest.map(|place| self.keys.remove(place)).is_some()
    }

    /// KeyRem of pending keys: they are gone from a set that somebody trusted has
    /// signed, are revoked, or nobody is left of those who vouched for them
    /// (RFC 5011 §2.2).
    fn withdraw(&mut self, seen: &Observation, vouchers: &[Vec<u8>], changes: &mut Vec<Change>) {
        let distrusted: Vec<Vec<u8>> = self.distrusted().map(<[u8]>::to_vec).collect();
        self.keys.retain(|key| {
            let State::Pending { vouchers: own, .. } = &key.state else {
                return true;
            };
            let is = |one: &Seen| one.data == key.data;
            let is_gone = !vouchers.is_empty() && !seen.keys.iter().any(is);
            let is_revoked = seen.revoked.iter().any(is);
            let is_alone = own.iter().all(|one| distrusted.contains(one));
            let goes = is_gone || is_revoked || is_alone;
            if goes {
                changes.push(key.change(Event::Withdrawn));
            }
            !goes
        });
    }

    fn key_is_there(
        &mut self,
        seen: &Seen,
        vouchers: &[Vec<u8>],
        original_ttl: u32,
        now: Time,
        changes: &mut Vec<Change>,
    ) {
        if let Some(key) = self.keys.iter_mut().find(|key| key.data == seen.data) {
            match &key.state {
                State::Pending { until, .. } if now >= *until || seen.is_configured => {
                    key.enter(State::Valid, Event::Trusted, now, changes);
                }
                State::Missing => key.enter(State::Valid, Event::Back, now, changes),
                State::Pending { .. } | State::Valid | State::Revoked | State::Removed => {}
            }
            key.is_configured |= seen.is_configured;
            return;
        }
        if !self.make_room() {
            return;
        }
        let mut key = Tracked::new(seen, now);
        if seen.is_configured {
            changes.push(key.change(Event::Trusted));
        } else {
            // RFC 5011 §2.4.1.
            let trusted_at = now.saturating_add(HOLD_DOWN.max(original_ttl.into()));
            key.state = State::Pending {
                until: trusted_at,
                vouchers: vouchers.to_vec(),
            };
            changes.push(key.change(Event::New { trusted_at }));
        }
        self.keys.push(key);
    }
}

impl Tracked {
    /// A trusted one.
    fn new(seen: &Seen, now: Time) -> Self {
        Self {
            data: seen.data.clone(),
            is_configured: seen.is_configured,
            state: State::Valid,
            since: now,
        }
    }

    fn enter(&mut self, state: State, event: Event, now: Time, changes: &mut Vec<Change>) {
        self.state = state;
        self.since = now;
        changes.push(self.change(event));
    }

    fn change(&self, event: Event) -> Change {
        Change {
            data: self.data.clone(),
            event,
        }
    }
}

/// When to ask again after an answer that a trusted key has signed (RFC 5011 §2.3).
pub(crate) fn query_interval(original_ttl: u32, expires_in: u32) -> Duration {
    interval(FIFTEEN_DAYS, original_ttl / 2, expires_in / 2)
}

/// When to ask again after none (RFC 5011 §2.3).
pub(crate) fn retry_interval(original_ttl: u32, expires_in: u32) -> Duration {
    interval(DAY, original_ttl / 10, expires_in / 10)
}

fn interval(most: u32, of_ttl: u32, of_signature: u32) -> Duration {
    Duration::from_secs(most.min(of_ttl).min(of_signature).max(HOUR).into())
}

/// Add and remove hold-down time, in seconds (RFC 5011 §2.4).
const HOLD_DOWN: Time = 30 * 24 * 3_600;
const HOUR: u32 = 3_600;
const DAY: u32 = 24 * HOUR;
const FIFTEEN_DAYS: u32 = 15 * DAY;
/// Keys of one zone that are kept track of; RFC 5011 §2.4.3 asks for five.
pub(crate) const MAX_KEYS: usize = 16;

#[cfg(test)]
mod tests;
