//! What the signed NSEC and NSEC3 records of one zone prove.

use crate::validate::budget::Budget;
use crate::validate::denial::{Denial, Gap};
use crate::validate::nsec::{self, Nsec};
use crate::validate::nsec3::{self, Nsec3};
use crate::wire::name::Name;
use crate::wire::rrset::RrSet;
use crate::wire::rtype;

/// The records of one zone, their signatures checked.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    nsec: Vec<Nsec>,
    nsec3: Vec<Nsec3>,
}

impl Proofs {
    /// Takes `set` of `zone` in, when it denies anything.
    pub(super) fn add(&mut self, set: &RrSet, zone: &Name) {
        match set.rtype {
            rtype::NSEC => self.nsec.extend(Nsec::of(set)),
            rtype::NSEC3 => self.nsec3.extend(Nsec3::of(set, zone)),
            _ => {}
        }
    }

    /// What is proved of `name` and `rtype`, `name` being in `zone`.
    pub(super) fn deny(
        &self,
        zone: &Name,
        name: &[u8],
        rtype: u16,
        max_iterations: u16,
        budget: &mut Budget,
    ) -> Result<Denial, Gap> {
        match nsec::deny(&self.nsec, name, rtype) {
            Some(denial) => Ok(denial),
            None => nsec3::Chain::new(&self.nsec3, zone, max_iterations)?.deny(name, rtype, budget),
        }
    }

    /// Whether nothing exists at `name`, nor between it and `encloser`, from
    /// whose wildcard an answer for `name` was made. Gives whether opt-out leaves
    /// that open.
    pub(super) fn deny_closer(
        &self,
        zone: &Name,
        name: &[u8],
        encloser: &[u8],
        max_iterations: u16,
        budget: &mut Budget,
    ) -> Result<bool, Gap> {
        if nsec::deny_closer(&self.nsec, name, encloser) {
            return Ok(false);
        }
        nsec3::Chain::new(&self.nsec3, zone, max_iterations)?.deny_closer(name, encloser, budget)
    }
}
