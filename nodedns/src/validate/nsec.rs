//! Denial by the names around what does not exist (RFC 4034 §4, RFC 4035 §5.4,
//! RFC 6840 §4).

use std::cmp::Ordering;

use crate::validate::denial::{Denial, What};
use crate::wire::name::{Name, plain_len};
use crate::wire::order::{common, compare, is_below, is_within, wildcard};
use crate::wire::rrset::{RrSet, has_type};
use crate::wire::rtype;

/// One NSEC record: there is nothing between its owner and the next name.
///
/// ```text
/// next name | type bit map of the owner
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Nsec {
    owner: Name,
    next: Name,
    types: Vec<u8>,
}

impl Nsec {
    /// The records of `set`, whose signature is good.
    pub(super) fn of(set: &RrSet) -> impl Iterator<Item = Self> {
        set.data.iter().filter_map(|data| {
            let (next, types) = data.split_at(plain_len(data)?);
            Some(Self {
                owner: set.owner.clone(),
                next: Name::from_wire(next)?,
                types: types.to_vec(),
            })
        })
    }

    /// The longest name above `name`, which it covers, that exists.
    pub(super) fn encloser<'a>(&self, name: &'a [u8]) -> &'a [u8] {
        closest_encloser(self, name)
    }

    fn has(&self, rtype: u16) -> bool {
        has_type(&self.types, rtype)
    }

    /// Whether the owner is delegated, and this NSEC is the parent's.
    fn is_of_delegation(&self) -> bool {
        self.has(rtype::NS) && !self.has(rtype::SOA)
    }

    /// Whether it says that its owner has no `rtype`. The parent's NSEC at a
    /// delegation speaks of DS only, the child's of all but DS
    /// (RFC 4035 §5.2, RFC 6840 §4.1, §4.4).
    fn denies_type(&self, rtype: u16) -> bool {
        let speaks = if rtype == rtype::DS {
            !self.has(rtype::SOA) || self.owner.is_root()
        } else {
            !self.is_of_delegation()
        };
        speaks && !self.has(rtype) && !self.has(rtype::CNAME)
    }

    /// Whether `name` lies between the owner and the next name. What is delegated
    /// or renamed at the owner it does not know about (RFC 6840 §4.1).
    fn covers(&self, name: &[u8]) -> bool {
        let (owner, next) = (self.owner.as_wire(), self.next.as_wire());
        if is_below(name, owner) && (self.is_of_delegation() || self.has(rtype::DNAME)) {
            return false;
        }
        let after_owner = compare(owner, name) == Ordering::Less;
        let before_next = compare(name, next) == Ordering::Less;
        match compare(owner, next) {
            Ordering::Less => after_owner && before_next,
            // The last one leads back to the zone's own name.
            Ordering::Equal | Ordering::Greater => after_owner && is_within(name, next),
        }
    }
}

/// What `records`, all of one zone that has `name`, prove of it.
pub(super) fn deny(records: &[Nsec], name: &[u8], rtype: u16) -> Option<Denial> {
    let at = |name: &[u8]| records.iter().find(|nsec| nsec.owner.as_wire() == name);
    let around = |name: &[u8]| records.iter().find(|nsec| nsec.covers(name));
    let proved = |what| {
        Some(Denial {
            what,
            opt_out: false,
        })
    };
    if let Some(exact) = at(name) {
        return exact
            .denies_type(rtype)
            .then(|| What::Type {
                delegation: exact.is_of_delegation(),
            })
            .and_then(proved);
    }
    let covering = around(name)?;
    if is_below(covering.next.as_wire(), name) {
        // An empty non-terminal: it exists, for there are names below it.
        return proved(What::Type { delegation: false });
    }
    let encloser = closest_encloser(covering, name);
    let star = wildcard(encloser)?;
    if let Some(star) = at(star.as_wire()) {
        return star
            .denies_type(rtype)
            .then_some(What::Wildcard)
            .and_then(proved);
    }
    let covering_star = around(star.as_wire())?;
    if is_below(covering_star.next.as_wire(), star.as_wire()) {
        return proved(What::Wildcard);
    }
    proved(What::Name)
}

/// Whether `records` prove that there is nothing at `name`, nor between it and
/// `encloser`, from whose wildcard an answer was made (RFC 4035 §5.3.4).
pub(super) fn deny_closer(records: &[Nsec], name: &[u8], encloser: &[u8]) -> bool {
    records.iter().any(|nsec| {
        nsec.covers(name)
            && !is_below(nsec.next.as_wire(), name)
            && closest_encloser(nsec, name).len() <= encloser.len()
    })
}

/// The longest name above `name` that exists, as `covering` shows: both its names do.
fn closest_encloser<'a>(covering: &Nsec, name: &'a [u8]) -> &'a [u8] {
    let (one, other) = (
        common(name, covering.owner.as_wire()),
        common(name, covering.next.as_wire()),
    );
    if one.len() > other.len() { one } else { other }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types below 64 in one window.
    fn nsec(owner: &str, next: &str, types: &[u8]) -> Nsec {
        let mut bits = [0; 8];
        for rtype in types {
            bits[usize::from(rtype / 8)] |= 0x80 >> (rtype % 8);
        }
        let name = |text| Name::from_text(text).unwrap();
        Nsec {
            owner: name(owner),
            next: name(next),
            types: [&[0, 8], &bits[..]].concat(),
        }
    }

    fn wire(text: &str) -> Vec<u8> {
        Name::from_text(text).unwrap().as_wire().to_vec()
    }

    const A: u8 = 1;
    const NS: u8 = 2;
    const CNAME: u8 = 5;
    const SOA: u8 = 6;
    const DNAME: u8 = 39;
    const DS: u16 = 43;

    /// `z.`, with `a`, `b.c`, a delegation `d`, a DNAME `e`, `*.w`.
    fn zone() -> Vec<Nsec> {
        vec![
            nsec("z", "a.z", &[NS, SOA]),
            nsec("a.z", "b.c.z", &[A]),
            nsec("b.c.z", "d.z", &[A, CNAME]),
            nsec("d.z", "e.z", &[NS]),
            nsec("e.z", "*.w.z", &[DNAME]),
            nsec("*.w.z", "z", &[A]),
        ]
    }

    fn what(name: &str, rtype: u16) -> Option<What> {
        deny(&zone(), &wire(name), rtype).map(|denial| denial.what)
    }

    const EXISTS: Option<What> = Some(What::Type { delegation: false });

    #[test]
    fn a_name_without_the_type() {
        assert_eq!(what("a.z", 28), EXISTS);
        assert_eq!(what("a.z", 1), None, "it has it");
        assert_eq!(what("b.c.z", 28), None, "a CNAME stands for every type");
    }

    #[test]
    fn a_name_that_does_not_exist() {
        assert_eq!(what("aa.z", 1), Some(What::Name));
        assert_eq!(what("zz.z", 1), Some(What::Name), "behind the last");
        assert_eq!(what("x.other", 1), None, "in another zone");
    }

    #[test]
    fn an_empty_non_terminal_exists() {
        assert_eq!(what("c.z", 1), EXISTS);
        assert_eq!(what("w.z", 1), EXISTS);
    }

    #[test]
    fn a_wildcard_without_the_type() {
        assert_eq!(what("x.w.z", 28), Some(What::Wildcard));
        assert_eq!(what("x.w.z", 1), None, "it has it");
        let star_unknown = &zone()[..5];
        assert_eq!(deny(star_unknown, &wire("x.w.z"), 28), None);
    }

    #[test]
    fn below_a_delegation_or_a_dname_the_parent_proves_nothing() {
        assert_eq!(what("x.d.z", 1), None);
        assert_eq!(what("x.e.z", 1), None);
    }

    #[test]
    fn at_a_delegation_the_parent_speaks_of_ds_and_the_child_of_the_rest() {
        assert_eq!(what("d.z", DS), Some(What::Type { delegation: true }));
        assert_eq!(what("d.z", 1), None);
        assert_eq!(what("z", DS), None, "the zone's own NSEC");
        assert_eq!(what("z", 1), EXISTS);
    }

    #[test]
    fn a_closer_name_than_the_wildcard_is_denied() {
        let closer = |name: &str, above: &str| deny_closer(&zone(), &wire(name), &wire(above));
        assert!(closer("x.w.z", "w.z"));
        assert!(closer("x.y.w.z", "w.z"));
        assert!(!closer("a.z", "z"), "it exists");
        assert!(!closer("x.c.z", "z"), "c.z exists, and is closer");
    }
}
