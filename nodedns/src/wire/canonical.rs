//! The data of a record without compression: as it was sent, or in the canonical
//! form over which signatures are made (RFC 4034 §6.2, RFC 6840 §5.1).

use crate::wire::name::{self, Expanded};
use crate::wire::record::Record;
use crate::wire::rtype;

/// What becomes of the names in the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// They stay as the server wrote them.
    AsSent,
    /// They are put in lower case, in the types for which RFC 4034 §6.2 says so.
    Canonical,
}

/// The data of `record` in `message`, its names expanded. Nothing when the data
/// is not built as its type wants; data of other types is taken as it is.
pub(crate) fn data(message: &[u8], record: &Record, case: Case) -> Option<Vec<u8>> {
    let mut at = record.data_at;
    let mut data = Vec::with_capacity(record.end - record.data_at);
    let mut expanded = Expanded::new();
    for part in parts(record.rtype) {
        let end = match part {
            Part::Bytes(count) => at + count,
            Part::Text => at + 1 + usize::from(*message.get(at)?),
            Part::Name => {
                let after = name::expand(message, at, &mut expanded)?;
                let start = data.len();
                data.extend_from_slice(expanded.as_wire());
                if case == Case::Canonical {
                    data[start..].make_ascii_lowercase();
                }
                at = after;
                continue;
            }
        };
        if end > record.end {
            return None;
        }
        data.extend_from_slice(message.get(at..end)?);
        at = end;
    }
    if at > record.end {
        return None;
    }
    data.extend_from_slice(message.get(at..record.end)?);
    Some(data)
}

/// A part of a record's data; what follows the last one is plain bytes.
enum Part {
    Name,
    Bytes(usize),
    /// A length byte and as many bytes.
    Text,
}

/// The types whose data has names that may be compressed (RFC 3597 §4) or are
/// put in lower case. The next name of NSEC is neither (RFC 6840 §5.1).
const fn parts(rtype: u16) -> &'static [Part] {
    use Part::{Bytes, Name, Text};
    match rtype {
        // NS, MD, MF, CNAME, MB, MG, MR, PTR, DNAME.
        2..=5 | 7..=9 | 12 | rtype::DNAME => &[Name],
        rtype::SOA => &[Name, Name, Bytes(20)],
        // MINFO, RP.
        14 | 17 => &[Name, Name],
        // MX, AFSDB, RT, KX.
        15 | 18 | 21 | 36 => &[Bytes(2), Name],
        // SIG, RRSIG.
        24 | rtype::RRSIG => &[Bytes(18), Name],
        // PX.
        26 => &[Bytes(2), Name, Name],
        // NXT.
        30 => &[Name],
        // SRV.
        33 => &[Bytes(6), Name],
        // NAPTR.
        35 => &[Bytes(4), Text, Text, Text, Name],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::Layout;
    use crate::wire::record::tests::{name, response};
    use hickory_proto::rr::rdata::{MX, SRV, TXT};
    use hickory_proto::rr::{RData, Record as HickoryRecord};
    use proptest::prelude::*;

    fn data_of(rdata: RData, case: Case) -> Vec<u8> {
        let wire = response(|message| {
            message.add_answer(HickoryRecord::from_rdata(name("www.example."), 60, rdata));
        });
        let layout = Layout::of(&wire).unwrap();
        data(&wire, &layout.records[0], case).unwrap()
    }

    #[test]
    fn names_are_expanded_and_put_in_lower_case() {
        let mx = RData::MX(MX::new(10, name("Mail.Example.")));
        assert_eq!(
            data_of(mx.clone(), Case::Canonical),
            b"\0\x0a\x04mail\x07example\0"
        );
        assert_eq!(data_of(mx, Case::AsSent), b"\0\x0a\x04Mail\x07Example\0");
        let srv = RData::SRV(SRV::new(1, 2, 3, name("WWW.example.")));
        assert_eq!(
            data_of(srv, Case::Canonical),
            b"\0\x01\0\x02\0\x03\x03www\x07example\0"
        );
    }

    #[test]
    fn other_data_stays_as_it_is() {
        let txt = RData::TXT(TXT::new(vec!["Text".to_owned()]));
        assert_eq!(data_of(txt, Case::Canonical), b"\x04Text");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(
            bytes in prop::collection::vec(any::<u8>(), 0..100),
            rtype in 0_u16..60,
            at in 0_usize..60,
            length in 0_usize..60,
        ) {
            let end = (at + length).min(bytes.len());
            let record = Record {
                section: crate::wire::record::Section::Answer,
                at: 0,
                rtype,
                ttl_at: 0,
                data_at: at.min(end),
                end,
            };
            let _ = data(&bytes, &record, Case::Canonical);
        }
    }
}
