//! One RRset against the keys of its zone (RFC 4035 §5.3).

use crate::validate::budget::{Budget, KEYS_PER_SIGNATURE, SIGNATURES_PER_SET};
use crate::validate::key::{Key, Policy};
use crate::validate::verdict::FaultKind;
use crate::wire::CLASS_IN;
use crate::wire::name::Name;
use crate::wire::order::{label_count, last_labels, wildcard};
use crate::wire::rrset::{RrSet, Signature};

/// An RRset that a key of its zone has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signed {
    /// Seconds for which it may be kept (RFC 4035 §5.3.3).
    pub(super) ttl: u32,
    /// The name above the wildcard that it was made from; none when it was
    /// signed under its own name.
    pub(super) expanded_from: Option<Name>,
}

/// Looks for a signature over `set` by one of `keys`, which are those of `zone`,
/// good at `now`.
///
/// # Errors
/// There is none; the kind tells most about the one that came closest.
pub(super) fn check<'a>(
    set: &RrSet,
    zone: &Name,
    keys: impl Iterator<Item = &'a Key> + Clone,
    now: u32,
    policy: &Policy,
    budget: &mut Budget,
) -> Result<Signed, FaultKind> {
    let mut fault = FaultKind::SignatureMissing;
    let of_zone = |one: &&Signature| one.signer == *zone && policy.accepts(one.algorithm);
    if !set.signatures.iter().any(|one| of_zone(&one)) && !set.signatures.is_empty() {
        fault = FaultKind::Signer;
    }
    let tried = set.signatures.iter().filter(of_zone);
    for signature in tried.take(SIGNATURES_PER_SET) {
        match check_one(set, signature, keys.clone(), now, budget) {
            Ok(signed) => return Ok(signed),
            Err(FaultKind::TooMuchWork) => return Err(FaultKind::TooMuchWork),
            Err(kind) => fault = fault.max(kind),
        }
    }
    Err(fault)
}

fn check_one<'a>(
    set: &RrSet,
    signature: &Signature,
    keys: impl Iterator<Item = &'a Key>,
    now: u32,
    budget: &mut Budget,
) -> Result<Signed, FaultKind> {
    let (signed_name, expanded_from) = signed_name(set, signature)?;
    in_time(signature, now)?;
    let mut fault = FaultKind::KeyUnknown;
    let mut signed = None;
    let fitting =
        keys.filter(|key| key.tag == signature.tag && key.algorithm == signature.algorithm);
    for key in fitting.take(KEYS_PER_SIGNATURE) {
        if !key.is_of_zone() {
            fault = FaultKind::KeyNotOfZone;
            continue;
        }
        budget.signature().map_err(|_| FaultKind::TooMuchWork)?;
        let signed = signed.get_or_insert_with(|| signed_data(set, signature, &signed_name));
        if key.verifies(signed, &signature.signature) {
            return Ok(Signed {
                ttl: set
                    .ttl
                    .min(signature.ttl)
                    .min(signature.original_ttl)
                    .min(signature.expiration.wrapping_sub(now)),
                expanded_from,
            });
        }
        budget.failure();
        fault = FaultKind::Signature;
    }
    Err(fault)
}

/// The signature over `set`, at its own name, that `key` made in the name of `zone`: whatever the key's flags say,
/// and with `now` only one that is in time.
pub(super) fn made_by<'a>(
    set: &'a RrSet,
    zone: &Name,
    key: &Key,
    now: Option<u32>,
    budget: &mut Budget,
) -> Option<&'a Signature> {
    let fits = |one: &&Signature| {
        one.signer == *zone
            && one.tag == key.tag
            && one.algorithm == key.algorithm
            && now.is_none_or(|now| in_time(one, now).is_ok())
    };
    let fitting = set.signatures.iter().filter(fits);
    fitting.take(SIGNATURES_PER_SET).find(|signature| {
        let Ok((name, None)) = signed_name(set, signature) else {
            return false;
        };
        if budget.signature().is_err() {
            return false;
        }
        let is_good = key.verifies(&signed_data(set, signature, &name), &signature.signature);
        if !is_good {
            budget.failure();
        }
        is_good
    })
}

/// The name that was signed, and, when it is a wildcard's, the name above that.
fn signed_name(set: &RrSet, signature: &Signature) -> Result<(Name, Option<Name>), FaultKind> {
    let owner = set.owner.as_wire();
    let labels = usize::from(signature.labels);
    if labels > label_count(owner) {
        return Err(FaultKind::Labels);
    }
    let above = last_labels(owner, labels);
    let name = if labels < label_count(owner) {
        wildcard(above).ok_or(FaultKind::Labels)?
    } else {
        set.owner.clone()
    };
    let expanded_from = (name != set.owner)
        .then(|| Name::from_wire(above))
        .flatten();
    Ok((name, expanded_from))
}

/// Serial arithmetic (RFC 4034 §3.1.5): what is less than 68 years ahead is later.
const fn in_time(signature: &Signature, now: u32) -> Result<(), FaultKind> {
    if (signature.expiration.wrapping_sub(now) as i32) < 0 {
        return Err(FaultKind::SignatureExpired);
    }
    if (now.wrapping_sub(signature.inception) as i32) < 0 {
        return Err(FaultKind::SignatureNotYetValid);
    }
    Ok(())
}

/// What the signature is made over (RFC 4034 §3.1.8.1).
fn signed_data(set: &RrSet, signature: &Signature, name: &Name) -> Vec<u8> {
    let mut signed = signature.signed_fields.clone();
    for data in &set.data {
        signed.extend_from_slice(name.as_wire());
        signed.extend_from_slice(&set.rtype.to_be_bytes());
        signed.extend_from_slice(&CLASS_IN.to_be_bytes());
        signed.extend_from_slice(&signature.original_ttl.to_be_bytes());
        // It came in a message, and names in it grew to 255 bytes at most.
        signed.extend_from_slice(&(data.len() as u16).to_be_bytes());
        signed.extend_from_slice(data);
    }
    signed
}
