//! Where a datagram came from and at which address it arrived, as its answer has to
//! be told.
//!
//! A node has many addresses, and a socket on all of them (`0.0.0.0`) would answer
//! from the one that the route back prefers: a client that asked another one drops
//! the answer. So the kernel is asked for the address of arrival (IP_PKTINFO, RFC
//! 3542 §6.1), and told it again with the answer. Both stay as the kernel wrote
//! them: most are only handed back.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use libc::{AF_INET, AF_INET6, IP_PKTINFO, IPPROTO_IP, IPPROTO_IPV6, IPV6_PKTINFO, sockaddr_in6};

/// The two ends of one datagram.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    /// The sender, of either family: `sockaddr_in` is the same up to the port, and
    /// has its address where this one has `sin6_flowinfo`.
    pub(super) address: sockaddr_in6,
    /// One control message: the packet information.
    pub(super) control: Control,
    /// Its length; 0 when the kernel did not say where the datagram arrived.
    pub(super) control_len: usize,
}

/// A control message (cmsg(3)) is a length, a level, a type, and data.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control(pub(super) [u8; CONTROL_LEN]);

impl Origin {
    /// Nothing received yet.
    pub(super) const EMPTY: Self = Self {
        address: sockaddr_in6 {
            sin6_family: 0,
            sin6_port: 0,
            sin6_flowinfo: 0,
            sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
            sin6_scope_id: 0,
        },
        control: Control([0; CONTROL_LEN]),
        control_len: 0,
    };

    /// Who sent it; `None` when that is no address of the Internet.
    pub(crate) fn client(&self) -> Option<SocketAddr> {
        let raw = &self.address;
        let port = u16::from_be(raw.sin6_port);
        match i32::from(raw.sin6_family) {
            AF_INET => {
                let ip = Ipv4Addr::from(raw.sin6_flowinfo.to_ne_bytes());
                Some((ip, port).into())
            }
            AF_INET6 => {
                let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
                Some((ip, port).into())
            }
            _ => None,
        }
    }

    /// Bytes of the address, for the kernel.
    pub(super) fn address_len(&self) -> usize {
        match i32::from(self.address.sin6_family) {
            AF_INET => size_of::<libc::sockaddr_in>(),
            _ => size_of::<sockaddr_in6>(),
        }
    }

    /// Makes of the packet information that came with a datagram the one that sends
    /// its answer off from there. The link is named only where the address alone is
    /// not enough: naming it would override the route.
    pub(super) fn turn_around(&mut self) {
        let control = &mut self.control.0;
        let kind = |at: usize| i32::from_ne_bytes([0, 1, 2, 3].map(|byte| control[at + byte]));
        let link_at = match (self.control_len, kind(LEVEL_AT), kind(KIND_AT)) {
            // in_pktinfo: interface, local address, destination of the header.
            (V4_LEN.., IPPROTO_IP, IP_PKTINFO) => DATA_AT,
            // in6_pktinfo: address, interface.
            (V6_LEN.., IPPROTO_IPV6, IPV6_PKTINFO) => {
                let is_link_local = control[DATA_AT] == 0xfe && control[DATA_AT + 1] & 0xc0 == 0x80;
                if is_link_local {
                    return;
                }
                DATA_AT + 16
            }
            _ => {
                self.control_len = 0;
                return;
            }
        };
        control[link_at..link_at + 4].fill(0);
    }
}

const LEVEL_AT: usize = size_of::<usize>();
const KIND_AT: usize = LEVEL_AT + 4;
/// Where the data of a control message begins: `cmsghdr` is that long on Linux,
/// and no padding follows it.
const DATA_AT: usize = KIND_AT + 4;
const V4_LEN: usize = DATA_AT + size_of::<libc::in_pktinfo>();
const V6_LEN: usize = DATA_AT + size_of::<libc::in6_pktinfo>();
/// Room for the packet information of either family.
const CONTROL_LEN: usize = V6_LEN.next_multiple_of(size_of::<usize>());

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_header_of_a_control_message_is_as_the_c_library_has_it() {
        assert_eq!(size_of::<libc::cmsghdr>(), DATA_AT);
    }

    #[test]
    fn an_address_of_another_family_is_nobody() {
        assert_eq!(Origin::EMPTY.client(), None);
    }

    proptest! {
        #[test]
        fn any_control_bytes_are_survived(bytes: [u8; 32], control_len in 0..=CONTROL_LEN) {
            let mut origin = Origin { control_len, ..Origin::EMPTY };
            origin.control.0[..32].copy_from_slice(&bytes);
            origin.turn_around();
            prop_assert!(origin.control_len == 0 || origin.control_len == control_len);
        }
    }
}
