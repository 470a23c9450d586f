//! Evidence about this node's clock: keys of a trust anchor's zone that are signed
//! rightly, but for another time. A forger cannot make such a signature, only keep
//! an old one.

use std::sync::PoisonError;

use crate::validate::budget::Budget;
use crate::validate::chain::find;
use crate::validate::key::Key;
use crate::validate::signature::made_by;
use crate::validate::{Need, Validator};
use crate::wire::record::Section;
use crate::wire::response::Response;
use crate::wire::rrset::{RrSet, Signature};
use crate::wire::rtype;

/// What signatures say of the clock. Seconds since 1970, modulo 2^32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// It fits them.
    Fits,
    /// They are valid from then until then, and not now.
    Off { from: u32, until: u32 },
}

impl Validator {
    /// What `response`, the answer to `need`, says of a clock that says `now`: if it
    /// has the keys of a zone with a trust anchor, signed by one that is trusted.
    pub(crate) fn clock(
        &self,
        need: &Need,
        response: &Response,
        now: u32,
        budget: &mut Budget,
    ) -> Option<Clock> {
        if need.rtype != rtype::DNSKEY {
            return None;
        }
        let zone = &need.name;
        let anchors = self.anchors.read().unwrap_or_else(PoisonError::into_inner);
        let trusted = anchors.at(zone)?;
        let sets = RrSet::all(response);
        let set = find(&sets, Section::Answer, zone, rtype::DNSKEY)?;
        let keys: Vec<Key> = self
            .keys_shown(set)
            .filter(|key| trusted.iter().any(|one| key.is(zone.as_wire(), one)))
            .collect();
        let mut signed = |now| -> Option<&Signature> {
            keys.iter()
                .find_map(|key| made_by(set, zone, key, now, budget))
        };
        if signed(Some(now)).is_some() {
            return Some(Clock::Fits);
        }
        signed(None).map(|signature| Clock::Off {
            from: signature.inception,
            until: signature.expiration,
        })
    }
}
