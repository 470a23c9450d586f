//! The only unsafe code of nodedns: datagrams with the address at which they
//! arrived, and the buffers in which they wait; and what the kernel knows of the
//! [`clock`].
//!
//! A node has many addresses, and a socket on all of them (`0.0.0.0`) would
//! answer from the one that the route back prefers: a client that asked another
//! one drops the answer. So the kernel is asked for the address of arrival
//! (IP_PKTINFO, RFC 3542 §6.1), and told it again with the answer.

#![expect(
    unsafe_code,
    reason = "packet information, SO_RCVBUFFORCE, SO_MEMINFO and adjtimex have no safe interface in socket2 and rustix"
)]

pub(crate) mod clock;

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd as _};

use socket2::{MaybeUninitSlice, MsgHdr, MsgHdrMut, SockAddr, SockRef};

/// The address at which a datagram arrived, and from which its answer must go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    ip: IpAddr,
    /// Which link, for addresses that mean nothing without (IPv6 link-local).
    interface: u32,
}

/// One datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Datagram {
    /// Its length; what did not fit the buffer is lost.
    pub(crate) length: usize,
    /// Who sent it.
    pub(crate) from: SocketAddr,
    /// Where it arrived, when the kernel said so.
    pub(crate) arrival: Option<Arrival>,
}

/// Has the kernel say where each datagram arrived.
///
/// # Errors
/// Those of setsockopt(2).
pub(crate) fn ask_for_arrival(socket: impl AsFd, ipv6: bool) -> io::Result<()> {
    let (level, option) = if ipv6 {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
    } else {
        (libc::IPPROTO_IP, libc::IP_PKTINFO)
    };
    set_option(socket, level, option, 1)
}

/// Gives a socket's buffer for arriving datagrams that size, past the limit of
/// the machine (`net.core.rmem_max`).
///
/// # Errors
/// Those of setsockopt(2); `PermissionDenied` without CAP_NET_ADMIN.
pub(crate) fn force_receive_buffer(socket: impl AsFd, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
}

fn set_option(
    socket: impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the descriptor is open as long as it is borrowed; the kernel reads
    // one c_int at the pointer, which is one.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Datagrams that a socket has lost because its buffer was full, since it was
/// opened; the count wraps around.
///
/// # Errors
/// Those of getsockopt(2).
pub(crate) fn lost_datagrams(socket: impl AsFd) -> io::Result<u32> {
    let mut numbers = [0_u32; MEMINFO_LEN];
    let mut length = size_of_val(&numbers) as libc::socklen_t;
    // SAFETY: the descriptor is open as long as it is borrowed; the kernel writes
    // at most `length` bytes at the pointer, where as many are.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            numbers.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok(numbers[MEMINFO_DROPS])
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Receives one datagram without waiting.
///
/// # Errors
/// Those of recvmsg(2); `WouldBlock` when there is none.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8], ipv6: bool) -> io::Result<Datagram> {
    let socket = SockRef::from(&socket);
    let any: SocketAddr = if ipv6 {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    };
    let mut from = SockAddr::from(any);
    let mut control = [0_u8; CONTROL_LEN];
    let (length, control_length) = {
        let mut buffers = [MaybeUninitSlice::new(as_uninit(buffer))];
        let mut message = MsgHdrMut::new()
            .with_addr(&mut from)
            .with_buffers(&mut buffers)
            .with_control(as_uninit(&mut control));
        let length = socket.recvmsg(&mut message, libc::MSG_DONTWAIT)?;
        (length, message.control_len())
    };
    Ok(Datagram {
        length,
        from: from.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?,
        arrival: arrival(control.get(..control_length).unwrap_or(&[])),
    })
}

/// Sends one datagram without waiting, from where its question arrived.
///
/// # Errors
/// Those of sendmsg(2); `WouldBlock` when the socket's buffer is full.
pub(crate) fn send(
    socket: impl AsFd,
    data: &[u8],
    to: SocketAddr,
    from: Option<Arrival>,
) -> io::Result<()> {
    let socket = SockRef::from(&socket);
    let to = SockAddr::from(to);
    let buffers = [IoSlice::new(data)];
    let mut control = [0; CONTROL_LEN];
    let length = from.map_or(0, |from| put_arrival(&mut control, from));
    let message = MsgHdr::new()
        .with_addr(&to)
        .with_buffers(&buffers)
        .with_control(&control[..length]);
    socket.sendmsg(&message, libc::MSG_DONTWAIT).map(|_| ())
}

/// Lends initialised bytes to a system call that wants uninitialised ones.
fn as_uninit(bytes: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    let length = bytes.len();
    let pointer = bytes.as_mut_ptr().cast();
    // SAFETY: MaybeUninit<u8> has the layout of u8, and the borrow goes on. The
    // one danger, that somebody writes uninitialised bytes through it, is not
    // there: it goes to recvmsg only, and the kernel writes bytes it received.
    unsafe { std::slice::from_raw_parts_mut(pointer, length) }
}

/// Reads control messages (cmsg(3)): length, level, type, data, padding.
fn arrival(control: &[u8]) -> Option<Arrival> {
    let mut rest = control;
    loop {
        let length = usize::from_ne_bytes(*rest.first_chunk()?);
        let level = i32::from_ne_bytes(*rest.get(LEVEL_AT..)?.first_chunk()?);
        let kind = i32::from_ne_bytes(*rest.get(KIND_AT..)?.first_chunk()?);
        let data = rest.get(DATA_AT..length)?;
        match (level, kind) {
            // in_pktinfo: interface, local address, destination of the header.
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                return Some(Arrival {
                    interface: u32::from_ne_bytes(*data.first_chunk()?),
                    ip: Ipv4Addr::from(*data.get(4..)?.first_chunk::<4>()?).into(),
                });
            }
            // in6_pktinfo: address, interface.
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                return Some(Arrival {
                    ip: Ipv6Addr::from(*data.first_chunk::<16>()?).into(),
                    interface: u32::from_ne_bytes(*data.get(16..)?.first_chunk()?),
                });
            }
            _ => rest = rest.get(length.next_multiple_of(ALIGN)..)?,
        }
    }
}

/// Writes the one control message that sets the source address, and gives its
/// length. The link is named only where the address alone is not enough: naming
/// it would override the route.
fn put_arrival(control: &mut [u8; CONTROL_LEN], from: Arrival) -> usize {
    let (level, kind, data_len) = match from.ip {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO, 12),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, 20),
    };
    let length = DATA_AT + data_len;
    control[..LEVEL_AT].copy_from_slice(&length.to_ne_bytes());
    control[LEVEL_AT..KIND_AT].copy_from_slice(&level.to_ne_bytes());
    control[KIND_AT..DATA_AT].copy_from_slice(&kind.to_ne_bytes());
    match from.ip {
        IpAddr::V4(ip) => control[DATA_AT + 4..DATA_AT + 8].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => {
            control[DATA_AT..DATA_AT + 16].copy_from_slice(&ip.octets());
            if ip.is_unicast_link_local() {
                control[DATA_AT + 16..DATA_AT + 20].copy_from_slice(&from.interface.to_ne_bytes());
            }
        }
    }
    length.next_multiple_of(ALIGN)
}

/// Numbers that SO_MEMINFO gives (linux/sock_diag.h), and which of them counts
/// what was lost.
const MEMINFO_LEN: usize = 9;
const MEMINFO_DROPS: usize = 8;
const ALIGN: usize = size_of::<usize>();
const LEVEL_AT: usize = size_of::<usize>();
const KIND_AT: usize = LEVEL_AT + 4;
/// Where the data of a control message begins: `cmsghdr` is that long on Linux,
/// and no padding follows it.
const DATA_AT: usize = KIND_AT + 4;
/// Room for one packet information of either family.
const CONTROL_LEN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::UdpSocket;

    #[test]
    fn the_header_of_a_control_message_is_as_the_c_library_has_it() {
        assert_eq!(size_of::<libc::cmsghdr>(), DATA_AT);
        assert!(size_of::<libc::in6_pktinfo>() == 20 && size_of::<libc::in_pktinfo>() == 12);
    }

    /// Asks a socket on all addresses through one of them, and gives the address
    /// from which the answer came.
    fn answered_from(asked: IpAddr) -> IpAddr {
        let ipv6 = asked.is_ipv6();
        let any: IpAddr = if ipv6 {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        let server = UdpSocket::bind((any, 0)).unwrap();
        ask_for_arrival(&server, ipv6).unwrap();
        let port = server.local_addr().unwrap().port();
        let client = UdpSocket::bind((any, 0)).unwrap();
        client.send_to(b"ask", (asked, port)).unwrap();
        let mut buffer = [0; 16];
        server.set_nonblocking(true).unwrap();
        let datagram = loop {
            match receive(&server, &mut buffer, ipv6) {
                Ok(datagram) => break datagram,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        };
        assert_eq!(&buffer[..datagram.length], b"ask");
        send(&server, b"answer", datagram.from, datagram.arrival).unwrap();
        let (length, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"answer");
        from.ip()
    }

    #[test]
    fn an_answer_leaves_from_the_address_that_was_asked() {
        for asked in ["127.0.0.1", "127.0.0.2", "127.3.2.1"] {
            let asked: IpAddr = asked.parse().unwrap();
            assert_eq!(answered_from(asked), asked);
        }
    }

    #[test]
    fn ipv6_too() {
        let asked = IpAddr::V6(Ipv6Addr::LOCALHOST);
        if UdpSocket::bind((asked, 0)).is_ok() {
            assert_eq!(answered_from(asked), asked);
        } else {
            eprintln!("skipped: this machine has no IPv6");
        }
    }

    #[test]
    fn what_a_full_buffer_loses_is_counted() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        SockRef::from(&server).set_recv_buffer_size(1).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        assert_eq!(lost_datagrams(&server).unwrap(), 0);
        for _ in 0..100 {
            client.send(&[0; 1_000]).unwrap();
        }
        let mut received = 0;
        let mut buffer = [0; 1_500];
        while receive(&server, &mut buffer, false).is_ok() {
            received += 1;
        }
        assert_eq!(received + lost_datagrams(&server).unwrap(), 100);
        assert!(received < 100);
    }

    proptest! {
        #[test]
        fn any_control_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = arrival(&bytes);
        }
    }
}
