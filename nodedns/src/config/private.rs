//! The reverse zones of addresses that nobody else can know (RFC 6303 §4, with
//! 100.64/10 of RFC 7793): insecure unless somebody says otherwise, as the world
//! has nothing signed to say about them.

use crate::config::Name;
use crate::wire::order::is_within;

/// Whether `name` is the reverse zone of private addresses, or within one.
pub(super) fn is_reverse_of_private(name: &Name) -> bool {
    let name = name.as_wire();
    WHOLE.iter().any(|zone| is_within(name, zone))
        || within_range(name, b"\x03172\x07in-addr\x04arpa\0", 16..=31)
        || within_range(name, b"\x03100\x07in-addr\x04arpa\0", 64..=127)
}

/// Whether `name` is in the zone of a second byte in `range` below `first`.
fn within_range(name: &[u8], first: &[u8], range: std::ops::RangeInclusive<u8>) -> bool {
    range.into_iter().any(|second| {
        let label = second.to_string();
        let mut zone = vec![label.len() as u8];
        zone.extend_from_slice(label.as_bytes());
        zone.extend_from_slice(first);
        is_within(name, &zone)
    })
}

const WHOLE: [&[u8]; 5] = [
    b"\x0210\x07in-addr\x04arpa\0",
    b"\x03168\x03192\x07in-addr\x04arpa\0",
    b"\x03254\x03169\x07in-addr\x04arpa\0",
    // Unique local addresses, fc00::/7 (RFC 4193).
    b"\x01c\x01f\x03ip6\x04arpa\0",
    b"\x01d\x01f\x03ip6\x04arpa\0",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_ranges_end_where_their_rfcs_say() {
        let is_private = |text| is_reverse_of_private(&Name::from_text(text).unwrap());
        for name in [
            "10.in-addr.arpa",
            "96.10.in-addr.arpa",
            "16.172.in-addr.arpa",
            "31.172.in-addr.arpa",
            "64.100.in-addr.arpa",
            "127.100.in-addr.arpa",
            "168.192.in-addr.arpa",
            "0.0.d.f.ip6.arpa",
        ] {
            assert!(is_private(name), "{name}");
        }
        for name in [
            "in-addr.arpa",
            "11.in-addr.arpa",
            "15.172.in-addr.arpa",
            "32.172.in-addr.arpa",
            "63.100.in-addr.arpa",
            "128.100.in-addr.arpa",
            "192.in-addr.arpa",
            "8.b.d.0.1.0.0.2.ip6.arpa",
            ".",
        ] {
            assert!(!is_private(name), "{name}");
        }
    }
}
