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
mod watch;

use std::{collections::HashMap, io, path::PathBuf, sync::Arc, thread};

use tokio::{
    runtime::{Builder, Handle},
    sync::{oneshot, watch as latest},
    task::{JoinHandle, spawn_blocking},
};
use tracing::{error, info, warn};

use self::{cache::Cache, session::Session, watch::Watch};
use crate::{
    config::{Discovery, Listener, address::Address, listen::ListenAddress},
    decide::{ListenerId, Source},
    director::{Change, Changes},
    metrics,
    published::Published,
};

/// The watches of all listeners that have discovery.
pub(crate) struct Discoveries {
    changes: Changes,
    snapshot: Arc<Published>,
    state_dir: PathBuf,
    running: HashMap<ListenerId, Running>,
    /// Made for the first watch.
    thread: Option<Thread>,
}

impl Discoveries {
    /// Nothing is watched yet.
    pub(crate) fn new(changes: Changes, snapshot: Arc<Published>, state_dir: PathBuf) -> Self {
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
            let about = About::of(&listener);
            match (running, about) {
                (Some(running), Some(about)) if running.about == about => {
                    self.running.insert(id, running);
                }
                (running, about) => {
                    let was_running = running.is_some();
                    if let Some(running) = running {
                        running.end().await;
                    }
                    match about {
                        Some(about) => self.start(id, about).await,
                        None if was_running => {
                            self.changes.tell(Change::ForgetDiscovered(id)).await;
                        }
                        None => {}
                    }
                }
            }
        }
        // Those of listeners that are gone.
        for running in before.into_values() {
            running.end().await;
        }
    }

    async fn start(&mut self, id: ListenerId, about: About) {
        let thread = match self.thread.take().map_or_else(Thread::spawn, Ok) {
            Ok(thread) => self.thread.insert(thread).handle.clone(),
            Err(error) => {
                let name = about.name;
                error!(listener = name, %error, "cannot watch the upstreams: no thread can be made");
                return;
            }
        };
        let cache = Cache::new(&self.state_dir, about.listen);
        recall(&cache, id, &about.name, &self.changes).await;
        let (keep, kept) = latest::channel(Vec::new());
        thread.spawn(keep_on_disk(cache, about.name.clone(), kept));
        let (changes, snapshot) = (self.changes.clone(), Arc::clone(&self.snapshot));
        let watch = Watch::new(id, about.clone(), changes, snapshot, keep);
        let task = thread.spawn(watch.run());
        self.running.insert(id, Running { about, task });
    }
}

/// One watch under way. Dropped, it ends.
struct Running {
    about: About,
    task: JoinHandle<()>,
}

impl Running {
    /// Ends it, and waits until it tells the director nothing more.
    async fn end(mut self) {
        self.task.abort();
        // An error is what says that it was ended.
        let _ = (&mut self.task).await;
        metrics::watching(&self.about.name, false);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
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

/// Whose upstreams are discovered, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
struct About {
    /// The listener's name, for the log.
    name: String,
    listen: ListenAddress,
    kubeconfig: PathBuf,
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

/// What the cluster says now, asked once through `servers`.
///
/// # Errors
/// It cannot be asked, or says nothing that can be used.
pub(crate) async fn ask(
    discovery: &Discovery,
    servers: Vec<Address>,
) -> anyhow::Result<Vec<Address>> {
    let session = Session::begin(&discovery.kubeconfig, move || servers.clone()).await?;
    let found = slice::addresses(session.slices(), |_| false)?;
    Ok(found.addresses)
}

/// Tells the director what was kept on disk.
async fn recall(cache: &Cache, id: ListenerId, name: &str, changes: &Changes) {
    let file = cache.path().display();
    match cache.read() {
        Ok(None) => {}
        Ok(Some(upstreams)) => {
            info!(listener = name, %file, upstreams = upstreams.len(), "upstreams of the last run are tried, too");
            let change = Change::Upstreams(id, Source::Cached, upstreams);
            changes.tell(change).await;
        }
        Err(error) => warn!(listener = name, %file, %error, "the cache of upstreams is ignored"),
    }
}

/// Keeps on disk what is known, the latest when there was more than one meanwhile: a disk may be slow, and
/// nobody waits for it.
async fn keep_on_disk(cache: Cache, name: String, mut known: latest::Receiver<Vec<Address>>) {
    let mut failing = false;
    while known.changed().await.is_ok() {
        let (upstreams, to) = (known.borrow_and_update().clone(), cache.clone());
        let written = spawn_blocking(move || to.write(&upstreams)).await;
        let written = written.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        let failed = written.is_err();
        if let Err(error) = written
            && !failing
        {
            let file = cache.path().display();
            warn!(listener = name, %file, %error, "cannot keep the upstreams for the next start; `--state-dir` names another folder");
        }
        failing = failed;
    }
}

/// Writing files, and name servers.
const BLOCKING_THREADS: usize = 4;
