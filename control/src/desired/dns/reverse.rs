//! Which reverse zones belong to a subnet (RFC 1035 §3.5, RFC 3596 §2.5).

use std::net::IpAddr;

use crate::cluster::Subnet;

/// The reverse zones, with final dot, that CoreDNS answers: the private ranges,
/// and the Service subnet where it lies outside them.
pub(super) fn zones(services: Subnet) -> Vec<String> {
    let private: Vec<Subnet> = PRIVATE
        .iter()
        .map(|text| {
            text.parse()
                .expect("PRIVATE holds subnets, a test parses them")
        })
        .collect();
    let outside = (!private.iter().any(|range| range.covers(&services))).then_some(services);
    private
        .into_iter()
        .chain(outside)
        .flat_map(zones_of)
        .collect()
}

/// The zones that together make up `subnet`: a zone ends at a whole byte (IPv4)
/// or nibble (IPv6), so a prefix between two gives up to 128 or 8 of them.
fn zones_of(subnet: Subnet) -> Vec<String> {
    let (digits, width, suffix) = match subnet.network() {
        IpAddr::V4(address) => (address.octets().to_vec(), 8, "in-addr.arpa."),
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().flat_map(|b| [b >> 4, b & 15]);
            (nibbles.collect(), 4, "ip6.arpa.")
        }
    };
    // A whole address space is its top level's zones: 0.0.0.0/0 is in-addr.arpa itself.
    let prefix = u32::from(subnet.prefix());
    if prefix == 0 {
        return vec![suffix.to_owned()];
    }
    let length = prefix.div_ceil(width);
    let (last, parents) = (length as usize - 1, &digits[..length as usize - 1]);
    let siblings = 1_u16 << (length * width - prefix);
    let first = u16::from(digits[last]);
    (first..first + siblings)
        .map(|digit| {
            let label = |digit: u16| match width {
                8 => digit.to_string(),
                _ => format!("{digit:x}"),
            };
            let mut zone = label(digit);
            for parent in parents.iter().rev() {
                zone.push('.');
                zone.push_str(&label(u16::from(*parent)));
            }
            format!("{zone}.{suffix}")
        })
        .collect()
}

/// Addresses that are nobody's in particular: RFC 1918, RFC 6598, RFC 4193.
const PRIVATE: [&str; 5] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "fc00::/7",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn zones_of(text: &str) -> Vec<String> {
        super::zones_of(text.parse().unwrap())
    }

    #[test]
    fn a_prefix_of_whole_bytes_is_one_zone() {
        assert_eq!(zones_of("10.0.0.0/8"), ["10.in-addr.arpa."]);
        assert_eq!(zones_of("192.168.0.0/16"), ["168.192.in-addr.arpa."]);
        assert_eq!(zones_of("192.0.2.7/32"), ["7.2.0.192.in-addr.arpa."]);
        assert_eq!(zones_of("fd00::/8"), ["d.f.ip6.arpa."]);
        assert_eq!(zones_of("0.0.0.0/0"), ["in-addr.arpa."]);
        assert_eq!(zones_of("::/0"), ["ip6.arpa."]);
    }

    #[test]
    fn a_prefix_between_bytes_is_several_zones() {
        let zones = zones_of("172.16.0.0/12");
        assert_eq!(zones.len(), 16);
        assert_eq!(zones[0], "16.172.in-addr.arpa.");
        assert_eq!(zones[15], "31.172.in-addr.arpa.");
        assert_eq!(zones_of("fc00::/7"), ["c.f.ip6.arpa.", "d.f.ip6.arpa."]);
        assert_eq!(zones_of("128.0.0.0/1").len(), 128);
        assert_eq!(zones_of("128.0.0.0/1")[127], "255.in-addr.arpa.");
    }

    #[test]
    fn a_service_subnet_inside_the_private_ranges_adds_nothing() {
        let private = zones("10.96.0.0/16".parse().unwrap());
        assert_eq!(private.len(), 1 + 16 + 1 + 64 + 2);
        assert_eq!(zones("fd12::/108".parse().unwrap()), private);
        let outside = zones("198.18.0.0/15".parse().unwrap());
        assert_eq!(
            outside[private.len()..],
            ["18.198.in-addr.arpa.", "19.198.in-addr.arpa."]
        );
    }
}
