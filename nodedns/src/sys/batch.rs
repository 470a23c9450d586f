//! Datagrams received by one system call, and answered by one.

use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::os::fd::{AsFd, AsRawFd as _};

use libc::{c_int, c_uint, iovec, mmsghdr};

use crate::sys::origin::Origin;
use crate::wire::edns::UDP_SIZE;

/// Queries, where they came from, and their answers.
pub(crate) struct Batch {
    packets: Box<[u8]>,
    lengths: [usize; BATCH],
    origins: Box<[Origin]>,
    answers: Box<[Vec<u8>]>,
    /// The places whose answers are to be sent.
    ready: Vec<usize>,
    /// How many to ask for: no call sets up more than it will need.
    wanted: usize,
}

impl Batch {
    pub(crate) fn new() -> Self {
        let answer = || Vec::with_capacity(UDP_SIZE.into());
        Self {
            packets: vec![0; BATCH * MAX_QUERY].into(),
            lengths: [0; BATCH],
            origins: vec![Origin::EMPTY; BATCH].into(),
            answers: (0..BATCH).map(|_| answer()).collect(),
            ready: Vec::with_capacity(BATCH),
            wanted: 1,
        }
    }

    /// Waits for a datagram, as long as the socket says, and receives what else is
    /// there, up to [`BATCH`], in place of those before; what is longer than
    /// [`MAX_QUERY`] is cut off. Gives their number.
    ///
    /// # Errors
    /// Those of recvmmsg(2); `WouldBlock` when there was none.
    pub(crate) fn receive(&mut self, socket: impl AsFd) -> io::Result<usize> {
        self.ready.clear();
        let (mut headers, mut buffers) = (unset::<mmsghdr>(), unset());
        let packets = self.packets.chunks_exact_mut(MAX_QUERY);
        for (((header, buffer), packet), origin) in headers
            .iter_mut()
            .zip(&mut buffers)
            .zip(packets)
            .zip(&mut self.origins)
            .take(self.wanted)
        {
            let buffer = buffer.write(iovec {
                iov_base: packet.as_mut_ptr().cast(),
                iov_len: packet.len(),
            });
            let header = &mut header.write(empty()).msg_hdr;
            header.msg_iov = buffer;
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut origin.address).cast();
            header.msg_namelen = size_of_val(&origin.address) as libc::socklen_t;
            header.msg_control = (&raw mut origin.control).cast();
            header.msg_controllen = size_of_val(&origin.control);
        }
        let socket = socket.as_fd();
        // SAFETY: the descriptor is open as long as it is borrowed. `wanted` headers
        // are set up, each with one buffer, an address and a control message, to
        // which they point with their lengths; all of it lives and is borrowed by
        // nobody else until the call is over. No timeout is given.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr().cast(),
                self.wanted as c_uint,
                libc::MSG_WAITFORONE,
                std::ptr::null_mut(),
            )
        };
        let received = count(received)?;
        for (place, header) in headers.iter().enumerate().take(received) {
            // SAFETY: no more are received than are set up.
            let header = unsafe { header.assume_init_ref() };
            self.lengths[place] = header.msg_len as usize;
            let origin = &mut self.origins[place];
            origin.control_len = header.msg_hdr.msg_controllen;
            origin.turn_around();
        }
        self.wanted = (2 * received).clamp(MIN_WANTED, BATCH);
        Ok(received)
    }

    /// The datagram at `place`, and the buffer for its answer.
    pub(crate) fn at(&mut self, place: usize) -> (&[u8], &mut Vec<u8>) {
        let begin = place * MAX_QUERY;
        (
            &self.packets[begin..begin + self.lengths[place]],
            &mut self.answers[place],
        )
    }

    /// Where the datagram at `place` came from.
    pub(crate) fn origin(&self, place: usize) -> &Origin {
        &self.origins[place]
    }

    /// The answer at `place` is made.
    pub(crate) fn ready(&mut self, place: usize) {
        self.ready.push(place);
    }

    /// Sends the answers that are made, without waiting. Gives the number of those
    /// that could not be sent.
    pub(crate) fn send(&mut self, socket: impl AsFd) -> usize {
        let answers = self.ready.iter();
        let answers = answers.map(|&place| (&self.answers[place][..], &self.origins[place]));
        let failed = send_some(socket, answers);
        self.ready.clear();
        failed
    }
}

/// Sends each datagram to where its question came from, without waiting. Gives the number of
/// those that could not be sent: the socket's buffer is full, say.
pub(crate) fn send_all<D: AsRef<[u8]>>(socket: impl AsFd, datagrams: &[(D, Origin)]) -> usize {
    let socket = socket.as_fd();
    let chunks = datagrams.chunks(BATCH);
    chunks
        .map(|chunk| send_some(socket, chunk.iter().map(|(data, to)| (data.as_ref(), to))))
        .sum()
}

/// The same for [`BATCH`] datagrams at most.
fn send_some<'a>(
    socket: impl AsFd,
    datagrams: impl Iterator<Item = (&'a [u8], &'a Origin)>,
) -> usize {
    let (mut headers, mut buffers) = (unset::<mmsghdr>(), unset());
    let mut number = 0;
    for ((header, buffer), (data, to)) in headers.iter_mut().zip(&mut buffers).zip(datagrams) {
        let header = &mut header.write(empty()).msg_hdr;
        header.msg_iov = buffer.write(iovec {
            iov_base: data.as_ptr().cast_mut().cast(),
            iov_len: data.len(),
        });
        header.msg_iovlen = 1;
        header.msg_name = (&raw const to.address).cast_mut().cast();
        header.msg_namelen = to.address_len() as libc::socklen_t;
        if to.control_len > 0 {
            header.msg_control = (&raw const to.control).cast_mut().cast();
            header.msg_controllen = to.control_len;
        }
        number += 1;
    }
    let socket = socket.as_fd();
    let mut rest = &mut headers[..number];
    let mut failed = 0;
    while !rest.is_empty() {
        // SAFETY: the descriptor is open as long as it is borrowed; each of these headers is
        // set up above with what is borrowed for `'a`, and the kernel only reads that.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                rest.as_mut_ptr().cast(),
                rest.len() as c_uint,
                libc::MSG_DONTWAIT,
            )
        };
        // An error is about the first: the others have their turn.
        let done = count(sent).unwrap_or_else(|_| {
            failed += 1;
            1
        });
        rest = &mut rest[done.max(1)..];
    }
    failed
}

/// Room for as many as one call takes. Only as many are set as there are datagrams: to set all
/// would take longer than to answer one.
const fn unset<T>() -> [MaybeUninit<T>; BATCH] {
    [const { MaybeUninit::uninit() }; BATCH]
}

/// No buffer, no address.
const fn empty() -> mmsghdr {
    // SAFETY: it is a structure of integers and pointers, for which zeroes are good values.
    unsafe { zeroed() }
}

fn count(result: c_int) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Datagrams of one system call at most. More make the answer to the first late, and
/// save little.
const BATCH: usize = 32;
/// The least that is asked for at once.
const MIN_WANTED: usize = 4;
/// What fits a packet on an Ethernet, and an odd number of cache lines, so that the
/// beginnings of all do not fall on the same ones. What is cut off is answered with
/// FORMERR.
const MAX_QUERY: usize = 1_472;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::ask_for_arrival;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
    use std::time::Duration;

    /// A socket on all addresses, which asks where its datagrams arrive.
    fn server(ipv6: bool) -> UdpSocket {
        let any: IpAddr = if ipv6 {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        let server = UdpSocket::bind((any, 0)).unwrap();
        server
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        ask_for_arrival(&server, ipv6).unwrap();
        server
    }

    /// Asks a socket on all addresses through one of them, and gives the addresses
    /// from which an answer of a batch and an answer by itself came.
    fn answered_from(asked: IpAddr) -> [IpAddr; 2] {
        let server = server(asked.is_ipv6());
        let port = server.local_addr().unwrap().port();
        let any = server.local_addr().unwrap().ip();
        let client = UdpSocket::bind((any, 0)).unwrap();
        client.send_to(b"ask", (asked, port)).unwrap();
        let mut batch = Batch::new();
        assert_eq!(batch.receive(&server).unwrap(), 1);
        let (packet, answer) = batch.at(0);
        assert_eq!(packet, b"ask");
        answer.extend_from_slice(b"answer");
        batch.ready(0);
        assert_eq!(batch.send(&server), 0);
        let origin = *batch.origin(0);
        let from = origin.client().unwrap();
        assert_eq!(from.port(), client.local_addr().unwrap().port());
        assert_eq!(send_all(&server, &[(b"answer", origin)]), 0);
        [(); 2].map(|()| {
            let mut buffer = [0; 16];
            let (length, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"answer");
            from.ip()
        })
    }

    #[test]
    fn an_answer_leaves_from_the_address_that_was_asked() {
        for asked in ["127.0.0.1", "127.0.0.2", "127.3.2.1"] {
            let asked: IpAddr = asked.parse().unwrap();
            assert_eq!(answered_from(asked), [asked; 2]);
        }
    }

    #[test]
    fn ipv6_too() {
        let asked = IpAddr::V6(Ipv6Addr::LOCALHOST);
        if UdpSocket::bind((asked, 0)).is_ok() {
            assert_eq!(answered_from(asked), [asked; 2]);
        } else {
            eprintln!("skipped: this machine has no IPv6");
        }
    }

    #[test]
    fn each_of_many_gets_its_own_answer() {
        let server = server(false);
        let to = (Ipv4Addr::LOCALHOST, server.local_addr().unwrap().port());
        let clients = [(); 100].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        for (number, client) in clients.iter().enumerate() {
            client.send_to(&[number as u8], to).unwrap();
        }
        let mut batch = Batch::new();
        let mut left = clients.len();
        while left > 0 {
            let received = batch.receive(&server).unwrap();
            left -= received;
            for place in 0..received {
                let (packet, answer) = batch.at(place);
                answer.clear();
                answer.extend_from_slice(packet);
                // Every fourth gets none.
                if packet[0] % 4 > 0 {
                    batch.ready(place);
                }
            }
            assert_eq!(batch.send(&server), 0);
        }
        for (number, client) in clients.iter().enumerate() {
            client.set_nonblocking(true).unwrap();
            let mut buffer = [0; 16];
            match client.recv(&mut buffer) {
                Ok(length) => assert_eq!(buffer[..length], [number as u8]),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    assert_eq!(number % 4, 0);
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_sent_does_not_keep_the_others() {
        let server = server(false);
        let to = (Ipv4Addr::LOCALHOST, server.local_addr().unwrap().port());
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut batch = Batch::new();
        for _ in 0..3 {
            client.send_to(b"ask", to).unwrap();
            // One by one, so that the first call asks for all.
            batch.wanted = BATCH;
        }
        assert_eq!(batch.receive(&server).unwrap(), 3);
        for place in 0..3 {
            let (_, answer) = batch.at(place);
            answer.resize(if place == 1 { 70_000 } else { 100 }, 0);
            batch.ready(place);
        }
        assert_eq!(batch.send(&server), 1);
        for _ in 0..2 {
            assert_eq!(client.recv(&mut [0; 200]).unwrap(), 100);
        }
    }

    #[test]
    fn a_long_datagram_is_cut_off_and_nothing_is_no_datagram() {
        let server = server(false);
        let to = (Ipv4Addr::LOCALHOST, server.local_addr().unwrap().port());
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(&[1; 9_000], to).unwrap();
        client.send_to(&[], to).unwrap();
        let mut batch = Batch::new();
        batch.wanted = BATCH;
        server.set_nonblocking(true).unwrap();
        assert_eq!(batch.receive(&server).unwrap(), 2);
        assert_eq!(batch.at(0).0, [1; MAX_QUERY]);
        assert!(batch.at(1).0.is_empty());
        let none = batch.receive(&server).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
    }
}
