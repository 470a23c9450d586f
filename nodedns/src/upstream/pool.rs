//! The servers, and in which order they are asked.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::seq::SliceRandom as _;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::config::{Forward, Protocol};
use crate::explain::Over;
use crate::metrics::ServerMetrics;
use crate::upstream::cookies::Cookies;
use crate::upstream::failure::Trouble;
use crate::upstream::quirks::Quirks;
use crate::upstream::sessions::Sessions;
use crate::upstream::sockets::Sockets;
use crate::upstream::standing::{Health, Standing};
use crate::upstream::tls::Authorities;

/// What all servers share.
#[derive(Debug)]
pub(crate) struct Network {
    sockets: Sockets,
    authorities: Authorities,
    /// Rung when a server that was dead answers: who waits for one may go on.
    revived: Notify,
}

impl Network {
    /// The network as this machine has it, with these authorities.
    pub(crate) fn new(authorities: Authorities) -> Arc<Self> {
        Arc::new(Self {
            sockets: Sockets::of_this_machine(),
            authorities,
            revived: Notify::new(),
        })
    }

    /// This network, or one of its own for other authorities.
    pub(crate) fn with(self: &Arc<Self>, authorities: Authorities) -> Arc<Self> {
        if self.authorities.are(&authorities) {
            Arc::clone(self)
        } else {
            Self::new(authorities)
        }
    }

    pub(super) const fn revived(&self) -> &Notify {
        &self.revived
    }
}

/// One server. Zones that name the same one share it, its connections included.
pub(crate) struct Server {
    forward: Forward,
    network: Arc<Network>,
    standing: Mutex<Standing>,
    /// The health that was last told, as a number.
    told: AtomicU8,
    quirks: Quirks,
    cookies: Cookies,
    sessions: Sessions,
    probes: Mutex<JoinSet<()>>,
    metrics: ServerMetrics,
    /// Whether a person named it, who wants to know how it is.
    is_configured: bool,
}

impl Server {
    /// A server of the configuration, of which nothing is known.
    pub(crate) fn new(forward: Forward, network: &Arc<Network>) -> Self {
        let metrics = ServerMetrics::new(&forward);
        Self::with(forward, network, metrics, true)
    }

    /// A server that a stranger's zone names, at this address.
    pub(crate) fn found(
        address: SocketAddr,
        network: &Arc<Network>,
        metrics: ServerMetrics,
    ) -> Self {
        let forward = Forward {
            protocol: Protocol::Udp,
            address,
        };
        Self::with(forward, network, metrics, false)
    }

    fn with(
        forward: Forward,
        network: &Arc<Network>,
        metrics: ServerMetrics,
        is_configured: bool,
    ) -> Self {
        Self {
            sessions: Sessions::new(&forward, &network.authorities, &metrics),
            forward,
            network: Arc::clone(network),
            standing: Mutex::default(),
            told: AtomicU8::new(Health::Good as u8),
            quirks: Quirks::default(),
            cookies: Cookies::default(),
            probes: Mutex::default(),
            metrics,
            is_configured,
        }
    }

    /// Where it is and how it is asked.
    pub(super) const fn forward(&self) -> &Forward {
        &self.forward
    }

    pub(super) fn is_asked_over_udp(&self) -> bool {
        self.forward.protocol == Protocol::Udp
    }

    /// How a question travels to it, unless it has to go another way.
    pub(super) const fn usual(&self) -> Over {
        match self.forward.protocol {
            Protocol::Udp => Over::Udp,
            Protocol::Tcp => Over::Tcp,
            Protocol::Tls(_) => Over::Tls,
        }
    }

    pub(super) fn sockets(&self) -> &Sockets {
        &self.network.sockets
    }

    pub(super) const fn quirks(&self) -> &Quirks {
        &self.quirks
    }

    pub(super) const fn cookies(&self) -> &Cookies {
        &self.cookies
    }

    pub(super) const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    pub(super) const fn metrics(&self) -> &ServerMetrics {
        &self.metrics
    }

    /// It gave a usable answer after that time.
    pub(super) fn answered(&self, after: Duration) {
        self.metrics.answered(after);
        self.note(|standing, now| standing.answered(now, after));
    }

    /// An attempt that began at `asked` is late: another one starts.
    pub(super) fn late(&self, asked: Instant) {
        self.metrics.late();
        self.note(|standing, _| standing.silent(asked.into_std()));
    }

    /// An attempt that began at `asked` failed.
    pub(super) fn failed(&self, asked: Instant, trouble: &Trouble) {
        match trouble {
            Trouble::Rejected(_) | Trouble::Useless(_) => {
                self.metrics.rejected();
                self.note(|standing, now| standing.rejected(now));
            }
            Trouble::Network(_) | Trouble::Closed => {
                self.metrics.network_error();
                self.note(|standing, _| standing.silent(asked.into_std()));
            }
            Trouble::Late => self.late(asked),
        }
    }

    pub(super) fn health(&self, now: Instant) -> Health {
        self.lock().health(now.into_std())
    }

    /// Whether it is worth more than one try at a time.
    pub(super) fn is_worth_haste(&self) -> bool {
        self.health(Instant::now()) != Health::Dead
    }

    /// How long to wait for it before another attempt starts beside it, in the
    /// given round of asking everybody. It grows from round to round; over
    /// connections half as fast, for the next one may lead to another server.
    pub(super) fn patience(&self, round: u32) -> Duration {
        let usual = self.lock().patience();
        let doublings = if self.is_asked_over_udp() {
            round
        } else {
            round / 2
        };
        (usual * 2_u32.pow(doublings.min(ROUNDS))).min(PATIENCE_MAX)
    }

    /// When it may be probed.
    pub(super) fn probe_due(&self, now: Instant) -> Instant {
        self.lock().probe_due(now.into_std()).into()
    }

    /// Whether it may be probed now; then the right is used up for the interval.
    pub(super) fn take_probe(&self, now: Instant) -> bool {
        let (mut standing, now) = (self.lock(), now.into_std());
        let due = standing.probe_due(now) <= now;
        if due {
            standing.probed(now);
        }
        due
    }

    /// Has a probe carried out even when nobody waits for its answer any more.
    /// Each must end soon.
    pub(super) fn probe(&self, probe: impl Future<Output = ()> + Send + 'static) {
        let mut probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        while probes.try_join_next().is_some() {}
        probes.spawn(probe);
    }

    /// Changes the standing, and tells the world when that changes the health.
    fn note(&self, change: impl FnOnce(&mut Standing, std::time::Instant)) {
        let now = Instant::now().into_std();
        let health = {
            let mut standing = self.lock();
            change(&mut standing, now);
            standing.health(now)
        };
        let before = self.told.swap(health as u8, Relaxed);
        if before == health as u8 {
            return;
        }
        self.metrics.health(health != Health::Dead);
        let is_back = before == Health::Dead as u8;
        match (health, self.is_configured) {
            (Health::Dead, true) => {
                warn!(server = %self, "a server does not answer: asking it once a second");
            }
            (Health::Dead, false) => debug!(server = %self, "a name server does not answer"),
            (_, true) if is_back => info!(server = %self, "a server answers again"),
            _ => {}
        }
        if is_back {
            self.network.revived.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.forward)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Who is to be asked: the good ones first, and among them the fastest. Those
/// about as fast as the fastest come in any order, so that they share the work
/// and nobody knows whom to forge; those never measured come last of the good
/// ones, for somebody else's question will measure them.
pub(super) fn order(servers: &[Arc<Server>], now: Instant) -> Vec<Arc<Server>> {
    let mut order: Vec<_> = servers
        .iter()
        .map(|server| {
            let standing = server.lock();
            let rank = (standing.health(now.into_std()), standing.smoothed());
            drop(standing);
            (rank, Arc::clone(server))
        })
        .collect();
    order.shuffle(&mut rand::rng());
    let fastest = order
        .iter()
        .filter(|((health, _), _)| *health == Health::Good)
        .filter_map(|((_, smoothed), _)| *smoothed)
        .min();
    let about_as_fast = fastest.map(|fastest| (2 * fastest).max(fastest + BAND));
    order.sort_by_key(|((health, smoothed), _)| {
        let smoothed = smoothed.unwrap_or(Duration::MAX);
        let leading = about_as_fast.is_some_and(|limit| smoothed <= limit);
        (*health, if leading { Duration::ZERO } else { smoothed })
    });
    order.into_iter().map(|(_, server)| server).collect()
}

/// Servers are about as fast when one takes no longer than twice the other's
/// time, or so much more.
const BAND: Duration = Duration::from_millis(2);
/// Patience doubles so often.
const ROUNDS: u32 = 4;
const PATIENCE_MAX: Duration = Duration::from_millis(1_500);

#[cfg(test)]
mod tests {
    use super::*;

    fn servers() -> Vec<Arc<Server>> {
        let network = Network::new(Authorities::none());
        ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
            .map(|address| Arc::new(Server::new(address.parse().unwrap(), &network)))
            .into()
    }

    /// How often each server is asked first in a thousand questions.
    fn firsts(servers: &[Arc<Server>]) -> Vec<usize> {
        let mut counts = vec![0; servers.len()];
        for _ in 0..1_000 {
            let first = Arc::clone(&order(servers, Instant::now())[0]);
            let at = servers
                .iter()
                .position(|server| Arc::ptr_eq(server, &first));
            counts[at.unwrap()] += 1;
        }
        counts
    }

    #[tokio::test]
    async fn the_fastest_and_those_about_as_fast_are_asked_first() {
        let servers = servers();
        for (server, millis) in servers.iter().zip([10, 15, 40]) {
            server.answered(Duration::from_millis(millis));
        }
        let counts = firsts(&servers);
        assert!(counts[0] > 400 && counts[1] > 400, "{counts:?}");
        assert_eq!(counts[2], 0);
    }

    #[tokio::test]
    async fn a_server_that_was_never_measured_keeps_nobody_waiting() {
        let servers = servers();
        let counts = firsts(&servers);
        assert!(counts.iter().all(|count| *count > 200), "{counts:?}");
        servers[1].answered(Duration::from_millis(100));
        assert_eq!(firsts(&servers), [0, 1_000, 0]);
        assert!(
            servers[0].take_probe(Instant::now()),
            "it is measured beside"
        );
        assert!(
            !servers[1].take_probe(Instant::now()),
            "and this one is known"
        );
    }

    #[tokio::test]
    async fn a_server_that_fails_goes_behind_and_comes_back_when_it_answers() {
        let servers = servers();
        for server in &servers {
            server.answered(Duration::from_millis(10));
        }
        let asked = Instant::now();
        servers[0].late(asked);
        assert_eq!(firsts(&servers)[0], 0);
        assert!(servers[0].take_probe(asked) && !servers[0].take_probe(asked));
        servers[0].answered(Duration::from_millis(5));
        assert!(firsts(&servers)[0] > 250);
    }

    #[tokio::test]
    async fn patience_grows_by_rounds() {
        let server = Arc::clone(&servers()[0]);
        let patience = server.patience(0);
        assert_eq!(server.patience(1), 2 * patience);
        assert_eq!(server.patience(9), PATIENCE_MAX);
    }
}
