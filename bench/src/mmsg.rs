//! Datagrams, many by one system call: the only unsafe code here.

#![expect(
    unsafe_code,
    reason = "recvmmsg and sendmmsg have no safe interface in std, socket2 and rustix"
)]

use std::io;
use std::mem::zeroed;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;

use libc::{c_int, c_uint, c_void, iovec, mmsghdr, sockaddr_in, socklen_t};

/// Room for [`MOST`] datagrams, and, for a socket that is not connected, where they came from.
#[derive(Debug)]
pub struct Datagrams {
    buffers: Box<[u8]>,
    lengths: [usize; MOST],
    origins: Option<Box<[Origin]>>,
}

/// The sender, and the packet information (ip(7)): one control message.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
struct Origin {
    control: [u8; 32],
    control_len: usize,
    address: sockaddr_in,
}

impl Datagrams {
    /// For a connected socket.
    #[must_use]
    pub fn connected() -> Self {
        Self {
            buffers: vec![0; MOST * LONGEST].into(),
            lengths: [0; MOST],
            origins: None,
        }
    }

    /// For a server, over IPv4: what is sent goes to where what was received in its place came from, from
    /// the address at which it arrived.
    #[must_use]
    pub fn of_server() -> Self {
        // SAFETY: integers and arrays of them, for which zeroes are good values.
        let origin: Origin = unsafe { zeroed() };
        Self {
            origins: Some(vec![origin; MOST].into()),
            ..Self::connected()
        }
    }

    /// Receives what is there; waits for a first datagram if told to. Gives their number.
    ///
    /// # Errors
    /// Those of recvmmsg(2).
    pub fn receive(&mut self, socket: &UdpSocket, wait: bool) -> io::Result<usize> {
        if let Some(origins) = &mut self.origins {
            for origin in origins {
                origin.control_len = size_of_val(&origin.control);
            }
        }
        self.lengths = [LONGEST; MOST];
        let flags = if wait {
            libc::MSG_WAITFORONE
        } else {
            libc::MSG_DONTWAIT
        };
        self.call(MOST, |headers, count| {
            // SAFETY: the descriptor is open as long as it is borrowed, and `call` has set the headers up.
            unsafe {
                libc::recvmmsg(
                    socket.as_raw_fd(),
                    headers,
                    count,
                    flags,
                    std::ptr::null_mut(),
                )
            }
        })
    }

    /// Sends the first `count`, without waiting. Gives the number of those that were sent.
    ///
    /// # Errors
    /// Those of sendmmsg(2), when none was sent.
    pub fn send(&mut self, socket: &UdpSocket, count: usize) -> io::Result<usize> {
        self.call(count, |headers, count| {
            // SAFETY: as in `receive`.
            unsafe { libc::sendmmsg(socket.as_raw_fd(), headers, count, libc::MSG_DONTWAIT) }
        })
    }

    /// The datagram in that place.
    #[must_use]
    pub fn get(&self, place: usize) -> &[u8] {
        &self.buffers[place * LONGEST..][..self.lengths[place]]
    }

    /// Makes the datagram in that place so long, and lends it.
    ///
    /// # Panics
    /// When it is longer than [`LONGEST`].
    pub fn resize(&mut self, place: usize, length: usize) -> &mut [u8] {
        self.lengths[place] = length;
        &mut self.buffers[place * LONGEST..(place + 1) * LONGEST][..length]
    }

    /// Sets the first `count` headers up, has the system call made, and takes lengths over.
    fn call(
        &mut self,
        count: usize,
        system_call: impl FnOnce(*mut mmsghdr, c_uint) -> c_int,
    ) -> io::Result<usize> {
        // SAFETY: structures of integers and pointers, for which zeroes are good values.
        let (mut headers, mut buffers): ([mmsghdr; MOST], [iovec; MOST]) =
            unsafe { (zeroed(), zeroed()) };
        let count = count.min(MOST);
        for (place, bytes) in self
            .buffers
            .chunks_exact_mut(LONGEST)
            .take(count)
            .enumerate()
        {
            buffers[place].iov_base = bytes.as_mut_ptr().cast();
            buffers[place].iov_len = self.lengths[place];
            let header = &mut headers[place].msg_hdr;
            header.msg_iov = &raw mut buffers[place];
            header.msg_iovlen = 1;
            if let Some(origins) = &mut self.origins {
                let origin = &mut origins[place];
                header.msg_name = (&raw mut origin.address).cast::<c_void>();
                header.msg_namelen = size_of_val(&origin.address) as socklen_t;
                header.msg_control = (&raw mut origin.control).cast::<c_void>();
                header.msg_controllen = origin.control_len;
            }
        }
        let done = system_call(headers.as_mut_ptr(), count as c_uint);
        let done = usize::try_from(done).map_err(|_| io::Error::last_os_error())?;
        for (place, header) in headers.iter().enumerate().take(done) {
            self.lengths[place] = header.msg_len as usize;
            if let Some(origins) = &mut self.origins {
                let origin = &mut origins[place];
                origin.control_len = header.msg_hdr.msg_controllen;
                // Not the link: naming it would override the route.
                origin.control[16..20].fill(0);
            }
        }
        Ok(done)
    }
}

/// Has the kernel say where each datagram arrived.
///
/// # Errors
/// Those of setsockopt(2).
pub fn ask_for_arrival(socket: &UdpSocket) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: the descriptor is open as long as it is borrowed; the kernel reads one c_int at the pointer.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_PKTINFO,
            (&raw const on).cast::<c_void>(),
            size_of_val(&on) as socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Datagrams of one system call.
pub const MOST: usize = 32;
/// Bytes of a datagram; longer ones are cut off.
pub const LONGEST: usize = 1_472;
