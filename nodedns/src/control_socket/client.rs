//! The command's side: one request to the nodedns that runs, and its reply.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use daemon::exit::Failure;

use crate::control_socket::path;
use crate::control_socket::protocol::{MAX_REPLY, Reply, Request};

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Nobody listens.
    #[error("no nodedns answers at {}: is it running, and with this --run-dir?", .0.display())]
    NotRunning(PathBuf),
    /// Somebody else's.
    #[error("may not connect to {}: only the user of the nodedns that runs, or root, commands it", .0.display())]
    Forbidden(PathBuf),
    /// It answered, but not this.
    #[error("the nodedns that runs answered another question; is it of another version?")]
    Unexpected,
    /// It broke off.
    #[error("no reply from {}: {source}; the log of the nodedns that runs may say why", path.display())]
    NoReply { path: PathBuf, source: io::Error },
}

/// Asks the nodedns with this run directory.
///
/// # Errors
/// There is no reply.
pub(super) fn call(run_dir: &Path, request: &Request) -> Result<Reply, CallError> {
    let path = path(run_dir);
    let stream = UnixStream::connect(&path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            CallError::NotRunning(path.clone())
        }
        io::ErrorKind::PermissionDenied => CallError::Forbidden(path.clone()),
        _ => CallError::NoReply {
            path: path.clone(),
            source,
        },
    })?;
    exchange(stream, request).map_err(|source| CallError::NoReply { path, source })
}

/// Has the nodedns with this run directory do what is wanted.
///
/// # Errors
/// There is no reply, or it is a refusal.
pub(crate) fn ask(run_dir: &Path, request: &Request) -> Result<Reply, Failure> {
    match call(run_dir, request).map_err(Failure::failed)? {
        Reply::Error(sentence) => Err(Failure::failed(anyhow!(sentence))),
        reply => Ok(reply),
    }
}

fn exchange(mut stream: UnixStream, request: &Request) -> io::Result<Reply> {
    let patience = match request {
        Request::Health {} => PROBE_PATIENCE,
        _ => PATIENCE,
    };
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut reply = Vec::new();
    BufReader::new(stream)
        .take(MAX_REPLY as u64)
        .read_until(b'\n', &mut reply)?;
    if reply.last() != Some(&b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&reply)?)
}

/// Longer than it takes to ask at two addresses in vain.
const PROBE_PATIENCE: Duration = Duration::from_millis(3_500);
/// A write to a slow disk is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
