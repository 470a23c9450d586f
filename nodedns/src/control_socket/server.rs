//! The process's side: takes requests one line at a time, and hands each to whoever
//! can carry it out. It runs beside the signals, off the data path.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon::readiness::Readiness;
use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::anchors::stored::NegativeForm;
use crate::cache::Cache;
use crate::control_socket::protocol::{
    MAX_REQUEST, NegativeAnchorsReply, Reply, Request, read_request,
};
use crate::control_socket::{cache, health, path};
use crate::instance::Instance;
use crate::status::Gather;
use crate::trust::{Order, Orders};
use crate::wire::name::Name;

/// Listens in `run_dir`, which is made where there is none, in place of a process
/// that did before. Nobody but this user can ever connect: the mode is set before
/// the socket has a name.
///
/// # Errors
/// The folder or the socket cannot be made.
pub(crate) fn bind(run_dir: &Path) -> io::Result<UnixListener> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(run_dir)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    // A name of its own, then the known one: who connects meanwhile reaches the old process.
    let path = path(run_dir);
    let new = path.with_added_extension(process::id().to_string());
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    socket.bind(&SockAddr::unix(&new)?)?;
    socket.listen(MAX_CONNECTIONS as i32)?;
    fs::rename(&new, &path)?;
    UnixListener::from_std(socket.into())
}

/// Who carries out what is wanted.
#[derive(Debug, Clone)]
pub(crate) struct Commanded {
    pub(crate) orders: Orders,
    pub(crate) cache: Arc<Cache>,
    pub(crate) readiness: Readiness,
    pub(crate) instance: Instance,
    pub(crate) gather: Gather,
    /// Where this process listens.
    pub(crate) addresses: watch::Receiver<Arc<[SocketAddr]>>,
}

/// Serves until it is dropped.
pub(crate) async fn serve(listener: UnixListener, commanded: Commanded) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // It is never closed.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let commanded = commanded.clone();
                tokio::spawn(async move {
                    match timeout(PATIENCE, exchange(stream, &commanded)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => {
                            debug!(%error, "a connection to the control socket broke off")
                        }
                        Err(_) => debug!("a connection to the control socket was too slow"),
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept on the control socket; is the limit of open files too low?");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn exchange(stream: UnixStream, commanded: &Commanded) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    (&mut stream)
        .take(MAX_REQUEST as u64)
        .read_until(b'\n', &mut line)
        .await?;
    if line.is_empty() {
        return Ok(());
    }
    let reply = if line.last() == Some(&b'\n') {
        match read_request(&line) {
            Ok(request) => carry_out(request, commanded)
                .await
                .unwrap_or_else(Reply::Error),
            Err(reply) => reply,
        }
    } else {
        Reply::Error(format!(
            "a request is one line, not longer than {MAX_REQUEST} bytes"
        ))
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    let mut stream = stream.into_inner();
    stream.write_all(&line).await?;
    stream.shutdown().await
}

async fn carry_out(request: Request, commanded: &Commanded) -> Result<Reply, String> {
    let named = |name: &str| Name::from_text(name).map_err(|error| error.to_string());
    let order = match request {
        Request::AddNegativeAnchor {
            name,
            seconds,
            reason,
        } => Order::Add {
            name: named(&name)?,
            lifetime: Duration::from_secs(seconds),
            reason,
        },
        Request::RemoveNegativeAnchor { name } => Order::Remove {
            name: named(&name)?,
        },
        Request::NegativeAnchors {} => Order::List,
        Request::Health {} => {
            let Commanded {
                readiness,
                instance,
                addresses,
                ..
            } = commanded;
            let addresses = Arc::clone(&addresses.borrow());
            return Ok(health::health(readiness, instance, &addresses).await);
        }
        Request::Status {} => {
            let status = commanded.gather.status(true);
            return Ok(Reply::Status(Box::new(status)));
        }
        Request::CacheStats {} => return Ok(cache::stats(&commanded.cache)),
        Request::CacheFlush { name } => {
            let name = named(&name)?;
            return aside(commanded, move |cache| cache::flush(cache, name)).await;
        }
        Request::CacheDump { name } => {
            let name = named(&name)?;
            return aside(commanded, move |cache| {
                cache::dump(cache, &name, Instant::now())
            })
            .await;
        }
    };
    let done = commanded.orders.give(order).await?;
    Ok(Reply::NegativeAnchors(NegativeAnchorsReply {
        anchors: done.anchors.iter().map(NegativeForm::of).collect(),
        warning: done.warning,
    }))
}

/// Does what looks at the whole cache on a thread of its own: signals and trust
/// anchors are not to wait for it.
async fn aside(
    commanded: &Commanded,
    work: impl FnOnce(&Cache) -> Reply + Send + 'static,
) -> Result<Reply, String> {
    let cache = Arc::clone(&commanded.cache);
    tokio::task::spawn_blocking(move || work(&cache))
        .await
        .map_err(|panic| format!("looking at the cache panicked: please report this: {panic}"))
}

/// Commands come from people, and a probe now and then.
const MAX_CONNECTIONS: usize = 8;
/// For a whole exchange.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);
