//! The subnets that this node is in, as the kernel tells them: whoever shares one with the
//! node is a neighbour.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::Subnet;

/// All of them, as they are now. A kernel that does not say leaves none, and none is let in
/// that another entry does not name.
pub(super) fn read() -> Vec<Subnet> {
    let text = |path| fs::read_to_string(path).unwrap_or_default();
    let (v4, v6) = (text("/proc/net/route"), text("/proc/net/if_inet6"));
    of_ipv4(&v4).chain(of_ipv6(&v6)).collect()
}

/// Those of a table of routes: its routes without a gateway, the default one aside.
fn of_ipv4(table: &str) -> impl Iterator<Item = Subnet> {
    table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace();
        // Interface, destination, gateway, flags, references, uses, metric, mask; addresses as
        // the machine has them in memory.
        let mut number = |at| u32::from_str_radix(fields.nth(at)?, 16).ok();
        let (destination, gateway, mask) = (number(1)?, number(0)?, number(4)?);
        let bits = mask.count_ones() as u8;
        let address = Ipv4Addr::from(destination.to_ne_bytes());
        (gateway == 0 && bits > 0).then(|| Subnet::new(IpAddr::V4(address), bits))?
    })
}

/// Those of a table of addresses.
fn of_ipv6(table: &str) -> impl Iterator<Item = Subnet> {
    table.lines().filter_map(|line| {
        // Address, interface, prefix length, …
        let mut fields = line.split_whitespace();
        let address = u128::from_str_radix(fields.next()?, 16).ok()?;
        let bits = u8::from_str_radix(fields.nth(1)?, 16).ok()?;
        (bits > 0).then(|| Subnet::new(Ipv6Addr::from(address).into(), bits))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(subnets: impl Iterator<Item = Subnet>) -> Vec<String> {
        subnets.map(|subnet| subnet.to_string()).collect()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn what_has_no_gateway_is_a_neighbour() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\n\
            eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\n\
            eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\n\
            cali1\t0507F40A\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\n";
        assert_eq!(texts(of_ipv4(table)), ["192.0.2.0/24", "10.244.7.5/32"]);
    }

    #[test]
    fn each_address_has_its_prefix() {
        let table = "20010db8000000000000000000000001 02 40 00 80     eth0\n\
            00000000000000000000000000000001 01 80 10 80       lo\n";
        assert_eq!(texts(of_ipv6(table)), ["2001:db8::1/64", "::1/128"]);
    }

    proptest! {
        #[test]
        fn any_table_is_survived(table in "([0-9A-Fa-f]{0,33}[ \t\n]{0,2}){0,40}") {
            let _ = (of_ipv4(&table).count(), of_ipv6(&table).count());
        }
    }
}
