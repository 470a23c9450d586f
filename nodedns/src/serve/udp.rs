//! Queries in datagrams.
//!
//! ```text
//! read ─► answer ──hit──► send
//!   │        └──miss──► Misses
//!   └─► waiting, once a turn has had its misses: the socket's buffer may be small
//! ```

use std::collections::VecDeque;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use daemon::shutdown::Drain;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::answer::Outcome;
use crate::metrics::{Metrics, Unanswered};
use crate::serve::Service;
use crate::sys::{self, Arrival, Datagram};
use crate::wire::edns::UDP_SIZE;
use crate::wire::patch::Transport;

/// Serves one socket until the drain starts, then what is queued in it.
///
/// # Errors
/// The socket's readiness cannot be told any more.
pub(crate) async fn serve(
    socket: std::net::UdpSocket,
    service: Arc<Service>,
    mut drain: Drain,
) -> io::Result<()> {
    let ipv6 = socket.local_addr()?.is_ipv6();
    let mut port = Port {
        socket: Arc::new(UdpSocket::from_std(socket)?),
        ipv6,
        service,
        packet: vec![0; MAX_QUERY],
        out: Vec::with_capacity(usize::from(UDP_SIZE)),
        waiting: VecDeque::new(),
        lost: 0,
    };
    loop {
        tokio::select! {
            readable = port.socket.readable(), if port.waiting.is_empty() => readable?,
            () = ready(()), if !port.waiting.is_empty() => {}
            () = drain.started() => break,
        }
        port.burst();
        // Others of this worker have their turn between bursts.
        tokio::task::yield_now().await;
    }
    // A flood must not keep the answers that wait from being sent.
    for _ in 0..LAST_BURSTS {
        if !port.burst() {
            break;
        }
    }
    Ok(())
}

struct Port {
    socket: Arc<UdpSocket>,
    ipv6: bool,
    service: Arc<Service>,
    packet: Vec<u8>,
    out: Vec<u8>,
    /// Queries that were read and have to wait for their turn.
    waiting: VecDeque<(Datagram, Box<[u8]>)>,
    /// Queries that the socket had no room for, as far as they are counted.
    lost: u32,
}

impl Port {
    /// Serves those that wait, then reads up to [`BURST`] packets, and serves them
    /// as long as there are not too many misses among them. True when there may
    /// be more.
    fn burst(&mut self) -> bool {
        let mut misses = 0;
        while misses < MISSES
            && let Some((datagram, packet)) = self.waiting.pop_front()
        {
            self.packet[..packet.len()].copy_from_slice(&packet);
            misses += usize::from(self.serve(datagram));
        }
        for _ in 0..BURST {
            if self.waiting.len() >= MAX_WAITING {
                break;
            }
            let (socket, packet) = (&self.socket, &mut self.packet);
            let received = socket.try_io(Interest::READABLE, || {
                sys::receive(socket.as_ref(), packet, self.ipv6)
            });
            match received {
                Ok(datagram) if misses < MISSES => misses += usize::from(self.serve(datagram)),
                Ok(datagram) => {
                    let packet = self.packet[..datagram.length].into();
                    self.waiting.push_back((datagram, packet));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return !self.waiting.is_empty();
                }
                // What an earlier answer ran into ("port unreachable").
                Err(_) => {}
            }
        }
        self.count_lost();
        true
    }

    /// Where queries were lost there are many, so this is asked after full bursts.
    fn count_lost(&mut self) {
        let Ok(lost) = sys::lost_datagrams(self.socket.as_ref()) else {
            return;
        };
        self.service
            .metrics
            .lost(lost.wrapping_sub(self.lost).into());
        self.lost = lost;
    }

    /// Answers the packet that was read, or has its answer found: true.
    fn serve(&mut self, datagram: Datagram) -> bool {
        let Datagram {
            length,
            from,
            arrival,
        } = datagram;
        let metrics = &self.service.metrics;
        // A datagram from port 0 cannot be answered, and is no client's.
        if from.port() == 0 {
            metrics.unanswered(Unanswered::NotAQuery);
            return false;
        }
        let packet = &self.packet[..length];
        match self.service.answer(&mut self.out, packet, Transport::Udp) {
            Outcome::Answer => send(metrics, &self.socket, &self.out, from, arrival),
            Outcome::Silence => {}
            Outcome::Miss(miss) => {
                let socket = Arc::clone(&self.socket);
                let found = self.service.find(miss, move |metrics, out| {
                    send(metrics, &socket, out, from, arrival);
                });
                if let Err(out) = found {
                    metrics.unanswered(Unanswered::TooBusy);
                    send(metrics, &self.socket, &out, from, arrival);
                }
                return true;
            }
        }
        false
    }
}

/// Sends without waiting: when the socket is full the client asks again.
fn send(metrics: &Metrics, socket: &UdpSocket, out: &[u8], to: SocketAddr, from: Option<Arrival>) {
    if sys::send(socket, out, to, from).is_err() {
        metrics.unanswered(Unanswered::SendFailed);
    }
}

/// Queries are far shorter; what is cut off is answered with FORMERR.
const MAX_QUERY: usize = 4_096;
/// Packets that are read at once. Between two bursts all else of this worker has
/// its turn; the socket's buffer has to hold what comes meanwhile, and where
/// `net.core.rmem_max` was never raised that is 550 packets.
const BURST: usize = 4_096;
/// Misses of one burst: each becomes a task and a socket, so that many of them
/// make the next burst late.
const MISSES: usize = 64;
/// Queries that wait at once, some 150 bytes each. Beyond, the socket is full.
const MAX_WAITING: usize = 16_384;
/// More than may wait.
const LAST_BURSTS: usize = 512;
