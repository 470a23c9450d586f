//! The records of a response as RRsets: one owner, one type, all data, and the
//! signatures over it (RFC 2181 §5, RFC 4034 §3).

use std::collections::HashMap;

use crate::wire::canonical::{self, Case};
use crate::wire::name::{self, Expanded, Name};
use crate::wire::record::Section;
use crate::wire::response::Response;
use crate::wire::{CLASS_IN, rtype, u16_at, u32_at};

/// One RRset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RrSet {
    pub(crate) section: Section,
    pub(crate) owner: Name,
    pub(crate) rtype: u16,
    /// The shortest TTL among its records.
    pub(crate) ttl: u32,
    /// The data in canonical form and order, each once (RFC 4034 §6.3).
    pub(crate) data: Vec<Vec<u8>>,
    /// Where its records stand in the layout of the response.
    pub(crate) records: Vec<usize>,
    /// The signatures that say that they cover it, and stand in its section.
    pub(crate) signatures: Vec<Signature>,
}

/// One RRSIG record.
///
/// ```text
/// covered 2 | algorithm 1 | labels 1 | original TTL 4 | expiration 4 | inception 4 | tag 2 | signer | signature
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    /// Where it stands in the layout of the response.
    pub(crate) record: usize,
    pub(crate) ttl: u32,
    pub(crate) algorithm: u8,
    /// Labels of the owner, less those that a wildcard stands for.
    pub(crate) labels: u8,
    pub(crate) original_ttl: u32,
    /// In seconds since 1970, modulo 2^32 (RFC 4034 §3.1.5).
    pub(crate) expiration: u32,
    pub(crate) inception: u32,
    pub(crate) tag: u16,
    pub(crate) signer: Name,
    /// All fields before the signature, in canonical form.
    pub(crate) signed_fields: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

impl RrSet {
    /// All RRsets of `response`, in the order in which they begin. Records of
    /// other classes than IN, records whose data is malformed, OPT, and
    /// signatures over nothing are left out.
    pub(crate) fn all(response: &Response) -> Vec<Self> {
        let (wire, layout) = (response.wire(), response.layout());
        let mut sets: Vec<Self> = Vec::new();
        let mut places: HashMap<(Section, Name, u16), usize> = HashMap::new();
        let mut signatures = Vec::new();
        let mut expanded = Expanded::new();
        for (number, record) in layout.records.iter().enumerate() {
            let class = u16_at(wire, record.ttl_at - 2);
            if class != Some(CLASS_IN) || record.rtype == rtype::OPT {
                continue;
            }
            let owner = name::expand(wire, record.at, &mut expanded)
                .and_then(|_| Name::from_wire(expanded.as_wire()));
            let data = canonical::data(wire, record, Case::Canonical);
            let (Some(owner), Some(data)) = (owner, data) else {
                continue;
            };
            let ttl = record.ttl(wire);
            if record.rtype == rtype::RRSIG {
                if let Some((covered, signature)) = Signature::of(number, ttl, &data) {
                    signatures.push(((record.section, owner, covered), signature));
                }
                continue;
            }
            let key = (record.section, owner, record.rtype);
            let place = *places
                .entry(key)
                .or_insert_with_key(|(section, owner, rtype)| {
                    sets.push(Self {
                        section: *section,
                        owner: owner.clone(),
                        rtype: *rtype,
                        ttl,
                        data: Vec::new(),
                        records: Vec::new(),
                        signatures: Vec::new(),
                    });
                    sets.len() - 1
                });
            let set = &mut sets[place];
            set.ttl = set.ttl.min(ttl);
            set.data.push(data);
            set.records.push(number);
        }
        for (key, signature) in signatures {
            if let Some(place) = places.get(&key) {
                sets[*place].signatures.push(signature);
            }
        }
        for set in &mut sets {
            set.data.sort_unstable();
            set.data.dedup();
        }
        sets
    }
}

impl Signature {
    /// What `data` says, with the type that it covers.
    fn of(record: usize, ttl: u32, data: &[u8]) -> Option<(u16, Self)> {
        let signer_length = name::plain_len(data.get(SIGNER_AT..)?)?;
        let (fields, signature) = data.split_at(SIGNER_AT + signer_length);
        let signature = Self {
            record,
            ttl,
            algorithm: fields[2],
            labels: fields[3],
            original_ttl: u32_at(fields, 4)?,
            expiration: u32_at(fields, 8)?,
            inception: u32_at(fields, 12)?,
            tag: u16_at(fields, 16)?,
            signer: Name::from_wire(&fields[SIGNER_AT..])?,
            signed_fields: fields.to_vec(),
            signature: signature.to_vec(),
        };
        Some((u16_at(fields, 0)?, signature))
    }
}

/// Whether the type bit map `types`, as in NSEC and NSEC3, has `rtype`
/// (RFC 4034 §4.1.2).
///
/// ```text
/// ( window 1 | length 1 | length bytes, the first type in the top bit ) …
/// ```
pub(crate) fn has_type(types: &[u8], rtype: u16) -> bool {
    let [window, low] = rtype.to_be_bytes();
    let mut rest = types;
    while let [number, length, after @ ..] = rest {
        let Some((bits, next)) = after.split_at_checked(usize::from(*length)) else {
            return false;
        };
        if *number == window {
            let byte = bits.get(usize::from(low / 8)).unwrap_or(&0);
            return byte & 0x80 >> (low % 8) != 0;
        }
        rest = next;
    }
    false
}

const SIGNER_AT: usize = 18;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::tests::{a, cname, response};
    use proptest::prelude::*;

    fn sets(change: impl FnOnce(&mut hickory_proto::op::Message)) -> Vec<RrSet> {
        RrSet::all(&Response::parse(response(change)).unwrap())
    }

    #[test]
    fn data_is_sorted_and_each_once_and_the_shortest_ttl_counts() {
        let sets = sets(|message| {
            message.add_answer(a("www.example.", 60, 9));
            message.add_answer(cname("x.example.", 60, "y.example."));
            message.add_answer(a("WWW.example.", 40, 1));
            message.add_answer(a("www.example.", 50, 9));
        });
        assert_eq!(sets.len(), 2);
        assert_eq!(sets[0].data, [[192, 0, 2, 1], [192, 0, 2, 9]]);
        assert_eq!((sets[0].ttl, &sets[0].records[..]), (40, &[0, 2, 3][..]));
    }

    #[test]
    fn the_same_name_in_another_section_is_another_set() {
        let sets = sets(|message| {
            message.add_answer(a("www.example.", 60, 1));
            message.add_additional(a("www.example.", 60, 2));
        });
        assert_eq!(sets.len(), 2);
    }

    #[test]
    fn types_are_found_in_their_window() {
        // A and MX; TYPE1234, as in the example of RFC 4034 §4.3.
        let mut types = vec![0, 2, 0x40, 0x01, 4, 0x1b];
        types.extend_from_slice(&[0; 26]);
        types.push(0x20);
        for rtype in [1, 15, 1234] {
            assert!(has_type(&types, rtype), "{rtype}");
        }
        for rtype in [0, 2, 16, 1235, 0xffff] {
            assert!(!has_type(&types, rtype), "{rtype}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..100), rtype: u16) {
            let _ = has_type(&bytes, rtype);
            let _ = Signature::of(0, 0, &bytes);
        }
    }
}
