//! Who the API servers are, as the cluster knows it: a watch on the EndpointSlices of the Service
//! `kubernetes`, through the listener's own upstreams, as they are now.
//!
//! ```text
//! cache on disk ──────────────┐
//! LIST, then WATCH ──► slice ─┴─► director (decide: seeds + discovered) ──► snapshot ──► whom we dial
//!         ▲                └────► cache                                         │
//!         └─────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! kube-runtime's watcher would do the same for any kind of object; this is one kind, a handful of
//! objects, and needs none of the dozen crates that come with it. Whatever goes wrong, the upstreams stay
//! as they are, and the watch is begun anew, ever more slowly.

pub mod cache;
mod session;
mod slice;

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use rand::RngExt as _;
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep},
};
use tracing::{debug, error, info, warn};

use self::{
    cache::Cache,
    session::Session,
    slice::{Found, TooMany},
};
use crate::{
    config::{Listener, address::Address, listen::ListenAddress},
    decide::{ListenerId, Snapshot, Source},
    director::{Change, Changes},
    metrics,
};

/// The watches of all listeners that have discovery.
pub(crate) struct Discoveries {
    changes: Changes,
    snapshot: Arc<ArcSwap<Snapshot>>,
    state_dir: PathBuf,
    running: HashMap<ListenerId, Running>,
    /// Made for the first watch.
    thread: Option<Thread>,
}

/// A thread with a runtime for all watches: credentials may come from a program that is run and waited
/// for, and nothing else may wait for that.
struct Thread {
    handle: Handle,
    /// Dropped, it ends.
    _alive: oneshot::Sender<()>,
}

impl Thread {
    fn spawn() -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS)
            .build()?;
        let handle = runtime.handle().clone();
        let (alive, over) = oneshot::channel::<()>();
        thread::Builder::new()
            .name("discovery".to_owned())
            // An error is what says that it is over.
            .spawn(move || drop(runtime.block_on(over)))?;
        Ok(Self {
            handle,
            _alive: alive,
        })
    }
}

/// One watch under way. Dropped, it ends.
struct Running {
    about: About,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whose upstreams are discovered, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
struct About {
    /// The listener's name, for the log.
    name: String,
    listen: ListenAddress,
    kubeconfig: PathBuf,
}

impl Discoveries {
    /// Nothing is watched yet.
    pub(crate) fn new(
        changes: Changes,
        snapshot: Arc<ArcSwap<Snapshot>>,
        state_dir: PathBuf,
    ) -> Self {
        Self {
            changes,
            snapshot,
            state_dir,
            running: HashMap::new(),
            thread: None,
        }
    }

    /// Watches for these listeners from now on, and for no others.
    pub(crate) async fn follow(
        &mut self,
        listeners: impl IntoIterator<Item = (ListenerId, Arc<Listener>)>,
    ) {
        let mut before = std::mem::take(&mut self.running);
        for (id, listener) in listeners {
            let running = before.remove(&id);
            let Some(about) = About::of(&listener) else {
                if running.is_some() {
                    self.changes.tell(Change::ForgetDiscovered(id)).await;
                }
                continue;
            };
            let running = match running {
                Some(running) if running.about == about => running,
                _ => match self.start(id, about).await {
                    Ok(running) => running,
                    Err(error) => {
                        let name = &listener.name;
                        error!(listener = name, %error, "cannot watch the upstreams: no thread can be made");
                        continue;
                    }
                },
            };
            self.running.insert(id, running);
        }
    }

    async fn start(&mut self, id: ListenerId, about: About) -> io::Result<Running> {
        let thread = match self.thread.take() {
            Some(thread) => thread,
            None => Thread::spawn()?,
        };
        let thread = self.thread.insert(thread).handle.clone();
        let discovery = Discovery {
            id,
            about: about.clone(),
            cache: Cache::new(&self.state_dir, about.listen),
            changes: self.changes.clone(),
            snapshot: Arc::clone(&self.snapshot),
            known: Vec::new(),
            said: None,
            keeps: true,
        };
        discovery.recall().await;
        Ok(Running {
            about,
            task: thread.spawn(discovery.run()),
        })
    }
}

impl About {
    fn of(listener: &Listener) -> Option<Self> {
        Some(Self {
            name: listener.name.clone(),
            listen: listener.listen,
            kubeconfig: listener.discovery.as_ref()?.kubeconfig.clone(),
        })
    }
}

/// The watch for one listener.
struct Discovery {
    id: ListenerId,
    about: About,
    cache: Cache,
    changes: Changes,
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// What the director was told last.
    known: Vec<Address>,
    /// What the log was told last of what the slices say: each news is one line.
    said: Option<String>,
    /// Whether the disk took what was to be kept last.
    keeps: bool,
}

impl Discovery {
    /// Tells the director what was kept on disk.
    async fn recall(&self) {
        let (name, file) = (&self.about.name, self.cache.path().display());
        match self.cache.read() {
            Ok(None) => {}
            Ok(Some(upstreams)) => {
                info!(listener = name, %file, upstreams = upstreams.len(), "upstreams of the last run are tried, too");
                let change = Change::Upstreams(self.id, Source::Cached, upstreams);
                self.changes.tell(change).await;
            }
            Err(error) => {
                warn!(listener = name, %file, %error, "the cache of upstreams is ignored")
            }
        }
    }

    /// Watches until it is dropped.
    async fn run(mut self) {
        let name = self.about.name.clone();
        let mut pause = Pause::default();
        let mut failing = false;
        loop {
            let began = Instant::now();
            let ended = self.watch(&mut failing).await;
            if began.elapsed() >= LASTING {
                pause = Pause::default();
            }
            match ended {
                Ok(()) => debug!(listener = name, "the watch has ended and is begun anew"),
                Err(error) if failing => {
                    debug!(
                        listener = name,
                        error = format!("{error:#}"),
                        "still cannot watch the upstreams"
                    );
                }
                Err(error) => {
                    failing = true;
                    let error = format!("{error:#}");
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
    async fn watch(&mut self, failing: &mut bool) -> anyhow::Result<()> {
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
            self.take(found).await;
            if std::mem::take(failing) {
                info!(listener = self.about.name, "watching the upstreams again");
            }
            metrics::watching(&self.about.name, true);
            if !session.next().await? {
                return Ok(());
            }
        }
    }

    /// Tells director and cache what the slices say now, if that is news.
    async fn take(&mut self, found: Result<Found, TooMany>) {
        self.say(&found);
        match found {
            Ok(Found { addresses, .. }) if !addresses.is_empty() && addresses != self.known => {
                self.known.clone_from(&addresses);
                let change = Change::Upstreams(self.id, Source::Discovered, addresses);
                self.changes.tell(change).await;
                self.keep().await;
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

    /// Keeps what is known on disk, off this thread: a disk may be slow.
    async fn keep(&mut self) {
        let (cache, upstreams) = (self.cache.clone(), self.known.clone());
        let written = spawn_blocking(move || cache.write(&upstreams)).await;
        let written = written.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        let kept = written.is_ok();
        if let Err(error) = written
            && self.keeps
        {
            let (name, file) = (&self.about.name, self.cache.path().display());
            warn!(listener = name, %file, %error, "cannot keep the upstreams for the next start; `--state-dir` names another folder");
        }
        self.keeps = kept;
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

/// Writing files, and name servers.
const BLOCKING_THREADS: usize = 4;
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
