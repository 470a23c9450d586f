//! The keys of a zone, and which of them a DS or a trust anchor means
//! (RFC 4034 §2, §5; RFC 4035 §5.2).

use hickory_proto::dnssec::crypto::Digest;
use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::dnssec::{Algorithm, DigestType, PublicKeyBuf, Verifier as _};

use crate::anchors::Trusted;
use crate::validate::recent::Recent;
use crate::wire::name::Name;
use crate::wire::{u16_at, u32_at};

/// One DNSKEY record.
///
/// ```text
/// flags 2 | protocol 1 | algorithm 1 | public key
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(super) tag: u16,
    pub(super) algorithm: u8,
    flags: u16,
    protocol: u8,
    data: Vec<u8>,
    verifier: DNSKEY,
    recent: Recent,
}

/// What counts as signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whether algorithms 5 and 7, with SHA-1, count as signatures; when they do
    /// not, zones signed with nothing else are insecure (RFC 9905).
    pub sha1: bool,
    /// Above so many iterations of NSEC3 a zone is insecure (RFC 9276 §3.2).
    pub nsec3_max_iterations: u16,
}

impl Key {
    /// Reads the data of a DNSKEY record.
    pub(super) fn of(data: &[u8]) -> Option<Self> {
        let [high, low, protocol, algorithm, public @ ..] = data else {
            return None;
        };
        let flags = u16::from_be_bytes([*high, *low]);
        let public = PublicKeyBuf::new(public.to_vec(), Algorithm::from_u8(*algorithm));
        Some(Self {
            tag: DNSKEY::calculate_key_tag_internal(data),
            algorithm: *algorithm,
            flags,
            protocol: *protocol,
            data: data.to_vec(),
            verifier: DNSKEY::with_flags(flags, public),
            recent: Recent::default(),
        })
    }

    /// Whether it may sign the zone's data: a zone key (RFC 4034 §2.1.1, §2.1.2)
    /// that is not revoked (RFC 5011 §2.1).
    pub(super) const fn is_of_zone(&self) -> bool {
        self.flags & ZONE_KEY != 0 && self.flags & REVOKED == 0 && self.protocol == DNSSEC
    }

    /// Whether it is one that a zone wants to be trusted for itself: a zone key with the
    /// SEP bit (RFC 5011 §3), revoked or not.
    pub(super) const fn is_entry_point(&self) -> bool {
        self.flags & (ZONE_KEY | ENTRY_POINT) == ZONE_KEY | ENTRY_POINT && self.protocol == DNSSEC
    }

    /// Whether it is not to be trusted any more (RFC 5011 §2.1).
    pub(super) const fn is_revoked(&self) -> bool {
        self.flags & REVOKED != 0
    }

    /// The data of its record as it was before it was revoked.
    pub(super) fn data_unrevoked(&self) -> Vec<u8> {
        let mut data = self.data.clone();
        data[..2].copy_from_slice(&(self.flags & !REVOKED).to_be_bytes());
        data
    }

    /// Whether `signature` was made by it over `signed`.
    pub(super) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        let verify = || self.verifier.verify(signed, signature).is_ok();
        self.recent.or_verified(signed, signature, verify)
    }

    /// Whether this is the key of `zone` that `trusted` means.
    pub(super) fn is(&self, zone: &[u8], trusted: &Trusted) -> bool {
        match trusted {
            Trusted::Key(data) => *data == self.data,
            Trusted::Ds {
                tag,
                algorithm,
                digest_type,
                digest,
            } => {
                *tag == self.tag
                    && *algorithm == self.algorithm
                    && Digest::from_iter([zone, &self.data], DigestType::from(*digest_type))
                        .is_ok_and(|own| own.as_ref() == digest)
            }
        }
    }
}

impl Trusted {
    /// Reads the data of a DS record.
    ///
    /// ```text
    /// tag 2 | algorithm 1 | digest type 1 | digest
    /// ```
    pub(super) fn of_ds(data: &[u8]) -> Option<Self> {
        u32_at(data, 0)?;
        Some(Self::Ds {
            tag: u16_at(data, 0)?,
            algorithm: data[2],
            digest_type: data[3],
            digest: data[4..].to_vec(),
        })
    }

    /// Whether it means the key of `zone` with this data.
    pub(crate) fn means(&self, zone: &Name, data: &[u8]) -> bool {
        Key::of(data).is_some_and(|key| key.is(zone.as_wire(), self))
    }

    fn algorithm(&self) -> Option<u8> {
        match self {
            Self::Ds { algorithm, .. } => Some(*algorithm),
            Self::Key(data) => data.get(3).copied(),
        }
    }

    fn digest_type(&self) -> Option<DigestType> {
        match self {
            Self::Ds { digest_type, .. } => Some(DigestType::from(*digest_type)),
            Self::Key(_) => None,
        }
    }
}

/// Why none of the keys that are named for a zone can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unusable {
    Algorithm,
    Digest,
}

impl Policy {
    /// Those of `trusted` that can be used. When there are digests better than
    /// SHA-1, those in SHA-1 do not count (RFC 4509 §3).
    pub(super) fn usable(&self, trusted: &[Trusted]) -> Result<Vec<Trusted>, Unusable> {
        let mut known = trusted
            .iter()
            .filter(|one| one.algorithm().is_some_and(|number| self.accepts(number)))
            .peekable();
        if known.peek().is_none() {
            return Err(Unusable::Algorithm);
        }
        let mut usable: Vec<Trusted> = known
            .filter(|one| one.digest_type().is_none_or(|kind| kind.is_supported()))
            .cloned()
            .collect();
        let is_sha1 = |one: &Trusted| one.digest_type() == Some(DigestType::SHA1);
        if !usable.iter().all(is_sha1) {
            usable.retain(|one| !is_sha1(one));
        }
        if usable.is_empty() {
            return Err(Unusable::Digest);
        }
        Ok(usable)
    }

    /// Whether signatures of this algorithm count.
    pub(super) const fn accepts(&self, algorithm: u8) -> bool {
        match algorithm {
            RSASHA1 | RSASHA1_NSEC3_SHA1 => self.sha1,
            // RSASHA256, RSASHA512, ECDSAP256SHA256, ECDSAP384SHA384, ED25519.
            8 | 10 | 13 | 14 | 15 => true,
            _ => false,
        }
    }
}

const ZONE_KEY: u16 = 0x0100;
const REVOKED: u16 = 0x0080;
const ENTRY_POINT: u16 = 0x0001;
const DNSSEC: u8 = 3;
const RSASHA1: u8 = 5;
const RSASHA1_NSEC3_SHA1: u8 = 7;

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        sha1: false,
        nsec3_max_iterations: 50,
    };

    fn ds(algorithm: u8, digest_type: u8) -> Trusted {
        Trusted::of_ds(&[0, 1, algorithm, digest_type, 9]).unwrap()
    }

    #[test]
    fn what_is_not_known_does_not_count() {
        assert_eq!(POLICY.usable(&[ds(8, 2), ds(99, 2)]), Ok(vec![ds(8, 2)]));
        assert_eq!(POLICY.usable(&[ds(99, 2)]), Err(Unusable::Algorithm));
        assert_eq!(POLICY.usable(&[ds(8, 99)]), Err(Unusable::Digest));
        assert_eq!(
            POLICY.usable(&[ds(5, 2), ds(7, 2)]),
            Err(Unusable::Algorithm)
        );
        let sha1 = Policy {
            sha1: true,
            ..POLICY
        };
        assert_eq!(sha1.usable(&[ds(7, 2)]), Ok(vec![ds(7, 2)]));
    }

    #[test]
    fn sha1_digests_count_only_alone() {
        assert_eq!(POLICY.usable(&[ds(8, 1)]), Ok(vec![ds(8, 1)]));
        assert_eq!(POLICY.usable(&[ds(8, 1), ds(8, 4)]), Ok(vec![ds(8, 4)]));
        assert_eq!(POLICY.usable(&[ds(8, 1), ds(8, 99)]), Ok(vec![ds(8, 1)]));
    }

    #[test]
    fn only_zone_keys_that_are_not_revoked_sign() {
        let key = |flags: u16, protocol| {
            let [high, low] = flags.to_be_bytes();
            Key::of(&[high, low, protocol, 13, 1]).unwrap()
        };
        assert!(key(256, 3).is_of_zone() && key(257, 3).is_of_zone());
        assert!(!key(0, 3).is_of_zone(), "no zone key bit");
        assert!(!key(257 | 128, 3).is_of_zone(), "revoked");
        assert!(!key(257, 2).is_of_zone(), "another protocol");
    }

    #[test]
    fn data_that_is_too_short_is_no_key_and_no_ds() {
        assert_eq!(Key::of(&[1, 0, 3]), None);
        assert_eq!(Trusted::of_ds(&[0, 1, 8]), None);
    }
}
