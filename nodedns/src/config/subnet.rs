//! A range of addresses, as in `10.0.0.0/8`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// All addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    address: IpAddr,
    bits: u8,
}

impl Subnet {
    /// The addresses that begin with the first `bits` bits of `address`; `None` when it has
    /// fewer.
    #[must_use]
    pub fn new(address: IpAddr, bits: u8) -> Option<Self> {
        let (_, most) = in_bits(address);
        (bits <= most).then_some(Self { address, bits })
    }

    /// One of them.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits they have in common.
    #[must_use]
    pub const fn bits(&self) -> u8 {
        self.bits
    }

    /// Whether `address` is one of them. An IPv4 address is also found in the form
    /// that it has in IPv6 (RFC 4291 §2.5.5.2).
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, family) = in_bits(self.address);
        let (other, other_family) = in_bits(address.to_canonical());
        let host_bits = u32::from(family) - u32::from(self.bits);
        family == other_family && (own ^ other).checked_shr(host_bits).unwrap_or(0) == 0
    }
}

/// The address as a number, and how many bits it has.
fn in_bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (u32::from(address).into(), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Reads `ADDRESS/BITS`, or `ADDRESS` alone, a subnet of one.
impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let wrong = || SubnetError(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let (_, most) = in_bits(address);
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| wrong())?;
        Self::new(address, bits).ok_or_else(wrong)
    }
}

/// A text that is no subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a subnet; write an address and a number of bits, as in `10.0.0.0/8` or `fd00::/8`"
)]
pub struct SubnetError(String);

/// Where no server of the public Internet can be: private, shared, local, multicast
/// and reserved addresses (RFC 6890).
pub(super) fn not_of_the_world() -> Vec<Subnet> {
    let v4 = V4.map(|(bytes, bits)| Subnet {
        address: IpAddr::from(bytes),
        bits,
    });
    let v6 = V6.map(|(first, bits)| Subnet {
        address: Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0).into(),
        bits,
    });
    let own = [Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST].map(|address| Subnet {
        address: address.into(),
        bits: 128,
    });
    v4.into_iter().chain(own).chain(v6).collect()
}

/// Where clients are that are nobody else's: private, shared, local addresses (RFC 1918,
/// 6598, 3927, 4193, 4291).
pub(super) fn private() -> Vec<Subnet> {
    let mut subnets = not_of_the_world();
    subnets.retain(|subnet| !subnet.address.is_unspecified() && !is_for_many(subnet.address));
    subnets
}

/// Multicast and reserved addresses, from which nobody asks.
const fn is_for_many(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[0] >= 224,
        IpAddr::V6(address) => address.is_multicast(),
    }
}

const V4: [([u8; 4], u8); 8] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 168, 0, 0], 16),
    // Multicast and reserved.
    ([224, 0, 0, 0], 3),
];
const V6: [(u16, u8); 3] = [(0xfc00, 7), (0xfe80, 10), (0xff00, 8)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_ends_where_its_bits_say() {
        let contains = |subnet: &str, address: &str| {
            let subnet: Subnet = subnet.parse().unwrap();
            subnet.contains(address.parse().unwrap())
        };
        assert!(contains("172.16.0.0/12", "172.31.255.255"));
        assert!(!contains("172.16.0.0/12", "172.32.0.0"));
        assert!(contains("0.0.0.0/0", "8.8.8.8") && !contains("0.0.0.0/0", "::1"));
        assert!(contains("::/0", "2001:db8::1"));
        assert!(contains("192.0.2.1", "192.0.2.1") && !contains("192.0.2.1", "192.0.2.2"));
        assert!(contains("10.0.0.0/8", "::ffff:10.1.2.3"));
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in ["10.0.0.0/8", "fd00::/8", "192.0.2.1/32"] {
            assert_eq!(text.parse::<Subnet>().unwrap().to_string(), text);
        }
        for text in ["", "10/8", "10.0.0.0/33", "::/129", "10.0.0.0/", "a/8"] {
            let error = text.parse::<Subnet>().unwrap_err().to_string();
            assert!(error.contains("is not a subnet"), "{error}");
        }
    }

    #[test]
    fn private_clients_are_those_behind_a_firewall() {
        let is_private = |address: &str| {
            let address: IpAddr = address.parse().unwrap();
            private().iter().any(|one| one.contains(address))
        };
        for address in [
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.20.10",
            "172.16.0.1",
            "192.168.1.1",
            "::1",
            "fd00::1",
            "fe80::1",
        ] {
            assert!(is_private(address), "{address}");
        }
        for address in [
            "0.0.0.0",
            "192.0.2.1",
            "224.0.0.1",
            "::",
            "2001:db8::1",
            "ff02::1",
        ] {
            assert!(!is_private(address), "{address}");
        }
    }

    #[test]
    fn the_world_is_what_is_left() {
        let is_denied = |address: &str| {
            let address: IpAddr = address.parse().unwrap();
            not_of_the_world().iter().any(|one| one.contains(address))
        };
        for address in [
            "0.0.0.0",
            "10.96.0.10",
            "100.127.0.1",
            "127.0.0.53",
            "169.254.169.254",
            "172.31.0.1",
            "192.168.1.1",
            "224.0.0.251",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "fd00::10",
            "fe80::1",
            "ff02::fb",
        ] {
            assert!(is_denied(address), "{address}");
        }
        for address in [
            "198.41.0.4",
            "100.128.0.1",
            "2001:503:ba3e::2:30",
            "11.0.0.1",
        ] {
            assert!(!is_denied(address), "{address}");
        }
    }
}
