//! The chain of trust, from an anchor down: which zone has a name, and with
//! which keys (RFC 4035 §5.2).
//!
//! ```text
//! anchor ─► DNSKEY of . ─► DS of example. ─► DNSKEY of example. ─► DS of www.example.: none, no zone
//! ```
//!
//! What is not known yet becomes a question, one at a time; what is asked and
//! answered is learned for all.

use std::sync::{Arc, PoisonError};

use crate::anchors::{Anchors, Governing, Trusted};
use crate::validate::budget::Budget;
use crate::validate::classify::{Scope, classify};
use crate::validate::denial::{Gap, What};
use crate::validate::key::{Key, Unusable};
use crate::validate::proofs::Proofs;
use crate::validate::signature::{self, Signed};
use crate::validate::verdict::{Fault, FaultKind, Insecure, Unsigned};
use crate::validate::zones::Cut;
use crate::validate::{Moment, Need, Validator};
use crate::wire::name::{Name, suffixes};
use crate::wire::order::{is_within, parent};
use crate::wire::record::Section;
use crate::wire::response::Response;
use crate::wire::rrset::RrSet;
use crate::wire::{Rcode, rtype};

/// Where a name is.
#[derive(Debug, Clone)]
pub(super) enum Located {
    /// In this zone, which has these keys.
    Zone(Name, Arc<[Key]>),
    /// Where nothing need be signed.
    Insecure(Insecure),
    /// Where no trust anchor reaches.
    Unknown,
    /// Where something that must be signed is not.
    Bogus(Fault),
    /// That is not known until this is answered.
    Ask(Need),
}

impl Validator {
    /// Walks down from the anchor that governs `name` to the zone that has it.
    pub(super) fn locate(&self, name: &Name, moment: Moment) -> Located {
        let anchors = self.anchors.read().unwrap_or_else(PoisonError::into_inner);
        let anchors = Arc::clone(&anchors);
        self.locate_under(&anchors, name, moment)
    }

    fn locate_under(&self, anchors: &Anchors, name: &Name, moment: Moment) -> Located {
        let (top, anchored) = match anchors.governing(name.as_wire()) {
            Governing::Keys(top, anchored) => (top, anchored),
            Governing::Negative(top) => {
                return Located::Insecure(insecure(top, Unsigned::NegativeAnchor));
            }
            Governing::Nothing => return Located::Unknown,
        };
        let mut steps: Vec<&[u8]> = suffixes(name.as_wire())
            .take_while(|suffix| suffix.len() >= top.len())
            .collect();
        steps.reverse();
        let mut at: Option<(Name, Arc<[Key]>)> = None;
        for step in steps {
            let ask = |rtype| {
                Located::Ask(Need {
                    name: owned(step),
                    rtype,
                })
            };
            match self.zones.get(step, moment.instant) {
                Some(Cut::Secure(keys)) => at = Some((owned(step), keys)),
                Some(Cut::Signed(_)) => return ask(rtype::DNSKEY),
                Some(Cut::Insecure(insecure)) => return Located::Insecure(insecure),
                Some(Cut::Bogus(fault)) => return Located::Bogus(fault),
                Some(Cut::Inside { is_empty: true }) => break,
                Some(Cut::Inside { is_empty: false }) => {}
                None if step != top => return ask(rtype::DS),
                None => match self.policy.usable(anchored) {
                    Ok(_) => return ask(rtype::DNSKEY),
                    Err(unusable) => {
                        return Located::Insecure(insecure(top, unusable.into()));
                    }
                },
            }
        }
        match at {
            Some((zone, keys)) => Located::Zone(zone, keys),
            None => Located::Unknown,
        }
    }

    /// Takes note of the answer to a question that [`Located::Ask`] named. What
    /// nobody wanted to know is left alone. An answer that is bogus is noted only
    /// if it is the `last` to be had; otherwise this gives false.
    pub(crate) fn learn(
        &self,
        need: &Need,
        response: &Response,
        last: bool,
        moment: Moment,
        budget: &mut Budget,
    ) -> bool {
        let sets = RrSet::all(response);
        let anchors = self.anchors.read().unwrap_or_else(PoisonError::into_inner);
        let learned = if need.rtype == rtype::DNSKEY {
            self.trusted_for(&anchors, &need.name, moment)
                .map(|trusted| self.keys_of(&need.name, &trusted, &sets, moment, budget))
        } else {
            let above = parent(need.name.as_wire()).map(owned);
            above.and_then(|above| match self.locate_under(&anchors, &above, moment) {
                Located::Zone(zone, keys) => {
                    let parent = Zone { name: zone, keys };
                    Some(self.cut_at(&need.name, &parent, &sets, response.rcode(), moment, budget))
                }
                _ => None,
            })
        };
        let Some((cut, seconds)) = learned else {
            return true;
        };
        let is_noted = last || !matches!(cut, Cut::Bogus(_));
        if is_noted {
            self.zones.insert(&need.name, cut, seconds, moment.instant);
        }
        is_noted
    }

    /// What is trusted for `zone`: what its parent signed, or an anchor.
    fn trusted_for(
        &self,
        anchors: &Anchors,
        zone: &Name,
        moment: Moment,
    ) -> Option<Arc<[Trusted]>> {
        if let Some(Cut::Signed(trusted)) = self.zones.get(zone.as_wire(), moment.instant) {
            return Some(trusted);
        }
        anchors.at(zone).map(Into::into)
    }

    /// The keys of `zone` (RFC 4035 §5.2): one that is trusted has to sign them all.
    pub(super) fn keys_of(
        &self,
        zone: &Name,
        trusted: &[Trusted],
        sets: &[RrSet],
        moment: Moment,
        budget: &mut Budget,
    ) -> (Cut, u32) {
        let usable = match self.policy.usable(trusted) {
            Ok(usable) => usable,
            Err(unusable) => {
                let cut = Cut::Insecure(insecure(zone.as_wire(), unusable.into()));
                return (cut, UNUSABLE);
            }
        };
        let bogus = |kind: FaultKind| (Cut::Bogus(kind.of(zone, rtype::DNSKEY)), u32::MAX);
        let Some(set) = find(sets, Section::Answer, zone, rtype::DNSKEY) else {
            return bogus(FaultKind::KeyMissing);
        };
        let keys: Vec<Key> = set.data.iter().filter_map(|data| Key::of(data)).collect();
        let named: Vec<&Key> = keys
            .iter()
            .take(MAX_KEYS)
            .filter(|key| {
                let mut usable = usable.iter().take(MAX_TRUSTED);
                usable.any(|one| key.is(zone.as_wire(), one))
            })
            .collect();
        if named.is_empty() {
            return bogus(FaultKind::KeyMissing);
        }
        let named = named.into_iter();
        match signature::check(set, zone, named, moment.wall, &self.policy, budget) {
            Ok(signed) => (Cut::Secure(keys.into()), signed.ttl),
            Err(kind) => bogus(kind),
        }
    }

    /// Whether `name` is a zone of its own, as its parent says.
    fn cut_at(
        &self,
        name: &Name,
        above: &Zone,
        sets: &[RrSet],
        rcode: Rcode,
        moment: Moment,
        budget: &mut Budget,
    ) -> (Cut, u32) {
        let bogus = |kind: FaultKind| (Cut::Bogus(kind.of(name, rtype::DS)), u32::MAX);
        let proofs = self.proofs(sets, above, moment, budget);
        if let Some(set) = find(sets, Section::Answer, name, rtype::DS) {
            return match self.check(set, above, moment, budget) {
                Ok(signed) if signed.expanded_from.is_none() => {
                    let trusted = set.data.iter().filter_map(|data| Trusted::of_ds(data));
                    (self.delegated(name, trusted.collect()), signed.ttl)
                }
                Ok(_) => bogus(FaultKind::Labels),
                Err(kind) => bogus(kind),
            };
        }
        let shape = match classify(sets, name, rtype::DS, rcode, Scope::Aliases(1)) {
            Ok(shape) => shape,
            Err(fault) => return (Cut::Bogus(fault), u32::MAX),
        };
        if let Some(link) = shape.links.first() {
            // An alias is no zone.
            let set = &sets[link.set];
            let is_dname = set.rtype == rtype::DNAME;
            return match self.check(set, above, moment, budget) {
                Ok(Signed {
                    ttl,
                    expanded_from: None,
                }) => (Cut::Inside { is_empty: is_dname }, ttl),
                Ok(Signed {
                    ttl,
                    expanded_from: Some(encloser),
                }) => match self.deny_closer(&proofs, above, name, &encloser, budget) {
                    Ok(_) => (Cut::Inside { is_empty: true }, ttl.min(proofs.ttl)),
                    Err(_) => bogus(FaultKind::DenialMissing),
                },
                Err(kind) => bogus(kind),
            };
        }
        let max = self.policy.nsec3_max_iterations;
        let denial = proofs
            .records
            .deny(&above.name, name.as_wire(), rtype::DS, max, budget);
        let cut = match denial {
            Ok(denial) if denial.opt_out => {
                Cut::Insecure(insecure(name.as_wire(), Unsigned::OptOut))
            }
            Ok(denial) => match denial.what {
                What::Type { delegation: true } => {
                    Cut::Insecure(insecure(name.as_wire(), Unsigned::Delegation))
                }
                What::Type { delegation: false } => Cut::Inside { is_empty: false },
                What::Wildcard | What::Name => Cut::Inside { is_empty: true },
            },
            Err(Gap::Iterations) => {
                Cut::Insecure(insecure(above.name.as_wire(), Unsigned::Iterations))
            }
            Err(Gap::Fault(kind)) => return bogus(proofs.fault.unwrap_or(kind)),
        };
        (cut, proofs.ttl)
    }

    fn delegated(&self, name: &Name, trusted: Vec<Trusted>) -> Cut {
        match self.policy.usable(&trusted) {
            Ok(_) => Cut::Signed(trusted.into()),
            Err(unusable) => Cut::Insecure(insecure(name.as_wire(), unusable.into())),
        }
    }

    /// The denials in `sets` that `zone` has signed.
    pub(super) fn proofs(
        &self,
        sets: &[RrSet],
        zone: &Zone,
        moment: Moment,
        budget: &mut Budget,
    ) -> SignedProofs {
        let mut proofs = SignedProofs {
            records: Proofs::default(),
            sets: Vec::new(),
            ttl: u32::MAX,
            fault: None,
        };
        let denying = |set: &RrSet| {
            set.section == Section::Authority
                && matches!(set.rtype, rtype::NSEC | rtype::NSEC3)
                && is_within(set.owner.as_wire(), zone.name.as_wire())
        };
        let candidates = sets.iter().enumerate().filter(|(_, set)| denying(set));
        for (at, set) in candidates.take(crate::validate::budget::DENIALS) {
            match self.check(set, zone, moment, budget) {
                // What a wildcard made says nothing about the name that it was made for.
                Ok(signed) if signed.expanded_from.is_none() => {
                    proofs.records.add(set, &zone.name);
                    proofs.sets.push((at, signed.ttl));
                    proofs.ttl = proofs.ttl.min(signed.ttl);
                }
                Ok(_) => {}
                Err(kind) => proofs.fault = proofs.fault.max(Some(kind)),
            }
        }
        proofs
    }

    /// Whether nothing is closer to `name` than the wildcard below `encloser`.
    /// Gives whether opt-out, or too many iterations, leave that open.
    pub(super) fn deny_closer(
        &self,
        proofs: &SignedProofs,
        zone: &Zone,
        name: &Name,
        encloser: &Name,
        budget: &mut Budget,
    ) -> Result<Option<Unsigned>, FaultKind> {
        let max = self.policy.nsec3_max_iterations;
        let (name, encloser) = (name.as_wire(), encloser.as_wire());
        match proofs
            .records
            .deny_closer(&zone.name, name, encloser, max, budget)
        {
            Ok(opt_out) => Ok(opt_out.then_some(Unsigned::OptOut)),
            Err(Gap::Iterations) => Ok(Some(Unsigned::Iterations)),
            Err(Gap::Fault(kind)) => Err(proofs.fault.unwrap_or(kind)),
        }
    }

    pub(super) fn check(
        &self,
        set: &RrSet,
        zone: &Zone,
        moment: Moment,
        budget: &mut Budget,
    ) -> Result<Signed, FaultKind> {
        let keys = zone.keys.iter();
        signature::check(set, &zone.name, keys, moment.wall, &self.policy, budget)
    }
}

/// A zone with its keys.
#[derive(Debug, Clone)]
pub(super) struct Zone {
    pub(super) name: Name,
    pub(super) keys: Arc<[Key]>,
}

/// Denials whose signatures are good.
#[derive(Debug)]
pub(super) struct SignedProofs {
    pub(super) records: Proofs,
    /// The sets that they come from, and their TTLs.
    pub(super) sets: Vec<(usize, u32)>,
    /// The shortest of those.
    pub(super) ttl: u32,
    /// What is wrong with one whose signature is not.
    pub(super) fault: Option<FaultKind>,
}

impl From<Unusable> for Unsigned {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::Algorithm => Self::Algorithm,
            Unusable::Digest => Self::Digest,
        }
    }
}

pub(super) fn find<'a>(
    sets: &'a [RrSet],
    section: Section,
    owner: &Name,
    rtype: u16,
) -> Option<&'a RrSet> {
    sets.iter()
        .find(|set| set.section == section && set.rtype == rtype && set.owner == *owner)
}

pub(super) fn insecure(zone: &[u8], why: Unsigned) -> Insecure {
    Insecure {
        zone: owned(zone),
        why,
    }
}

/// A suffix of a name is a name.
pub(super) fn owned(name: &[u8]) -> Name {
    Name::from_wire(name).unwrap_or_else(Name::root)
}

/// Keys of a zone, and digests of its parent, that are compared with each other.
pub(super) const MAX_KEYS: usize = 64;
const MAX_TRUSTED: usize = 16;
/// Seconds for which a zone stays insecure whose keys are of no use.
const UNUSABLE: u32 = 300;
