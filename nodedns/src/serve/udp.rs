//! Queries in datagrams, on a thread for each socket.
//!
//! ```text
//! receive many ─► answer each ──hits──► send many
//!                      └──miss──► Misses, on the worker's runtime ─► send one
//! ```
//!
//! The thread waits for the kernel and for nothing else: whatever misses cost, hits
//! are answered meanwhile.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use daemon::readiness::Heartbeat;
use daemon::shutdown::Drain;

use crate::answer::Outcome;
use crate::client::Arrival;
use crate::metrics::Unanswered;
use crate::serve::reply::{Outbox, Reply};
use crate::serve::{Latest, Parts, Service, Turn};
use crate::sys;
use crate::sys::batch::Batch;
use crate::wire::patch::Transport;

/// Serves one socket until the drain starts, then what is queued in it. To be called
/// on a thread that may block, in the runtime that finds the answers to misses.
///
/// # Errors
/// The socket cannot be set up.
pub(crate) fn serve(
    socket: UdpSocket,
    service: Arc<Service>,
    latest: Latest,
    heartbeat: &Heartbeat,
    drain: &Drain,
) -> io::Result<()> {
    let nobody = nobody(socket.local_addr()?.ip());
    socket.set_read_timeout(Some(LOOK_UP))?;
    let mut port = Port {
        outbox: Arc::new(Outbox::new(socket)),
        service,
        latest,
        batch: Batch::new(),
        turn: Turn::default(),
        lost: 0,
    };
    let mut looked_up = Instant::now();
    while !drain.has_started() {
        if let Err(error) = port.turn() {
            match error.kind() {
                // Nothing came for a while, or a signal did.
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
                // The kernel is short of memory, say: turning faster does not help.
                _ => thread::sleep(PAUSE),
            }
        }
        if looked_up.elapsed() >= LOOK_UP {
            looked_up = Instant::now();
            heartbeat.beat();
            port.count_lost();
        }
    }
    // Sockets of the same port that are connected get nothing from others: what
    // comes from now on goes to the process that takes over, if there is one. What
    // came before, and what the kernel is just about to queue here, is answered
    // until nothing has come for a while. Where it fails a query may be lost.
    let _ = port.outbox.socket.connect(nobody);
    // A flood must not keep the answers that wait from being sent.
    for _ in 0..LAST_TURNS {
        // Anything else is what an earlier answer ran into ("port unreachable").
        if port
            .turn()
            .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        {
            break;
        }
    }
    Ok(())
}

struct Port {
    outbox: Arc<Outbox>,
    service: Arc<Service>,
    latest: Latest,
    batch: Batch,
    turn: Turn,
    /// Queries that the socket had no room for, as far as they are counted.
    lost: u32,
}

impl Port {
    /// Answers what is there.
    fn turn(&mut self) -> io::Result<()> {
        let received = self.batch.receive(&self.outbox.socket)?;
        let now = Instant::now();
        let parts = Arc::clone(self.latest.get());
        for place in 0..received {
            self.serve(place, &parts, now);
        }
        // First, for the answers to these take longer anyway.
        self.service.ask_all(&mut self.turn);
        let failed = self.batch.send(&self.outbox.socket) as u64;
        let metrics = &self.service.metrics;
        metrics.all_unanswered(Unanswered::SendFailed, failed);
        Ok(())
    }

    /// Answers the packet at `place`, or has its answer found.
    fn serve(&mut self, place: usize, parts: &Arc<Parts>, now: Instant) {
        let origin = *self.batch.origin(place);
        // A datagram from port 0 cannot be answered, and is no client's.
        let Some(client) = origin.client().filter(|client| client.port() != 0) else {
            self.service.metrics.unanswered(Unanswered::NotAQuery);
            return;
        };
        let arrival = Arrival {
            from: client.ip(),
            transport: Transport::Udp,
            at: now,
        };
        let (packet, out) = self.batch.at(place);
        let service = &self.service;
        match service.answer(parts, out, packet, arrival) {
            Outcome::Answer => self.batch.ready(place),
            Outcome::Refresh(key) => {
                self.batch.ready(place);
                service.refresh(parts, *key);
            }
            Outcome::Silence => {}
            Outcome::Miss(miss) => {
                let outbox = Arc::clone(&self.outbox);
                let reply = Reply::Datagram { outbox, to: origin };
                if let Err(too_busy) = service.find(&mut self.turn, parts, miss, reply) {
                    service.metrics.unanswered(Unanswered::TooBusy);
                    *out = too_busy;
                    self.batch.ready(place);
                }
            }
        }
    }

    /// Asks the kernel what it had to throw away.
    fn count_lost(&mut self) {
        let Ok(lost) = sys::lost_datagrams(&self.outbox.socket) else {
            return;
        };
        let more = lost.wrapping_sub(self.lost).into();
        let metrics = &self.service.metrics;
        metrics.all_unanswered(Unanswered::Lost, more);
        self.lost = lost;
    }
}

/// The discard port of this host, by that family.
fn nobody(ip: IpAddr) -> SocketAddr {
    let host: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    (host, 9).into()
}

/// How often the thread shows that it lives, and looks whether it is still wanted.
const LOOK_UP: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_millis(10);
/// More than a socket's buffer holds.
const LAST_TURNS: usize = 4_096;
