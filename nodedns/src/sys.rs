//! The only unsafe code of nodedns: datagrams, many by one system call, with the
//! address at which they arrived ([`batch`], [`origin`]), the buffers in which they
//! wait, the socket that gets a connection of a port that several share, and what the kernel
//! knows of the [`clock`].

#![expect(
    unsafe_code,
    reason = "recvmmsg, sendmmsg, packet information, SO_RCVBUFFORCE, IP_LOCAL_PORT_RANGE, SO_ATTACH_REUSEPORT_CBPF, SO_MEMINFO and adjtimex have no safe interface in socket2 and rustix"
)]

pub(crate) mod batch;
pub(crate) mod clock;
pub(crate) mod origin;

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::ptr;

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
    set_option(socket, level, option, &1)
}

/// Gives a socket's buffer for arriving datagrams that size, past the limit of
/// the machine (`net.core.rmem_max`).
///
/// # Errors
/// Those of setsockopt(2); `PermissionDenied` without CAP_NET_ADMIN.
pub(crate) fn force_receive_buffer(socket: impl AsFd, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &bytes)
}

/// Has connect(2) take this port for a socket that has none, and no other.
///
/// # Errors
/// Those of setsockopt(2); `ENOPROTOOPT` from kernels before 6.3.
pub(crate) fn want_port(socket: impl AsFd, port: u16) -> io::Result<()> {
    // The lowest and the highest port, in one number.
    let range = u32::from(port) << 16 | u32::from(port);
    set_option(
        socket,
        libc::IPPROTO_IP,
        IP_LOCAL_PORT_RANGE,
        &range.cast_signed(),
    )
}

/// Has the kernel give whatever comes for the port of `socket` to the one with this number
/// among the sockets that share it, in the order in which they have joined; where there is
/// none, to any. When one leaves, the last takes its number.
///
/// # Errors
/// Those of setsockopt(2).
pub(crate) fn choose_socket(socket: impl AsFd, number: u32) -> io::Result<()> {
    // A program of one instruction: "return number".
    let mut program = [libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: number,
    }];
    let program = libc::sock_fprog {
        len: 1,
        filter: program.as_mut_ptr(),
    };
    let option = libc::SO_ATTACH_REUSEPORT_CBPF;
    set_option(socket, libc::SOL_SOCKET, option, &program)
}

/// Has it choose among them by itself again. Linux 5.3.
///
/// # Errors
/// Those of setsockopt(2); `NotFound` where it does already.
pub(crate) fn choose_by_hash(socket: impl AsFd) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &0)
}

/// `value` is what the option's manual says: a number, or a structure of the C library whose
/// pointers are good.
fn set_option<T>(
    socket: impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: the descriptor is open as long as it is borrowed; the kernel reads as many bytes
    // at the pointer as `value` has, and copies what that points to.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
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

/// Not in libc (linux/in.h).
const IP_LOCAL_PORT_RANGE: libc::c_int = 51;
/// Not in libc for every architecture (asm-generic/socket.h).
const SO_DETACH_REUSEPORT_BPF: libc::c_int = 68;
/// Numbers that SO_MEMINFO gives (linux/sock_diag.h), and which of them counts
/// what was lost.
const MEMINFO_LEN: usize = 9;
const MEMINFO_DROPS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use batch::Batch;
    use socket2::SockRef;
    use std::net::UdpSocket;

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
        server.set_nonblocking(true).unwrap();
        let mut received = 0;
        let mut batch = Batch::new();
        while let Ok(count) = batch.receive(&server) {
            received += count;
        }
        assert_eq!(received + lost_datagrams(&server).unwrap() as usize, 100);
        assert!(received < 100);
    }
}
