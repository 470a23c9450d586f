//! One response, link by link (RFC 4035 §5): which zone has each name, whether
//! that zone signed what is said of it, and what the whole is worth.

use std::collections::HashMap;

use crate::validate::budget::Budget;
use crate::validate::chain::{Located, SignedProofs, Zone, insecure, owned};
use crate::validate::classify::{End, Link, Scope, classify};
use crate::validate::denial::{Gap, What};
use crate::validate::verdict::{Fault, FaultKind, Unsigned, Verdict};
use crate::validate::{Moment, Need, Validator};
use crate::wire::name::Name;
use crate::wire::order::{is_below, is_within, parent};
use crate::wire::record::Section;
use crate::wire::rrset::RrSet;
use crate::wire::{Rcode, rtype};

/// A response while it is looked at.
pub(super) struct Examination<'a> {
    pub(super) validator: &'a Validator,
    pub(super) sets: &'a [RrSet],
    pub(super) rcode: Rcode,
    pub(super) moment: Moment,
    pub(super) budget: &'a mut Budget,
    /// The sets that belong to the answer, and the TTL of those that are signed.
    pub(super) kept: HashMap<usize, Option<u32>>,
    /// The denials of the zones met so far.
    pub(super) proofs: HashMap<Name, SignedProofs>,
    /// The sets that wildcards gave, as is proved.
    pub(super) expanded: Vec<Expanded>,
}

/// A set that was made from a wildcard.
pub(super) struct Expanded {
    pub(super) set: usize,
    /// Who signed it.
    pub(super) zone: Name,
    /// What the wildcard stands below.
    pub(super) encloser: Name,
}

/// Why it cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Halt {
    /// This has to be known first.
    Ask(Need),
    /// It is bogus.
    Bogus(Fault),
}

/// Whose word counts for a part of the response.
enum Place {
    Zone(Zone),
    /// Nobody's: this is what the part is worth.
    Unsigned(Verdict),
}

impl Examination<'_> {
    /// What the response to `name` and `rtype` is worth.
    pub(super) fn run(&mut self, name: &Name, rtype: u16, scope: Scope) -> Result<Verdict, Halt> {
        let shape = classify(self.sets, name, rtype, self.rcode, scope).map_err(Halt::Bogus)?;
        // First all places, for a question starts it all over; then signatures.
        let mut links = Vec::with_capacity(shape.links.len());
        for link in &shape.links {
            links.push((link, self.place_of_set(link.set)?));
        }
        let end = match shape.end {
            End::Data(set) => Some(self.place_of_set(set)?),
            End::Denial => Some(self.place_of_denial(&shape.name, rtype)?),
            End::Link | End::Open => None,
        };
        let mut verdict = Verdict::Secure;
        for (link, place) in links {
            verdict = verdict.worse(self.link(link, place)?);
        }
        let end = match (shape.end, end) {
            (End::Data(set), Some(place)) => self.data(set, place)?,
            (End::Denial, Some(place)) => self.denial(&shape.name, rtype, place)?,
            _ => Verdict::Secure,
        };
        Ok(verdict.worse(end))
    }

    fn link(&mut self, link: &Link, place: Place) -> Result<Verdict, Halt> {
        if let Some(made) = link.synthesized {
            // As good as its DNAME, and no longer.
            self.kept.insert(made, None);
        }
        let verdict = self.signed_set(link.set, &link.name, place)?;
        if let (Some(made), Some(ttl)) = (link.synthesized, self.kept.get(&link.set).copied()) {
            self.kept.insert(made, ttl);
        }
        Ok(verdict)
    }

    fn data(&mut self, set: usize, place: Place) -> Result<Verdict, Halt> {
        let (owner, rtype) = (&self.sets[set].owner, self.sets[set].rtype);
        if self.rcode != Rcode::NOERROR && matches!(place, Place::Zone(_)) {
            return Err(Halt::Bogus(FaultKind::Code.of(owner, rtype)));
        }
        self.signed_set(set, owner, place)
    }

    /// What the set with this number, which speaks of `name`, is worth.
    fn signed_set(&mut self, number: usize, name: &Name, place: Place) -> Result<Verdict, Halt> {
        let set = &self.sets[number];
        let zone = match place {
            Place::Zone(zone) => zone,
            Place::Unsigned(verdict) => {
                self.kept.insert(number, None);
                return Ok(verdict);
            }
        };
        let checked = self.validator.check(set, &zone, self.moment, self.budget);
        let signed = match checked {
            Ok(signed) => signed,
            Err(kind) => {
                let found = kind.of(&set.owner, set.rtype);
                let verdict = self.excuse(&set.owner, set.rtype, found)?;
                self.kept.insert(number, None);
                return Ok(verdict);
            }
        };
        self.kept.insert(number, Some(signed.ttl));
        let Some(encloser) = signed.expanded_from else {
            return Ok(Verdict::Secure);
        };
        self.load_proofs(&zone);
        let proofs = &self.proofs[&zone.name];
        let open = self
            .validator
            .deny_closer(proofs, &zone, name, &encloser, self.budget)
            .map_err(|kind| Halt::Bogus(kind.of(name, set.rtype)))?;
        self.keep_proofs(&zone.name);
        if let Some(why) = open {
            return Ok(Verdict::Insecure(insecure(zone.name.as_wire(), why)));
        }
        self.expanded.push(Expanded {
            set: number,
            zone: zone.name,
            encloser,
        });
        Ok(Verdict::Secure)
    }

    /// What the absence of `rtype` at `name` is worth.
    fn denial(&mut self, name: &Name, rtype: u16, place: Place) -> Result<Verdict, Halt> {
        let zone = match place {
            Place::Zone(zone) => zone,
            Place::Unsigned(verdict) => {
                self.keep_unsigned_denial();
                return Ok(verdict);
            }
        };
        match self.proved_denial(name, rtype, &zone) {
            Ok(verdict) => Ok(verdict),
            Err(kind) => {
                let verdict = self.excuse(name, rtype, kind.of(name, rtype))?;
                self.keep_unsigned_denial();
                Ok(verdict)
            }
        }
    }

    fn proved_denial(
        &mut self,
        name: &Name,
        rtype: u16,
        zone: &Zone,
    ) -> Result<Verdict, FaultKind> {
        self.load_proofs(zone);
        let proofs = &self.proofs[&zone.name];
        let max = self.validator.policy.nsec3_max_iterations;
        let denial = proofs
            .records
            .deny(&zone.name, name.as_wire(), rtype, max, self.budget);
        let insecure = |why| Ok(Verdict::Insecure(insecure(zone.name.as_wire(), why)));
        let verdict = match denial {
            Ok(denial) => {
                let agrees = match denial.what {
                    What::Type { .. } | What::Wildcard => self.rcode == Rcode::NOERROR,
                    What::Name => {
                        self.rcode == Rcode::NXDOMAIN
                            || denial.opt_out && self.rcode == Rcode::NOERROR
                    }
                };
                if !agrees {
                    return Err(FaultKind::Code);
                }
                if denial.opt_out {
                    insecure(Unsigned::OptOut)
                } else {
                    Ok(Verdict::Secure)
                }
            }
            Err(Gap::Iterations) => insecure(Unsigned::Iterations),
            Err(Gap::Fault(kind)) => Err(proofs.fault.unwrap_or(kind)),
        };
        let verdict = verdict?;
        self.keep_proofs(&zone.name);
        self.signed_soa(zone)?;
        Ok(verdict)
    }

    /// The SOA says for how long the denial may be kept: it has to be signed, too.
    fn signed_soa(&mut self, zone: &Zone) -> Result<(), FaultKind> {
        for (number, set) in self.sets.iter().enumerate() {
            if set.section == Section::Authority && set.rtype == rtype::SOA {
                let signed = self.validator.check(set, zone, self.moment, self.budget)?;
                self.kept.insert(number, Some(signed.ttl));
            }
        }
        Ok(())
    }

    /// Nothing could be proved under the zone that signs. Only if there is a
    /// delegation without DS further down is that no fault.
    fn excuse(&self, name: &Name, rtype: u16, found: Fault) -> Result<Verdict, Halt> {
        if found.kind == FaultKind::TooMuchWork {
            return Err(Halt::Bogus(found));
        }
        match self.validator.locate(&holder(name, rtype), self.moment) {
            Located::Insecure(insecure) => Ok(Verdict::Insecure(insecure)),
            Located::Unknown => Ok(Verdict::Indeterminate),
            Located::Ask(need) => Err(Halt::Ask(need)),
            Located::Zone(..) | Located::Bogus(_) => Err(Halt::Bogus(found)),
        }
    }

    /// Where to look for the keys of a set: in the zone that says it signed it,
    /// without a signature in the zone that has the name. That only says how far
    /// down to look; whether it had to be signed is decided by what is there.
    fn place_of_set(&self, number: usize) -> Result<Place, Halt> {
        let set = &self.sets[number];
        let signers = set.signatures.iter().map(|signature| &signature.signer);
        self.place(&set.owner, set.rtype, signers)
    }

    fn place_of_denial(&self, name: &Name, rtype: u16) -> Result<Place, Halt> {
        let denying = |set: &&RrSet| {
            set.section == Section::Authority
                && matches!(set.rtype, rtype::NSEC | rtype::NSEC3 | rtype::SOA)
        };
        let signatures = self.sets.iter().filter(denying);
        let signers = signatures
            .flat_map(|set| &set.signatures)
            .map(|signature| &signature.signer);
        self.place(name, rtype, signers)
    }

    fn place<'s>(
        &self,
        name: &Name,
        rtype: u16,
        signers: impl Iterator<Item = &'s Name>,
    ) -> Result<Place, Halt> {
        let has = |signer: &&Name| {
            if rtype == rtype::DS && !name.is_root() {
                is_below(name.as_wire(), signer.as_wire())
            } else {
                is_within(name.as_wire(), signer.as_wire())
            }
        };
        let signer = signers.filter(has).max_by_key(|one| one.as_wire().len());
        let target = signer.cloned().unwrap_or_else(|| holder(name, rtype));
        match self.validator.locate(&target, self.moment) {
            Located::Zone(name, keys) => Ok(Place::Zone(Zone { name, keys })),
            Located::Insecure(insecure) => Ok(Place::Unsigned(Verdict::Insecure(insecure))),
            Located::Unknown => Ok(Place::Unsigned(Verdict::Indeterminate)),
            Located::Ask(need) => Err(Halt::Ask(need)),
            Located::Bogus(fault) => Err(Halt::Bogus(fault)),
        }
    }

    fn load_proofs(&mut self, zone: &Zone) {
        if !self.proofs.contains_key(&zone.name) {
            let proofs = self
                .validator
                .proofs(self.sets, zone, self.moment, self.budget);
            self.proofs.insert(zone.name.clone(), proofs);
        }
    }

    fn keep_proofs(&mut self, zone: &Name) {
        let sets = &self.proofs[zone].sets;
        self.kept
            .extend(sets.iter().map(|(at, ttl)| (*at, Some(*ttl))));
    }

    fn keep_unsigned_denial(&mut self) {
        for (number, set) in self.sets.iter().enumerate() {
            if set.section == Section::Authority
                && matches!(set.rtype, rtype::SOA | rtype::NSEC | rtype::NSEC3)
            {
                self.kept.entry(number).or_insert(None);
            }
        }
    }
}

/// The name whose zone has `rtype` at `name`: DS is the parent's (RFC 4035 §2.4).
fn holder(name: &Name, rtype: u16) -> Name {
    match parent(name.as_wire()) {
        Some(above) if rtype == rtype::DS => owned(above),
        _ => name.clone(),
    }
}
