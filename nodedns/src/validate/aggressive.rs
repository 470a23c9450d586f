//! What was proved once answers other questions, too (RFC 8198): the signed NSEC and NSEC3
//! records of each zone, in their order, its SOA, and the sets of its wildcards.
//!
//! ```text
//! judge, secure ─► learn, learn_wildcard ─► by zone: NSEC by name, NSEC3 by hash, wildcards by name and type
//! a question ─► answer ─┬► the records around it and its wildcard ─► proofs: do they deny it? ──────────┬► response
//!                       └► a wildcard above it, the record around it ─► proofs: is there nothing closer?┘
//! ```
//!
//! What is proved is decided by the very code that judges responses: here the records are
//! only found. Those with opt-out prove nothing about what they cover, and are not taken. Of
//! wildcards that are aliases nothing is made: where they lead has to be asked for in any case.
//! Pure; a lock is held for a look-up.

mod proof;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::validate::aggressive::proof::{Message, Proof};
use crate::validate::budget::Budget;
use crate::validate::denial::What;
use crate::validate::nsec::Nsec;
use crate::validate::nsec3::Nsec3;
use crate::validate::proofs::Proofs;
use crate::validate::verdict::{Judged, Verdict};
use crate::wire::name::{Name, suffixes};
use crate::wire::order::{is_within, label_count, last_labels, wildcard};
use crate::wire::response::Response;
use crate::wire::rrset::RrSet;
use crate::wire::{Rcode, rtype};

/// What was proved of signed zones. Shared by all workers.
#[derive(Debug, Default)]
pub(super) struct Proved {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    zones: HashMap<Box<[u8]>, Known>,
    bytes: usize,
}

/// The proofs of one zone.
#[derive(Debug)]
struct Known {
    zone: Name,
    soa: Option<Proof>,
    /// By [`place`].
    nsec: BTreeMap<Vec<u8>, Proof>,
    /// By hash.
    nsec3: BTreeMap<Vec<u8>, Proof>,
    /// By [`above`].
    wildcards: BTreeMap<Vec<u8>, Proof>,
    bytes: usize,
}

/// Where a proof is kept.
enum Slot {
    Soa,
    Nsec(Vec<u8>),
    Nsec3(Vec<u8>),
    Wildcard(Vec<u8>),
}

/// What is asked.
pub(crate) struct Asked<'a> {
    /// In lower case and wire form.
    pub(crate) name: &'a [u8],
    pub(crate) rtype: u16,
    /// Whether the proof is wanted as well.
    pub(crate) dnssec_ok: bool,
    /// Who is outside of this zone has nothing to say.
    pub(crate) within: &'a Name,
}

impl Proved {
    /// Takes in a set that is signed by `zone` and may be kept for `ttl` seconds, if it
    /// denies anything or is the zone's SOA.
    pub(super) fn learn(&self, zone: &Name, set: &RrSet, ttl: u32, now: Instant) {
        let slot = match set.rtype {
            rtype::SOA => Slot::Soa,
            rtype::NSEC => Slot::Nsec(place(set.owner.as_wire())),
            rtype::NSEC3 => match Nsec3::of(set, zone).next() {
                Some(record) if !record.opts_out() => Slot::Nsec3(record.hash().to_vec()),
                _ => return,
            },
            _ => return,
        };
        self.keep(zone, slot, Proof::new(set.clone(), ttl, now), now);
    }

    /// Takes in a set that `zone` has signed for the wildcard below `encloser`, and that
    /// may be kept for `ttl` seconds.
    pub(super) fn learn_wildcard(
        &self,
        zone: &Name,
        encloser: &Name,
        set: &RrSet,
        ttl: u32,
        now: Instant,
    ) {
        if matches!(set.rtype, rtype::CNAME | rtype::DNAME | rtype::NSEC) {
            return;
        }
        let slot = Slot::Wildcard(above(encloser.as_wire(), set.rtype));
        self.keep(zone, slot, Proof::new(set.clone(), ttl, now), now);
    }

    fn keep(&self, zone: &Name, slot: Slot, mut proof: Proof, now: Instant) {
        let size = proof.size();
        let mut state = self.lock();
        if state.bytes + size > MOST_BYTES {
            state.make_room(now);
        }
        let known = state
            .zones
            .entry(zone.as_wire().into())
            .or_insert_with(|| Known {
                zone: zone.clone(),
                soa: None,
                nsec: BTreeMap::new(),
                nsec3: BTreeMap::new(),
                wildcards: BTreeMap::new(),
                bytes: 0,
            });
        if matches!(slot, Slot::Nsec(_) | Slot::Nsec3(_))
            && let Some(soa) = &known.soa
        {
            proof.limit(soa, now);
        }
        let before = match slot {
            Slot::Soa => known.soa.replace(proof),
            Slot::Nsec(place) => known.nsec.insert(place, proof),
            Slot::Nsec3(hash) => known.nsec3.insert(hash, proof),
            Slot::Wildcard(above) => known.wildcards.insert(above, proof),
        };
        let gone = before.map_or(0, |before| before.size());
        known.bytes = known.bytes + size - gone;
        state.bytes = state.bytes + size - gone;
    }

    /// The answer to what is `asked`, if it follows from what was proved: that there is none,
    /// or that of a wildcard.
    pub(super) fn answer(
        &self,
        asked: &Asked<'_>,
        max_iterations: u16,
        now: Instant,
    ) -> Option<Judged> {
        let state = self.lock();
        let known = state.of(asked)?;
        let response = known
            .denial(asked, max_iterations, now)
            .or_else(|| known.expansion(asked, max_iterations, now))?;
        Some(Judged::new(response, &Verdict::Secure))
    }

    /// The denial of what is `asked`, if it follows from NSEC records and nobody else looks just
    /// now: it costs little, and waits for nobody.
    pub(super) fn deny_at_once(&self, asked: &Asked<'_>, now: Instant) -> Option<Judged> {
        let state = self.state.try_lock().ok()?;
        let known = state.of(asked).filter(|known| known.nsec3.is_empty())?;
        // Nothing is hashed.
        let response = known.denial(asked, 0, now)?;
        Some(Judged::new(response, &Verdict::Secure))
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        *self.lock() = State::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The proofs of the innermost zone that has what is `asked`.
    fn of(&self, asked: &Asked<'_>) -> Option<&Known> {
        // Of a name that is delegated the zone above it has the DS: that is asked for.
        if asked.rtype == rtype::DS {
            return None;
        }
        suffixes(asked.name)
            .take_while(|suffix| suffix.len() >= asked.within.as_wire().len())
            .find_map(|suffix| self.zones.get(suffix))
    }

    /// What has run out goes, and if that is too little the zone with the most: who has
    /// himself asked for names without end loses his own.
    fn make_room(&mut self, now: Instant) {
        for known in self.zones.values_mut() {
            for proofs in [&mut known.nsec, &mut known.nsec3, &mut known.wildcards] {
                proofs.retain(|_, proof| now < proof.until());
            }
            known.soa.take_if(|soa| now >= soa.until());
            known.bytes = known.size();
        }
        self.zones.retain(|_, known| known.bytes > 0);
        self.bytes = self.zones.values().map(|known| known.bytes).sum();
        while self.bytes > MOST_BYTES / 2
            && let Some((zone, bytes)) = self
                .zones
                .iter()
                .map(|(zone, known)| (zone.clone(), known.bytes))
                .max_by_key(|(_, bytes)| *bytes)
        {
            self.zones.remove(&zone);
            self.bytes -= bytes;
        }
    }
}

impl Known {
    fn size(&self) -> usize {
        let sets = [&self.nsec, &self.nsec3, &self.wildcards];
        let sets = sets.into_iter().flat_map(BTreeMap::values);
        sets.chain(&self.soa).map(Proof::size).sum()
    }

    /// The response that says that there is none.
    fn denial(&self, asked: &Asked<'_>, max_iterations: u16, now: Instant) -> Option<Response> {
        let zone = &self.zone;
        let soa = self.soa.as_ref().filter(|soa| now < soa.until())?;
        let proofs = self.around(asked.name, max_iterations, now);
        let denial = records(zone, &proofs)
            .deny(
                zone,
                asked.name,
                asked.rtype,
                max_iterations,
                &mut Budget::new(),
            )
            .ok()
            .filter(|denial| !denial.opt_out)?;
        let rcode = match denial.what {
            What::Name => Rcode::NXDOMAIN,
            What::Type { delegation: false } | What::Wildcard => Rcode::NOERROR,
            // Its own servers know.
            What::Type { delegation: true } => return None,
        };
        let mut message = Message::new(asked, rcode, now);
        message.authority(soa);
        message.proofs(&proofs);
        message.response()
    }

    /// The response that a wildcard gives, there being nothing closer to the name (RFC 8198
    /// §5.3): the same proof goes with it as with the zone's own (RFC 4035 §3.1.3.3).
    fn expansion(&self, asked: &Asked<'_>, max_iterations: u16, now: Instant) -> Option<Response> {
        let (zone, name) = (&self.zone, asked.name);
        let enclosers = suffixes(name)
            .skip(1)
            .take_while(|one| is_within(one, zone.as_wire()));
        let (encloser, source) = enclosers.into_iter().find_map(|encloser| {
            let source = self.wildcards.get(&above(encloser, asked.rtype))?;
            (now < source.until()).then_some((encloser, source))
        })?;
        let proof = match before(&self.nsec, &place(name)) {
            Some(at) => at,
            None => {
                let closer = last_labels(name, label_count(encloser) + 1);
                before(&self.nsec3, &self.hashing(max_iterations)?.hash_of(closer)?)?
            }
        };
        let is_open = records(zone, &[proof])
            .deny_closer(zone, name, encloser, max_iterations, &mut Budget::new())
            .ok()?;
        if is_open || now >= proof.until() {
            return None;
        }
        let mut message = Message::new(asked, Rcode::NOERROR, now);
        // Nobody is to believe it for longer than its proof (RFC 8198 §5.4).
        message.answer(source, proof.until());
        message.proofs(&[proof]);
        message.response()
    }

    /// What may prove that there is nothing at `name`: the records at or before it and the
    /// wildcard that would stand for it.
    fn around(&self, name: &[u8], max_iterations: u16, now: Instant) -> Vec<&Proof> {
        let zone = &self.zone;
        let mut found = Vec::new();
        if let Some(at) = before(&self.nsec, &place(name)) {
            found.push(at);
            let encloser = Nsec::of(at.set())
                .next()
                .map(|nsec| nsec.encloser(name).to_vec());
            if let Some(star) = encloser.and_then(|encloser| wildcard(&encloser)) {
                found.extend(before(&self.nsec, &place(star.as_wire())));
            }
        } else if let Some(first) = self.hashing(max_iterations) {
            let at = |name: &[u8]| self.nsec3.get(&first.hash_of(name)?);
            let mut here = suffixes(name).take_while(|one| is_within(one, zone.as_wire()));
            if let Some((encloser, exact)) = here.find_map(|one| Some((one, at(one)?))) {
                found.push(exact);
                let closer = last_labels(name, label_count(encloser) + 1);
                let star = wildcard(encloser);
                let names = [Some(closer), star.as_ref().map(Name::as_wire)];
                let hashes = names.into_iter().flatten();
                let hashes = hashes.filter_map(|name| first.hash_of(name));
                found.extend(hashes.filter_map(|hash| before(&self.nsec3, &hash)));
            }
        }
        found.retain(|proof| now < proof.until());
        found.sort_by_key(|proof| std::ptr::from_ref::<Proof>(proof));
        found.dedup_by_key(|proof| std::ptr::from_ref::<Proof>(proof));
        found
    }

    /// One of the zone's NSEC3 records, to hash names as they are, unless that is too much work.
    fn hashing(&self, max_iterations: u16) -> Option<Nsec3> {
        let mut proofs = self.nsec3.values();
        proofs
            .find_map(|proof| Nsec3::of(proof.set(), &self.zone).next())
            .filter(|first| first.iterations() <= max_iterations)
    }
}

fn records(zone: &Name, proofs: &[&Proof]) -> Proofs {
    let mut records = Proofs::default();
    for proof in proofs {
        records.add(proof.set(), zone);
    }
    records
}

/// The record at `key`, or the last before it; before the first is the last.
fn before<'a>(records: &'a BTreeMap<Vec<u8>, Proof>, key: &[u8]) -> Option<&'a Proof> {
    let upto = (std::ops::Bound::Unbounded, std::ops::Bound::Included(key));
    let found = records.range::<[u8], _>(upto).next_back();
    found
        .or_else(|| records.last_key_value())
        .map(|(_, proof)| proof)
}

/// Where `name` stands among all names, as bytes that sort as they do (RFC 4034 §6.1): its
/// labels from the last to the first, each ended by a zero, which no label has in it then.
fn place(name: &[u8]) -> Vec<u8> {
    let labels = suffixes(name).filter_map(|suffix| suffix.get(1..=usize::from(suffix[0])));
    let labels: Vec<&[u8]> = labels.filter(|label| !label.is_empty()).collect();
    let mut place = Vec::with_capacity(name.len() + 8);
    for label in labels.iter().rev() {
        for byte in *label {
            match byte {
                0 | 1 => place.extend_from_slice(&[1, byte + 1]),
                _ => place.push(*byte),
            }
        }
        place.push(0);
    }
    place
}

/// What the wildcard below `encloser` is kept under.
fn above(encloser: &[u8], rtype: u16) -> Vec<u8> {
    [encloser, &rtype.to_be_bytes()].concat()
}

/// As for any denial: what comes into being is to be seen some day (RFC 8198 §5.4).
const LONGEST: Duration = Duration::from_secs(3_600);
/// Beside the cache. A record takes some 600 bytes.
const MOST_BYTES: usize = 4 << 20;
