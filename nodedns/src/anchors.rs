//! The keys that are trusted without a proof, and the names below which nothing
//! is validated. Where they nest, the closest to a name governs.
//!
//! [`rfc5011`] is how the keys of a zone change while nodedns runs, [`negative`]
//! what a person switches off for a while, [`stored`] how both outlive a restart.

pub(crate) mod negative;
pub(crate) mod rfc5011;
pub(crate) mod stored;

use std::collections::{HashMap, HashSet};

use crate::wire::name::{Name, suffixes};

/// A key or the digest of one, trusted for a zone: because the zone's parent
/// signed it, or because a person configured it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trusted {
    /// The data of a DS record.
    Ds {
        /// Tag of the key.
        tag: u16,
        /// Number of the key's algorithm.
        algorithm: u8,
        /// Number of the digest's type.
        digest_type: u8,
        /// The digest.
        digest: Vec<u8>,
    },
    /// The data of a DNSKEY record.
    Key(Vec<u8>),
}

/// A trusted key of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The zone.
    pub zone: Name,
    /// Its key.
    pub trusted: Trusted,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Anchors {
    trusted: HashMap<Name, Vec<Trusted>>,
    negative: HashSet<Name>,
}

/// What governs a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Governing<'a> {
    /// These keys, of the zone with this name.
    Keys(&'a [u8], &'a [Trusted]),
    /// A negative anchor at this name.
    Negative(&'a [u8]),
    /// Nothing: whether it must be signed cannot be known (RFC 4035 §4.3,
    /// "indeterminate").
    Nothing,
}

impl Anchors {
    /// These keys, and nothing validated at and below the `negative` names
    /// (RFC 7646).
    pub(crate) fn new<'a>(
        anchors: &[Anchor],
        negative: impl IntoIterator<Item = &'a Name>,
    ) -> Self {
        let mut trusted: HashMap<Name, Vec<Trusted>> = HashMap::new();
        for Anchor { zone, trusted: key } in anchors {
            trusted.entry(zone.clone()).or_default().push(key.clone());
        }
        Self {
            trusted,
            negative: negative.into_iter().cloned().collect(),
        }
    }

    /// The keys of `zone` that are trusted without a proof; `None` where there are
    /// none, or a negative anchor is at its name.
    pub(crate) fn at(&self, zone: &Name) -> Option<&[Trusted]> {
        if self.negative.contains(zone) {
            return None;
        }
        self.trusted.get(zone).map(Vec::as_slice)
    }

    /// What governs `name`. A negative anchor wins over keys at the same name.
    pub(crate) fn governing<'a>(&'a self, name: &'a [u8]) -> Governing<'a> {
        for suffix in suffixes(name) {
            let Some(zone) = Name::from_wire(suffix) else {
                break;
            };
            if self.negative.contains(&zone) {
                return Governing::Negative(suffix);
            }
            if let Some(keys) = self.trusted.get(&zone) {
                return Governing::Keys(suffix, keys);
            }
        }
        Governing::Nothing
    }
}

/// The digests of the root's key signing keys: KSK-2017, in use, and KSK-2024,
/// which follows it (<https://data.iana.org/root-anchors/root-anchors.xml>).
pub(crate) fn root() -> Vec<Anchor> {
    ROOT_KEYS
        .map(|(tag, digest)| Anchor {
            zone: Name::root(),
            trusted: Trusted::Ds {
                tag,
                algorithm: RSASHA256,
                digest_type: SHA256,
                digest: digest.to_vec(),
            },
        })
        .into()
}

const RSASHA256: u8 = 8;
const SHA256: u8 = 2;
const ROOT_KEYS: [(u16, [u8; 32]); 2] = [
    (
        20326,
        [
            0xe0, 0x6d, 0x44, 0xb8, 0x0b, 0x8f, 0x1d, 0x39, 0xa9, 0x5c, 0x0b, 0x0d, 0x7c, 0x65,
            0xd0, 0x84, 0x58, 0xe8, 0x80, 0x40, 0x9b, 0xbc, 0x68, 0x34, 0x57, 0x10, 0x42, 0x37,
            0xc7, 0xf8, 0xec, 0x8d,
        ],
    ),
    (
        38696,
        [
            0x68, 0x3d, 0x2d, 0x0a, 0xcb, 0x8c, 0x9b, 0x71, 0x2a, 0x19, 0x48, 0xb2, 0x7f, 0x74,
            0x12, 0x19, 0x29, 0x8d, 0x0a, 0x45, 0x0d, 0x61, 0x2c, 0x48, 0x3a, 0xf4, 0x44, 0xa4,
            0xc0, 0xfb, 0x2b, 0x16,
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::dnssec::rdata::DNSKEY;
    use hickory_proto::dnssec::{DigestType, TrustAnchors};

    #[test]
    fn the_built_in_digests_are_those_of_the_root_keys() {
        let keys = TrustAnchors::default();
        for (at, (tag, digest)) in ROOT_KEYS.into_iter().enumerate() {
            let key = DNSKEY::with_flags(257, keys.get(at).unwrap().clone());
            let root = hickory_proto::rr::Name::root();
            assert_eq!(key.calculate_key_tag().unwrap(), tag);
            let of_key = key.to_digest(&root, DigestType::SHA256).unwrap();
            assert_eq!(of_key.as_ref(), digest);
        }
    }

    #[test]
    fn the_closest_governs() {
        let name = |text| Name::from_text(text).unwrap();
        let anchor = |zone| Anchor {
            zone: name(zone),
            trusted: Trusted::Key(Vec::new()),
        };
        let anchors = Anchors::new(
            &[anchor("."), anchor("corp.example"), anchor("both.example")],
            &[name("broken.corp.example"), name("both.example")],
        );
        let governing = |text| match anchors.governing(name(text).as_wire()) {
            Governing::Keys(zone, _) => format!("keys of {}", Name::from_wire(zone).unwrap()),
            Governing::Negative(zone) => format!("not {}", Name::from_wire(zone).unwrap()),
            Governing::Nothing => "nothing".to_owned(),
        };
        assert_eq!(governing("www.example"), "keys of .");
        assert_eq!(governing("www.corp.example"), "keys of corp.example.");
        assert_eq!(
            governing("a.broken.corp.example"),
            "not broken.corp.example."
        );
        assert_eq!(governing("both.example"), "not both.example.");
        let none = Anchors::default();
        assert_eq!(none.governing(b"\0"), Governing::Nothing);
    }
}
