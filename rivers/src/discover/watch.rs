//! The watch for one listener: session after session, whatever goes wrong, and what each says to the
//! director and to the disk.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use rand::RngExt as _;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tracing::{debug, info, warn};

use super::{
    About,
    session::Session,
    slice::{self, Ever, Found, TooMany},
};
use crate::{
    config::{address::Address, listen::ListenAddress},
    decide::{ListenerId, Source},
    director::{Change, Changes},
    metrics,
    published::Published,
};

/// The watch for one listener.
pub(super) struct Watch {
    id: ListenerId,
    about: About,
    changes: Changes,
    snapshot: Arc<Published>,
    /// What the director was told last, for the disk.
    known: watch::Sender<Vec<Address>>,
    ever: Ever,
    /// What the log was told last of what the slices say: each news is one line.
    said: Option<String>,
}

impl Watch {
    /// A watch that has not begun. What it finds is told to `changes`, and put into `known`.
    pub(super) fn new(
        id: ListenerId,
        about: About,
        changes: Changes,
        snapshot: Arc<Published>,
        known: watch::Sender<Vec<Address>>,
    ) -> Self {
        Self {
            id,
            about,
            changes,
            snapshot,
            known,
            ever: Ever::default(),
            said: None,
        }
    }

    /// Watches until it is dropped.
    pub(super) async fn run(mut self) {
        let name = self.about.name.clone();
        let mut pause = Pause::default();
        let mut failing = false;
        loop {
            let began = Instant::now();
            let ended = self.session(&mut failing).await;
            if began.elapsed() >= LASTING {
                pause = Pause::default();
            }
            match ended {
                Ok(()) => debug!(listener = name, "the watch has ended and is begun anew"),
                Err(error) if failing => {
                    debug!(
                        listener = name,
                        error = error.to_string(),
                        "still cannot watch the upstreams"
                    );
                }
                Err(error) => {
                    failing = true;
                    let error = error.to_string();
                    warn!(
                        listener = name,
                        error, "cannot watch the upstreams; they stay as they are"
                    );
                }
            }
            metrics::watching(&name, !failing);
            let pause = pause.next(&mut rand::rng());
            sleep(pause).await;
        }
    }

    /// One LIST and one WATCH. Ends in peace when the API server ends the watch.
    async fn session(&mut self, failing: &mut bool) -> anyhow::Result<()> {
        let (id, snapshot) = (self.id, Arc::clone(&self.snapshot));
        let servers = move || {
            let snapshot = snapshot.load();
            let mut choices: Vec<_> = snapshot.choices(id).iter().collect();
            choices.sort_by_key(|choice| choice.state);
            let addresses = choices.iter().map(|choice| Address::clone(&choice.address));
            addresses.collect()
        };
        let mut session = Session::begin(&self.about.kubeconfig, servers).await?;
        loop {
            let listen = self.about.listen;
            let found = slice::addresses(session.slices(), |socket| is_ours(listen, socket));
            let admitted = found.and_then(|found| {
                self.ever.admit(&found.addresses)?;
                Ok(found)
            });
            self.take(admitted).await;
            if std::mem::take(failing) {
                info!(listener = self.about.name, "watching the upstreams again");
            }
            metrics::watching(&self.about.name, true);
            if !session.next().await? {
                return Ok(());
            }
        }
    }

    /// Tells director and disk what the slices say now, if that is news.
    async fn take(&mut self, found: Result<Found, TooMany>) {
        self.say(&found);
        match found {
            Ok(Found { addresses, .. })
                if !addresses.is_empty() && addresses != *self.known.borrow() =>
            {
                self.known.send_replace(addresses.clone());
                let change = Change::Upstreams(self.id, Source::Discovered, addresses);
                self.changes.tell(change).await;
            }
            _ => {}
        }
    }

    /// What a person should know of the slices, once each time that it changes.
    fn say(&mut self, found: &Result<Found, TooMany>) {
        let name = &self.about.name;
        let news = match found {
            Err(error) => Some(error.to_string()),
            Ok(found) if !found.refused.is_empty() => Some(found.refused.to_string()),
            Ok(found) if found.addresses.is_empty() => Some(NOBODY.to_owned()),
            Ok(_) => None,
        };
        if news == self.said {
            return;
        }
        match (found, &news) {
            (Ok(_), Some(news)) if news == NOBODY => {
                warn!(listener = name, "{NOBODY}");
            }
            (Ok(_), Some(refused)) => {
                warn!(
                    listener = name,
                    refused, "endpoints that cannot be API servers are not taken"
                );
            }
            (Err(_), Some(error)) => {
                warn!(listener = name, error, "the upstreams stay as they are");
            }
            (_, None) => {}
        }
        self.said = news;
    }
}

/// Whether a dial to `target` would end up at the listener itself.
fn is_ours(listen: ListenAddress, target: SocketAddr) -> bool {
    let takes_every_address = listen.socket_addr().ip().is_unspecified();
    // The kernel binds to addresses of this host alone.
    let is_of_this_host = || UdpSocket::bind((target.ip(), 0)).is_ok();
    listen.takes(target)
        || (takes_every_address && target.port() == listen.port() && is_of_this_host())
}

/// The time until the next attempt: doubled each time, and up to half of it more or less, so that the
/// nodes of a cluster do not come all at once to an API server that is back.
#[derive(Debug, Default)]
struct Pause(u32);

impl Pause {
    fn next(&mut self, rng: &mut impl rand::Rng) -> Duration {
        let pause = (FIRST_PAUSE * (1 << self.0)).min(LONGEST_PAUSE);
        self.0 = (self.0 + 1).min(MAX_DOUBLINGS);
        pause.mul_f64(rng.random_range(0.5..1.5))
    }
}

const NOBODY: &str = "the EndpointSlices name nobody; the upstreams stay as they are";
/// A watch that lasted so long was a good one: the next is begun without much of a pause.
const LASTING: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// More than it takes from the first pause to the longest.
const MAX_DOUBLINGS: u32 = 8;

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::SmallRng};

    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute_and_differ_from_node_to_node() {
        let pauses = |seed| {
            let mut rng = SmallRng::seed_from_u64(seed);
            let mut pause = Pause::default();
            (0..40).map(|_| pause.next(&mut rng)).collect::<Vec<_>>()
        };
        let (one, other) = (pauses(1), pauses(2));
        assert!(one[0] < 2 * FIRST_PAUSE, "{one:?}");
        assert!(one[39] >= LONGEST_PAUSE / 2 && one[39] < LONGEST_PAUSE * 3 / 2);
        assert_ne!(one, other);
    }

    #[test]
    fn a_listener_on_every_address_is_told_from_its_host_by_the_port() {
        let is_ours =
            |listen: &str, target: &str| is_ours(listen.parse().unwrap(), target.parse().unwrap());
        // All of 127.0.0.0/8 is this host's; 192.0.2.0/24 is for documentation (RFC 5737).
        assert!(is_ours(":6443", "127.9.9.9:6443"));
        assert!(is_ours("127.0.0.1:6443", "127.0.0.1:6443"));
        assert!(!is_ours("127.0.0.1:6443", "127.0.0.2:6443"));
        assert!(!is_ours(":6443", "192.0.2.1:6443"));
        assert!(!is_ours(":16443", "127.9.9.9:6443"));
    }
}
