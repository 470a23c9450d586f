//! The names of which no server is asked unless a zone is configured for them: those that
//! RFC 6761, 7686, 8375 and 9476 set aside, and the reverse zones of addresses that mean
//! nothing to strangers (RFC 6303 §4, RFC 7793).

use std::collections::HashMap;

use crate::wire::name::{Name, suffixes};

/// A special name with all below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It has the loopback addresses, and so has every name below it.
    Loopback,
    /// It does not exist.
    Absent,
    /// It is a zone in which nothing is but itself.
    Empty,
    /// The same, with `localhost.` at this one of its names.
    Reverse {
        /// In wire form.
        of: &'static [u8],
    },
}

/// Those below `arpa.`.
#[derive(Debug)]
pub(super) struct Names(HashMap<Box<[u8]>, Kind>);

impl Names {
    pub(super) fn new() -> Self {
        let reverse = V4_LOOPBACK.into_iter().chain(V6_LOOPBACK);
        let empty = EMPTY.iter().map(|name| (*name).to_owned());
        // 16 to 31.172 and 64 to 127.100 (RFC 1918, RFC 6598).
        let private = (16..=31).map(|second| format!("{second}.172.in-addr.arpa"));
        let shared = (64..=127).map(|second| format!("{second}.100.in-addr.arpa"));
        let empty = empty.chain(private).chain(shared);
        let empty = empty.filter_map(|name| {
            let name = Name::from_text(&name).ok()?;
            Some((name.as_wire().into(), Kind::Empty))
        });
        let reverse = reverse.map(|(zone, of)| (zone.into(), Kind::Reverse { of }));
        Self(empty.chain(reverse).collect())
    }

    /// The special name at or above `name`, which is in lower case, and what it is.
    pub(super) fn find<'a>(&self, name: &'a [u8]) -> Option<(&'a [u8], Kind)> {
        // Nearly all names fail this at once.
        let (top, kind) = TOPS.iter().find(|(top, _)| name.ends_with(top))?;
        match kind {
            // Only the rest of the name tells.
            None => suffixes(name).find_map(|suffix| Some((suffix, *self.0.get(suffix)?))),
            // Where no label begins there, a longer one ends in these bytes.
            Some(kind) => suffixes(name)
                .find(|suffix| suffix.len() == top.len())
                .map(|top| (top, *kind)),
        }
    }
}

pub(super) const LOCALHOST: &[u8] = b"\x09localhost\0";
/// What all of them end in, and what each is, but for `arpa.`.
const TOPS: [(&[u8], Option<Kind>); 6] = [
    (b"\x04arpa\0", None),
    (LOCALHOST, Some(Kind::Loopback)),
    (b"\x07invalid\0", Some(Kind::Absent)),
    (b"\x05onion\0", Some(Kind::Absent)),
    (b"\x04test\0", Some(Kind::Absent)),
    (b"\x03alt\0", Some(Kind::Absent)),
];
/// Zone and name.
const V4_LOOPBACK: [(&[u8], &[u8]); 1] = [(
    b"\x03127\x07in-addr\x04arpa\0",
    b"\x011\x010\x010\x03127\x07in-addr\x04arpa\0",
)];
const V6_LOOPBACK: [(&[u8], &[u8]); 1] = [(V6_ONE, V6_ONE)];
/// `::1`.
const V6_ONE: &[u8] = b"\x011\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\
    \x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x03ip6\x04arpa\0";
const EMPTY: [&str; 17] = [
    "home.arpa",
    "10.in-addr.arpa",
    "168.192.in-addr.arpa",
    "0.in-addr.arpa",
    "254.169.in-addr.arpa",
    "2.0.192.in-addr.arpa",
    "100.51.198.in-addr.arpa",
    "113.0.203.in-addr.arpa",
    "255.255.255.255.in-addr.arpa",
    "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "c.f.ip6.arpa",
    "d.f.ip6.arpa",
    "8.e.f.ip6.arpa",
    "9.e.f.ip6.arpa",
    "a.e.f.ip6.arpa",
    "b.e.f.ip6.arpa",
    "8.b.d.0.1.0.0.2.ip6.arpa",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn find(name: &str) -> Option<(String, Kind)> {
        let name = Name::from_text(name).unwrap();
        let names = Names::new();
        let (top, kind) = names.find(name.as_wire())?;
        Some((Name::from_wire(top).unwrap().to_string(), kind))
    }

    #[test]
    fn the_reverse_names_of_private_addresses_are_special_and_their_neighbours_not() {
        for (name, top) in [
            ("1.2.3.10.in-addr.arpa", "10.in-addr.arpa."),
            ("1.0.31.172.in-addr.arpa", "31.172.in-addr.arpa."),
            ("1.0.127.100.in-addr.arpa", "127.100.in-addr.arpa."),
            ("2.0.192.in-addr.arpa", "2.0.192.in-addr.arpa."),
            ("1.d.f.ip6.arpa", "d.f.ip6.arpa."),
            ("printer.home.arpa", "home.arpa."),
        ] {
            assert_eq!(find(name), Some((top.to_owned(), Kind::Empty)), "{name}");
        }
        for name in [
            "in-addr.arpa",
            "11.in-addr.arpa",
            "32.172.in-addr.arpa",
            "63.100.in-addr.arpa",
            "arpa",
            "e.f.ip6.arpa",
            "example.com",
            "nottest",
            ".",
        ] {
            assert_eq!(find(name), None, "{name}");
        }
    }

    #[test]
    fn loopback_has_a_name_both_ways() {
        let [v4, v6] = [
            "1.0.0.127.in-addr.arpa",
            &format!("1.{}ip6.arpa", "0.".repeat(31)),
        ]
        .map(|name| find(name).unwrap());
        assert_eq!(v4.0, "127.in-addr.arpa.");
        assert!(matches!(v4.1, Kind::Reverse { .. }));
        assert!(matches!(v6.1, Kind::Reverse { of } if of == V6_ONE));
        assert_eq!(find("a.localhost").unwrap().1, Kind::Loopback);
        assert_eq!(find("a.test").unwrap().1, Kind::Absent);
    }

    #[test]
    fn bytes_of_a_special_name_within_a_label_are_no_label() {
        let names = Names::new();
        assert!(names.find(b"\x0cab\x09localhost\0").is_none());
    }
}
