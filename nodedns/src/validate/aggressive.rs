//! Denials that were proved once and answer other questions, too (RFC 8198): the signed
//! NSEC and NSEC3 records of each zone, in their order, and its SOA.
//!
//! ```text
//! judge, secure ─► learn ─► by zone: NSEC by name, NSEC3 by hash
//! a question ─► deny: the records around it and its wildcard ─► denial: do they prove it? ─► answer
//! ```
//!
//! What is proved is decided by the very code that judges responses: here the records are
//! only found. Those with opt-out prove nothing about what they cover, and are not taken.
//! Answers are never made from wildcards that have data. Pure; a lock is held for a look-up.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::validate::budget::Budget;
use crate::validate::denial::{Proofs, What};
use crate::validate::nsec::Nsec;
use crate::validate::nsec3::Nsec3;
use crate::validate::verdict::{Judged, Verdict};
use crate::wire::name::{Name, suffixes};
use crate::wire::order::{is_within, label_count, last_labels, wildcard};
use crate::wire::response::Response;
use crate::wire::rrset::RrSet;
use crate::wire::{CLASS_IN, Rcode, flag, rtype};

/// What was proved not to exist. Shared by all workers.
#[derive(Debug, Default)]
pub(super) struct Denials {
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
    bytes: usize,
}

/// A set of records with its signatures, for as long as it may be used.
#[derive(Debug, Clone)]
struct Proof {
    set: RrSet,
    until: Instant,
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

impl Denials {
    /// Takes in a set that is signed by `zone` and may be kept for `ttl` seconds.
    pub(super) fn learn(&self, zone: &Name, set: &RrSet, ttl: u32, now: Instant) {
        let proof = Proof {
            set: set.clone(),
            until: now + Duration::from_secs(ttl.into()).min(LONGEST),
        };
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
                bytes: 0,
            });
        let before = match set.rtype {
            rtype::SOA => known.soa.replace(proof),
            rtype::NSEC => known.nsec.insert(place(set.owner.as_wire()), proof),
            rtype::NSEC3 => {
                let Some(record) = Nsec3::of(set, zone).next().filter(|one| !one.opts_out()) else {
                    return;
                };
                known.nsec3.insert(record.hash().to_vec(), proof)
            }
            _ => return,
        };
        let gone = before.map_or(0, |before| before.size());
        known.bytes = known.bytes + size - gone;
        state.bytes = state.bytes + size - gone;
    }

    /// The answer to what is `asked`, if it is proved that there is none.
    pub(super) fn deny(
        &self,
        asked: &Asked<'_>,
        max_iterations: u16,
        now: Instant,
    ) -> Option<Judged> {
        // Of a name that is delegated the zone above it has the DS: that is asked for.
        if asked.rtype == rtype::DS {
            return None;
        }
        let state = self.lock();
        let known = suffixes(asked.name)
            .take_while(|suffix| suffix.len() >= asked.within.as_wire().len())
            .find_map(|suffix| state.zones.get(suffix))?;
        let zone = &known.zone;
        let soa = known.soa.as_ref().filter(|soa| now < soa.until)?;
        let proofs = known.around(asked.name, max_iterations, now);
        let mut records = Proofs::default();
        for proof in &proofs {
            records.add(&proof.set, zone);
        }
        let denial = records
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
        let response = response(asked, rcode, soa, &proofs, now)?;
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
    /// What has run out goes, and if that is too little the zone with the most: who has
    /// himself asked for names without end loses his own.
    fn make_room(&mut self, now: Instant) {
        for known in self.zones.values_mut() {
            known.nsec.retain(|_, proof| now < proof.until);
            known.nsec3.retain(|_, proof| now < proof.until);
            known.soa.take_if(|soa| now >= soa.until);
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
        let sets = self.nsec.values().chain(self.nsec3.values());
        sets.chain(&self.soa).map(Proof::size).sum()
    }

    /// What may prove that there is nothing at `name`: the records at or before it and the
    /// wildcard that would stand for it.
    fn around(&self, name: &[u8], max_iterations: u16, now: Instant) -> Vec<&Proof> {
        let zone = &self.zone;
        let mut found = Vec::new();
        if let Some(at) = before(&self.nsec, &place(name)) {
            found.push(at);
            let encloser = Nsec::of(&at.set)
                .next()
                .map(|nsec| nsec.encloser(name).to_vec());
            if let Some(star) = encloser.and_then(|encloser| wildcard(&encloser)) {
                found.extend(before(&self.nsec, &place(star.as_wire())));
            }
        } else if let Some(first) = self
            .nsec3
            .values()
            .find_map(|proof| Nsec3::of(&proof.set, zone).next())
            && first.iterations() <= max_iterations
        {
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
        found.retain(|proof| now < proof.until);
        found.sort_by_key(|proof| std::ptr::from_ref::<Proof>(proof));
        found.dedup_by_key(|proof| std::ptr::from_ref::<Proof>(proof));
        found
    }
}

/// The record at `key`, or the last before it; before the first is the last.
fn before<'a>(records: &'a BTreeMap<Vec<u8>, Proof>, key: &[u8]) -> Option<&'a Proof> {
    let upto = (std::ops::Bound::Unbounded, std::ops::Bound::Included(key));
    let found = records.range::<[u8], _>(upto).next_back();
    found
        .or_else(|| records.last_key_value())
        .map(|(_, proof)| proof)
}

impl Proof {
    fn size(&self) -> usize {
        let data: usize = self.set.data.iter().map(Vec::len).sum();
        let signatures = self.set.signatures.iter();
        let signed: usize = signatures
            .map(|one| one.signed_fields.len() + one.signature.len() + size_of_val(one))
            .sum();
        size_of::<Self>() + OVERHEAD + 3 * self.set.owner.as_wire().len() + data + signed
    }

    /// Its records, and how many there are, with the time that is left as their TTL.
    fn put(&self, wire: &mut Vec<u8>, with_signatures: bool, now: Instant) -> u16 {
        let left = self.until.saturating_duration_since(now).as_secs();
        let ttl = u32::try_from(left).unwrap_or(u32::MAX);
        let owner = self.set.owner.as_wire();
        let mut count = 0;
        let mut put = |rtype: u16, data: &[&[u8]]| {
            let length: usize = data.iter().map(|part| part.len()).sum();
            wire.extend_from_slice(owner);
            wire.extend_from_slice(&rtype.to_be_bytes());
            wire.extend_from_slice(&CLASS_IN.to_be_bytes());
            wire.extend_from_slice(&ttl.to_be_bytes());
            wire.extend_from_slice(&(length as u16).to_be_bytes());
            for part in data {
                wire.extend_from_slice(part);
            }
            count += 1;
        };
        for data in &self.set.data {
            put(self.set.rtype, &[data]);
        }
        for signature in self.set.signatures.iter().filter(|_| with_signatures) {
            put(
                rtype::RRSIG,
                &[&signature.signed_fields, &signature.signature],
            );
        }
        count
    }
}

/// The response that says so.
fn response(
    asked: &Asked<'_>,
    rcode: Rcode,
    soa: &Proof,
    proofs: &[&Proof],
    now: Instant,
) -> Option<Response> {
    let mut wire = Vec::with_capacity(1_024);
    wire.extend_from_slice(&[0, 0]);
    wire.extend_from_slice(&(flag::QR | rcode.0).to_be_bytes());
    wire.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    wire.extend_from_slice(asked.name);
    wire.extend_from_slice(&asked.rtype.to_be_bytes());
    wire.extend_from_slice(&CLASS_IN.to_be_bytes());
    let mut count = soa.put(&mut wire, asked.dnssec_ok, now);
    for proof in proofs.iter().filter(|_| asked.dnssec_ok) {
        count += proof.put(&mut wire, true, now);
    }
    wire[AUTHORITY_COUNT..AUTHORITY_COUNT + 2].copy_from_slice(&count.to_be_bytes());
    Response::parse(wire)
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

/// Where the number of records in the authority section stands in a message.
const AUTHORITY_COUNT: usize = 8;
/// As for any denial: what comes into being is to be seen some day (RFC 8198 §5.4).
const LONGEST: Duration = Duration::from_secs(3_600);
/// Beside the cache. A record takes some 600 bytes.
const MOST_BYTES: usize = 4 << 20;
/// Nodes of the trees, and what each vector has of its own.
const OVERHEAD: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::order::compare;
    use crate::wire::record::Section;
    use proptest::prelude::*;

    fn name(text: &str) -> Name {
        Name::from_text(text).unwrap()
    }

    fn set(owner: &str, rtype: u16, data: Vec<u8>) -> RrSet {
        RrSet {
            section: Section::Authority,
            owner: name(owner),
            rtype,
            ttl: 60,
            data: vec![data],
            records: Vec::new(),
            signatures: Vec::new(),
        }
    }

    /// The record at `owner`, which has these types below 256.
    fn nsec(owner: &str, next: &str, types: &[u8]) -> RrSet {
        let mut bits = [0; 32];
        for rtype in types {
            bits[usize::from(rtype / 8)] |= 0x80 >> (rtype % 8);
        }
        let data = [name(next).as_wire(), &[0, 32], &bits].concat();
        set(owner, rtype::NSEC, data)
    }

    const SOA: [u8; 22] = [
        0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 60,
    ];

    struct World {
        denials: Denials,
        now: Instant,
    }

    impl World {
        /// `example.` with the names a, *.w and z, all of which have an A.
        fn new() -> Self {
            let (denials, now) = (Denials::default(), Instant::now());
            let zone = name("example");
            let records = [
                set("example", rtype::SOA, SOA.to_vec()),
                nsec("example", "a.example", &[2, 6]),
                nsec("a.example", "sub.example", &[1]),
                nsec("sub.example", "*.w.example", &[2]),
                nsec("*.w.example", "z.example", &[1]),
                nsec("z.example", "example", &[1]),
            ];
            for record in &records {
                denials.learn(&zone, record, 60, now);
            }
            Self { denials, now }
        }

        fn ask(&self, text: &str, rtype: u16, within: &str) -> Option<Rcode> {
            let (asked, within) = (name(text), name(within));
            let asked = Asked {
                name: asked.as_wire(),
                rtype,
                dnssec_ok: true,
                within: &within,
            };
            let judged = self.denials.deny(&asked, 50, self.now)?;
            assert!(judged.is_secure());
            Some(judged.response().rcode())
        }
    }

    #[test]
    fn what_was_proved_of_one_name_denies_others() {
        let world = World::new();
        for (name, expected) in [
            ("b.example", Some(Rcode::NXDOMAIN)),
            ("x.y.b.example", Some(Rcode::NXDOMAIN)),
            ("zz.example", Some(Rcode::NXDOMAIN)),
            // It is there, with another type.
            ("a.example", None),
            // There is something below it.
            ("w.example", Some(Rcode::NOERROR)),
            // A wildcard stands for it.
            ("any.w.example", None),
            // Delegated: its own servers know.
            ("x.sub.example", None),
            ("sub.example", None),
            // Of another zone.
            ("b.test", None),
        ] {
            assert_eq!(world.ask(name, 1, "."), expected, "{name}");
        }
        assert_eq!(world.ask("a.example", 28, "."), Some(Rcode::NOERROR));
        assert_eq!(world.ask("any.w.example", 28, "."), Some(Rcode::NOERROR));
        assert_eq!(world.ask("b.example", rtype::DS, "."), None);
    }

    #[test]
    fn a_zone_above_the_one_that_is_asked_says_nothing() {
        let world = World::new();
        assert_eq!(world.ask("x.b.example", 1, "b.example"), None);
        assert_eq!(
            world.ask("x.b.example", 1, "example"),
            Some(Rcode::NXDOMAIN)
        );
    }

    #[test]
    fn proofs_run_out_and_can_be_forgotten() {
        let mut world = World::new();
        world.now += Duration::from_secs(59);
        assert!(world.ask("b.example", 1, ".").is_some());
        world.now += Duration::from_secs(1);
        assert!(world.ask("b.example", 1, ".").is_none());
        let world = World::new();
        world.denials.clear();
        assert!(world.ask("b.example", 1, ".").is_none());
    }

    #[test]
    fn a_zone_without_end_takes_its_own_room_only() {
        let world = World::new();
        let zone = name("flood");
        for number in 0..20_000 {
            let (owner, next) = (format!("n{number}.flood"), format!("n{number}a.flood"));
            world
                .denials
                .learn(&zone, &nsec(&owner, &next, &[1]), 60, world.now);
        }
        assert!(world.denials.lock().bytes <= MOST_BYTES);
        assert_eq!(world.ask("b.example", 1, "."), Some(Rcode::NXDOMAIN));
    }

    proptest! {
        #[test]
        fn places_sort_as_names_do(
            one in prop::collection::vec(prop::collection::vec(0_u8..4, 1..4), 0..5),
            other in prop::collection::vec(prop::collection::vec(0_u8..4, 1..4), 0..5),
        ) {
            let wire = |labels: &[Vec<u8>]| {
                let mut wire: Vec<u8> = labels.iter().flat_map(|label| [&[label.len() as u8][..], label].concat()).collect();
                wire.push(0);
                wire
            };
            let (one, other) = (wire(&one), wire(&other));
            prop_assert_eq!(place(&one).cmp(&place(&other)), compare(&one, &other));
        }
    }
}
