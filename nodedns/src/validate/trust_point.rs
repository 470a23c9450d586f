//! The keys of a zone that has a trust anchor, as one answer shows them: which may
//! become anchors, which are revoked, and who vouches for that (RFC 5011 §2).

use std::sync::PoisonError;

use crate::anchors::Trusted;
use crate::anchors::rfc5011::{Observation, Seen};
use crate::validate::budget::Budget;
use crate::validate::chain::{MAX_KEYS, find};
use crate::validate::key::Key;
use crate::validate::signature::made_by;
use crate::validate::verdict::FaultKind;
use crate::validate::zones::Cut;
use crate::validate::{Moment, Validator};
use crate::wire::name::Name;
use crate::wire::record::Section;
use crate::wire::response::Response;
use crate::wire::rrset::RrSet;
use crate::wire::rtype;

impl Validator {
    /// What `response`, to the question for the DNSKEY of `zone`, says of its keys,
    /// those that `configured` means marked as such.
    ///
    /// # Errors
    /// There are no keys in it; or it is signed neither by one that is trusted nor by
    /// one that is revoked.
    pub(crate) fn observe(
        &self,
        zone: &Name,
        configured: &[Trusted],
        response: &Response,
        moment: Moment,
        budget: &mut Budget,
    ) -> Result<Observation, FaultKind> {
        let sets = RrSet::all(response);
        let set = find(&sets, Section::Answer, zone, rtype::DNSKEY).ok_or(FaultKind::KeyMissing)?;
        let keys: Vec<Key> = self.keys_shown(set).collect();
        let seen = |key: &Key| {
            let data = key.data_unrevoked();
            Seen {
                is_configured: configured.iter().any(|one| one.means(zone, &data)),
                data,
            }
        };
        let signed_by =
            |key: &Key, budget: &mut Budget| made_by(set, zone, key, Some(moment.wall), budget);
        let mut seen_by = Observation {
            original_ttl: u32::MAX,
            expires_in: u32::MAX,
            ..Observation::default()
        };
        let entry_points = || keys.iter().filter(|key| key.is_entry_point());
        for key in entry_points().filter(|key| key.is_revoked()) {
            if signed_by(key, budget).is_some() {
                seen_by.revoked.push(seen(key));
            }
        }
        let anchors = self.anchors.read().unwrap_or_else(PoisonError::into_inner);
        let trusted = anchors.at(zone).unwrap_or_default();
        let is_trusted =
            |key: &&Key| key.is_of_zone() && trusted.iter().any(|one| key.is(zone.as_wire(), one));
        for key in keys.iter().filter(is_trusted) {
            if let Some(signature) = signed_by(key, budget) {
                seen_by.vouchers.push(key.data_unrevoked());
                seen_by.original_ttl = seen_by.original_ttl.min(signature.original_ttl);
                let expires_in = signature.expiration.wrapping_sub(moment.wall);
                seen_by.expires_in = seen_by.expires_in.min(expires_in);
            }
        }
        if seen_by.vouchers.is_empty() && seen_by.revoked.is_empty() {
            return Err(self.why_nobody_vouches(zone, set, trusted, moment, budget));
        }
        seen_by.keys = entry_points()
            .filter(|key| !key.is_revoked())
            .map(seen)
            .collect();
        Ok(seen_by)
    }

    /// The keys in the DNSKEY records of `set` whose signatures may count.
    pub(super) fn keys_shown(&self, set: &RrSet) -> impl Iterator<Item = Key> {
        let data = set.data.iter().take(MAX_KEYS);
        data.filter_map(|data| Key::of(data))
            .filter(|key| self.policy.accepts(key.algorithm))
    }

    /// The sentence that tells most about keys for which nobody vouches.
    fn why_nobody_vouches(
        &self,
        zone: &Name,
        set: &RrSet,
        trusted: &[Trusted],
        moment: Moment,
        budget: &mut Budget,
    ) -> FaultKind {
        match self.keys_of(zone, trusted, std::slice::from_ref(set), moment, budget) {
            (Cut::Bogus(fault), _) => fault.kind,
            _ => FaultKind::KeyMissing,
        }
    }
}
