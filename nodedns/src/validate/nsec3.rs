//! Denial by the hashes around the hash of what does not exist (RFC 5155 §8).

use hickory_proto::dnssec::DigestType;
use hickory_proto::dnssec::crypto::Digest;

use crate::validate::budget::Budget;
use crate::validate::denial::{Denial, Gap, What};
use crate::validate::verdict::FaultKind;
use crate::wire::name::{Name, suffixes};
use crate::wire::order::{label_count, last_labels, parent, wildcard};
use crate::wire::rrset::{RrSet, has_type};
use crate::wire::{rtype, u16_at};

/// One NSEC3 record: no name has a hash between its own and the next.
///
/// ```text
/// algorithm 1 | flags 1 | iterations 2 | length 1, salt | length 1, next hash | type bit map
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Nsec3 {
    hash: Vec<u8>,
    next: Vec<u8>,
    opt_out: bool,
    iterations: u16,
    salt: Vec<u8>,
    types: Vec<u8>,
}

impl Nsec3 {
    /// The records of `set`, whose signature by `zone` is good; less those of
    /// unknown hashes and flags (RFC 5155 §8.1, §8.2).
    pub(super) fn of(set: &RrSet, zone: &Name) -> impl Iterator<Item = Self> {
        let owner = set.owner.as_wire();
        let hash = (parent(owner) == Some(zone.as_wire()))
            .then(|| from_base32hex(&owner[1..=usize::from(owner[0])]))
            .flatten();
        set.data
            .iter()
            .filter_map(move |data| Self::read(hash.clone()?, data))
    }

    fn read(hash: Vec<u8>, data: &[u8]) -> Option<Self> {
        let (algorithm, flags) = (*data.first()?, *data.get(1)?);
        let (salt, rest) = counted(data.get(4..)?)?;
        let (next, types) = counted(rest)?;
        (algorithm == SHA1 && flags & !OPT_OUT == 0 && next.len() == hash.len()).then(|| Self {
            hash,
            next: next.to_vec(),
            opt_out: flags & OPT_OUT != 0,
            iterations: u16_at(data, 2).unwrap_or(u16::MAX),
            salt: salt.to_vec(),
            types: types.to_vec(),
        })
    }

    /// The hash of its owner.
    pub(super) fn hash(&self) -> &[u8] {
        &self.hash
    }

    /// Whether it leaves out what is delegated without DS.
    pub(super) const fn opts_out(&self) -> bool {
        self.opt_out
    }

    /// How often names are hashed again.
    pub(super) const fn iterations(&self) -> u16 {
        self.iterations
    }

    /// The hash of `name` in the chain of this record; nothing when it cannot be had.
    pub(super) fn hash_of(&self, name: &[u8]) -> Option<Vec<u8>> {
        hash(&self.salt, name, self.iterations)
    }

    fn has(&self, rtype: u16) -> bool {
        has_type(&self.types, rtype)
    }

    fn is_of_delegation(&self) -> bool {
        self.has(rtype::NS) && !self.has(rtype::SOA)
    }

    /// As with NSEC: at a delegation the parent speaks of DS, the child of the rest.
    fn denies_type(&self, rtype: u16, is_root: bool) -> bool {
        let speaks = if rtype == rtype::DS {
            !self.has(rtype::SOA) || is_root
        } else {
            !self.is_of_delegation()
        };
        speaks && !self.has(rtype) && !self.has(rtype::CNAME)
    }

    fn covers(&self, hash: &[u8]) -> bool {
        let (own, next) = (&self.hash[..], &self.next[..]);
        if own < next {
            own < hash && hash < next
        } else {
            // The last one leads back to the first.
            own < hash || hash < next
        }
    }
}

/// The records of one zone that hash alike.
#[derive(Debug)]
pub(super) struct Chain<'a> {
    records: Vec<&'a Nsec3>,
    zone: &'a Name,
    iterations: u16,
    salt: &'a [u8],
}

/// What exists above a name that does not (RFC 5155 §8.3).
struct Encloser<'a> {
    /// The longest name that exists.
    name: &'a [u8],
    /// The record that covers the name one label longer.
    covering: &'a Nsec3,
}

impl<'a> Chain<'a> {
    /// Those of `records` that hash as the first does.
    pub(super) fn new(
        records: &'a [Nsec3],
        zone: &'a Name,
        max_iterations: u16,
    ) -> Result<Self, Gap> {
        let first = records.first().ok_or(MISSING)?;
        if first.iterations > max_iterations {
            return Err(Gap::Iterations);
        }
        let alike = |one: &&Nsec3| one.iterations == first.iterations && one.salt == first.salt;
        Ok(Self {
            records: records.iter().filter(alike).collect(),
            zone,
            iterations: first.iterations,
            salt: &first.salt,
        })
    }

    /// What is proved of `name` (RFC 5155 §8.4 to §8.7).
    pub(super) fn deny(&self, name: &[u8], rtype: u16, budget: &mut Budget) -> Result<Denial, Gap> {
        let is_root = name.len() == 1;
        if let Some(exact) = self.matching(&self.hash(name, budget)?) {
            let what = What::Type {
                delegation: exact.is_of_delegation(),
            };
            return exact
                .denies_type(rtype, is_root)
                .then_some(Denial {
                    what,
                    opt_out: false,
                })
                .ok_or(MISSING);
        }
        let encloser = self.encloser(name, budget)?;
        let opt_out = encloser.covering.opt_out;
        let proved = |what| Ok(Denial { what, opt_out });
        let Some(star) = wildcard(encloser.name) else {
            return proved(What::Name);
        };
        let star = self.hash(star.as_wire(), budget)?;
        if let Some(star) = self.matching(&star) {
            return if star.denies_type(rtype, false) {
                proved(What::Wildcard)
            } else {
                Err(MISSING)
            };
        }
        if self.covering(&star).is_some() {
            return proved(What::Name);
        }
        if opt_out {
            // The name may be delegated without DS, or lie above or below such a
            // delegation: nothing is denied for sure (RFC 5155 §8.6).
            return proved(What::Type { delegation: true });
        }
        Err(MISSING)
    }

    /// Whether nothing exists between `encloser` and `name`, `name` included
    /// (RFC 5155 §8.8); gives whether opt-out leaves that open.
    pub(super) fn deny_closer(
        &self,
        name: &[u8],
        encloser: &[u8],
        budget: &mut Budget,
    ) -> Result<bool, Gap> {
        let closer = last_labels(name, label_count(encloser) + 1);
        let covering = self.covering(&self.hash(closer, budget)?).ok_or(MISSING)?;
        Ok(covering.opt_out)
    }

    /// The closest name above `name` that exists: the first that has a record,
    /// when the one before it is covered.
    fn encloser<'n>(&self, name: &'n [u8], budget: &mut Budget) -> Result<Encloser<'n>, Gap>
    where
        'a: 'n,
    {
        let mut closer = name;
        for candidate in suffixes(name).skip(1) {
            if candidate.len() < self.zone.as_wire().len() {
                break;
            }
            if let Some(record) = self.matching(&self.hash(candidate, budget)?) {
                // Below a delegation or a DNAME this zone knows nothing (§8.3).
                if record.is_of_delegation() || record.has(rtype::DNAME) {
                    return Err(MISSING);
                }
                let covering = self.covering(&self.hash(closer, budget)?).ok_or(MISSING)?;
                return Ok(Encloser {
                    name: candidate,
                    covering,
                });
            }
            closer = candidate;
        }
        Err(MISSING)
    }

    fn matching(&self, hash: &[u8]) -> Option<&'a Nsec3> {
        self.records.iter().find(|one| one.hash == hash).copied()
    }

    fn covering(&self, hash: &[u8]) -> Option<&'a Nsec3> {
        self.records.iter().find(|one| one.covers(hash)).copied()
    }

    fn hash(&self, name: &[u8], budget: &mut Budget) -> Result<Vec<u8>, Gap> {
        budget
            .hash()
            .map_err(|_| Gap::Fault(FaultKind::TooMuchWork))?;
        hash(self.salt, name, self.iterations).ok_or(MISSING)
    }
}

fn hash(salt: &[u8], name: &[u8], iterations: u16) -> Option<Vec<u8>> {
    Digest::iterated(salt, name, DigestType::SHA1, iterations)
        .ok()
        .map(|digest| digest.as_ref().to_vec())
}

/// A length byte, as many bytes, and the rest.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// RFC 4648 §7 without padding, in lower or upper case.
fn from_base32hex(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text {
        let value = match letter {
            b'0'..=b'9' => letter - b'0',
            b'a'..=b'v' => letter - b'a' + 10,
            b'A'..=b'V' => letter - b'A' + 10,
            _ => return None,
        };
        bits = bits << 5 | u32::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

const MISSING: Gap = Gap::Fault(FaultKind::DenialMissing);
const SHA1: u8 = 1;
const OPT_OUT: u8 = 1;

#[cfg(test)]
mod tests;
