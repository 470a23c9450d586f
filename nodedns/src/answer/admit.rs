//! Whose questions are answered at all: the access list. Looked at for every packet, so
//! it is a comparison a subnet, and no more.

use std::net::IpAddr;

use crate::config::Subnet;

/// The subnets of those who may ask.
#[derive(Debug)]
pub(super) struct AccessList {
    v4: Vec<Range<u32>>,
    v6: Vec<Range<u128>>,
}

/// All addresses that have these bits under this mask.
#[derive(Debug)]
struct Range<T> {
    mask: T,
    bits: T,
}

impl AccessList {
    pub(super) fn new(subnets: &[Subnet]) -> Self {
        let mut list = Self {
            v4: Vec::new(),
            v6: Vec::new(),
        };
        for subnet in subnets {
            let bits = u32::from(subnet.bits());
            match subnet.address() {
                IpAddr::V4(address) => {
                    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
                    let bits = u32::from(address) & mask;
                    list.v4.push(Range { mask, bits });
                }
                IpAddr::V6(address) => {
                    let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
                    let bits = u128::from(address) & mask;
                    list.v6.push(Range { mask, bits });
                }
            }
        }
        list
    }

    /// Whether `address` is in one of them.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let address = u32::from(address);
                self.v4.iter().any(|one| address & one.mask == one.bits)
            }
            IpAddr::V6(address) => {
                let address = u128::from(address);
                self.v6.iter().any(|one| address & one.mask == one.bits)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn list(subnets: &[&str]) -> (AccessList, Vec<Subnet>) {
        let subnets: Vec<Subnet> = subnets.iter().map(|text| text.parse().unwrap()).collect();
        (AccessList::new(&subnets), subnets)
    }

    #[test]
    fn the_whole_world_can_be_let_in_and_nobody() {
        let (all, _) = list(&["0.0.0.0/0", "::/0"]);
        let (none, _) = list(&[]);
        for address in ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"] {
            let address = address.parse().unwrap();
            assert!(all.has(address) && !none.has(address));
        }
    }

    proptest! {
        #[test]
        fn it_says_what_the_subnets_say(v4: u32, v6: u128, bits in 0_u8..=32, near in 0_u32..33) {
            let own = Ipv4Addr::from(v4 ^ 1_u32.checked_shl(near).unwrap_or(0));
            let texts = [format!("{own}/{bits}"), format!("{}/{}", Ipv6Addr::from(v6), bits * 4)];
            let (list, subnets) = list(&[&texts[0], &texts[1]]);
            for address in [IpAddr::from(Ipv4Addr::from(v4)), Ipv6Addr::from(v6 ^ 1).into(), own.into()] {
                let expected = subnets.iter().any(|subnet| subnet.contains(address));
                prop_assert_eq!(list.has(address), expected, "{}", address);
            }
        }
    }
}
