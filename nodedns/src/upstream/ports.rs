//! The ports from which questions leave: each drawn anew from all that the
//! machine sets aside for it (RFC 5452 §9.2), less those reserved for others, by
//! every thread alike. A forger has to guess among some 28,000.

use std::fs;

use rand::seq::IndexedRandom as _;

/// The ports that may be drawn.
#[derive(Debug)]
pub(super) struct Ports(Vec<u16>);

impl Ports {
    /// The range and the reservations of this machine, as they are now.
    pub(super) fn of_this_machine() -> Self {
        let read = |name: &str| {
            fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default()
        };
        Self::parse(
            &read("ip_local_port_range"),
            &read("ip_local_reserved_ports"),
        )
    }

    /// Just these.
    #[cfg(test)]
    pub(super) fn of(ports: &[u16]) -> Self {
        Self(ports.to_vec())
    }

    /// `range` is two numbers, `reserved` a list as in `8080,9000-9010`. What
    /// cannot be read is left out; a range that cannot is the kernel's default.
    fn parse(range: &str, reserved: &str) -> Self {
        let mut bounds = range
            .split_whitespace()
            .filter_map(|text| text.parse().ok());
        let (from, to) = match (bounds.next(), bounds.next()) {
            (Some(from), Some(to)) => (from, to),
            _ => DEFAULT_RANGE,
        };
        let reserved: Vec<_> = reserved
            .trim()
            .split(',')
            .filter_map(|part| {
                let (from, to) = part.split_once('-').unwrap_or((part, part));
                Some(from.parse::<u16>().ok()?..=to.parse::<u16>().ok()?)
            })
            .collect();
        let is_free = |port: &u16| *port > 0 && !reserved.iter().any(|range| range.contains(port));
        Self((from..=to).filter(is_free).collect())
    }

    /// One of them; 0, for the kernel to choose, where all are reserved.
    pub(super) fn draw(&self) -> u16 {
        self.0.choose(&mut rand::rng()).copied().unwrap_or(0)
    }
}

const DEFAULT_RANGE: (u16, u16) = (32_768, 60_999);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_ports_are_left_out_of_the_range() {
        let ports = Ports::parse("1000\t1010\n", "1,1000,1003-1005,1010-1100\n");
        assert_eq!(ports.0, [1001, 1002, 1006, 1007, 1008, 1009]);
    }

    #[test]
    fn what_cannot_be_read_is_the_default() {
        for range in ["", "x y", "70000 80000"] {
            let ports = Ports::parse(range, "");
            assert_eq!(ports.0.len(), 28_232, "{range}");
        }
        assert_eq!(Ports::parse("1 2", "x,2-y").0, [1, 2]);
    }
}
