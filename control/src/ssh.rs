//! Hosts over SSH: the system's own ssh(1), one connection a host, commands as root.
//!
//! A host key that is not known is refused, always. What runs on a host is a [`Script`], a
//! fixed text of ours; values reach it as arguments, quoted for the remote shell, or on
//! standard input. Every command has a deadline, and what it says has a bound. The private
//! key of the store is in no file: ssh reads it from our memory.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::Duration;

use openssh::{ControlPersist, ForwardType, KnownHosts, Session, SessionBuilder, Socket, Stdio};
use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};
use tempfile::TempDir;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::output::printable;
use crate::secret::Secret;

/// The way to all hosts.
#[derive(Debug)]
pub(crate) struct Ssh {
    keys: Keys,
    known_hosts: Option<PathBuf>,
    /// Sockets of connections, nobody else's.
    folder: TempDir,
}

/// Private keys as CKE keeps them in the secret `ssh`: by the host's address, and one under
/// the empty name for all others. With none, ssh's own (an agent's, say) are used.
#[derive(Debug, Default)]
pub(crate) struct Keys(pub(crate) BTreeMap<String, Secret>);

/// A connection to one host.
#[derive(Debug)]
pub(crate) struct Host {
    session: Session,
    address: IpAddr,
    is_root: bool,
    folder: TempDir,
}

/// A fixed text for `sh`, run as root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Script {
    /// As in "cannot …".
    pub(crate) doing: &'static str,
    pub(crate) text: &'static str,
    /// How long it may take.
    pub(crate) within: Duration,
}

/// What could not be done on a host, in one sentence.
#[derive(Debug, Error)]
pub(crate) enum SshError {
    #[error("SSH to {address}: {why}")]
    Unreachable { address: IpAddr, why: String },
    #[error("{address}: cannot {doing}: {why}")]
    Failed {
        address: IpAddr,
        doing: &'static str,
        why: String,
    },
    #[error("SSH cannot be used here: {0}")]
    Here(io::Error),
}

impl Ssh {
    /// With these keys; `known_hosts` takes the place of `~/.ssh/known_hosts`.
    pub(crate) fn new(keys: Keys, known_hosts: Option<PathBuf>) -> Result<Self, SshError> {
        let folder = tempfile::Builder::new().prefix("control-ssh-").tempdir();
        Ok(Self {
            keys,
            known_hosts,
            folder: folder.map_err(SshError::Here)?,
        })
    }

    /// Logs in.
    pub(crate) async fn connect(&self, address: IpAddr, user: &str) -> Result<Host, SshError> {
        let mut builder = SessionBuilder::default();
        builder
            .user(user.to_owned())
            .known_hosts_check(KnownHosts::Strict)
            .connect_timeout(CONNECT_TIMEOUT)
            .server_alive_interval(ALIVE_INTERVAL)
            .control_directory(self.folder.path())
            // It outlives us when we are killed.
            .control_persist(ControlPersist::IdleFor(IDLE));
        if let Some(known_hosts) = &self.known_hosts {
            builder.user_known_hosts_file(known_hosts);
        }
        let key = self.keys.of(address).map(in_memory).transpose();
        let key = key.map_err(SshError::Here)?;
        if let Some(key) = &key {
            builder.keyfile(format!(
                "/proc/{}/fd/{}",
                std::process::id(),
                key.as_raw_fd()
            ));
        }
        let unreachable = |why: String| SshError::Unreachable {
            address,
            why: printable(&why),
        };
        let connected = timeout(LOGIN, builder.connect(address.to_string())).await;
        let session = match connected {
            Ok(Ok(session)) => session,
            Ok(Err(error)) => return Err(unreachable(refused(&error, address))),
            Err(_) => {
                return Err(unreachable(format!(
                    "no login within {} s",
                    LOGIN.as_secs()
                )));
            }
        };
        let folder = tempfile::Builder::new().tempdir_in(self.folder.path());
        Ok(Host {
            session,
            address,
            is_root: user == "root",
            folder: folder.map_err(SshError::Here)?,
        })
    }
}

impl Keys {
    fn of(&self, address: IpAddr) -> Option<&Secret> {
        let own = self.0.get(&address.to_string());
        own.or_else(|| self.0.get(""))
    }
}

impl Host {
    /// Runs a script with arguments, and gives what it says on standard output.
    pub(crate) async fn run(
        &self,
        script: &Script,
        arguments: &[&str],
        input: &[u8],
    ) -> Result<String, SshError> {
        let failed = |why: &str| SshError::Failed {
            address: self.address,
            doing: script.doing,
            why: printable(why),
        };
        match timeout(script.within, self.output(script.text, arguments, input)).await {
            Ok(Ok(Ok(said))) => Ok(said),
            Ok(Ok(Err(why))) => Err(failed(&why)),
            Ok(Err(error)) => Err(SshError::Unreachable {
                address: self.address,
                why: printable(&flat(&error)),
            }),
            Err(_) => Err(failed(&format!(
                "it has not ended within {} s",
                script.within.as_secs()
            ))),
        }
    }

    /// What a script says on standard output; or, when it fails, why.
    async fn output(
        &self,
        text: &str,
        arguments: &[&str],
        input: &[u8],
    ) -> Result<Result<String, String>, openssh::Error> {
        let mut command = if self.is_root {
            self.session.command("sh")
        } else {
            let mut command = self.session.command("sudo");
            command.args(["-n", "--", "sh"]);
            command
        };
        command
            .args(["-c", text, "sh"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().await?;
        let (stdin, stdout, stderr) = (
            child.stdin().take(),
            child.stdout().take(),
            child.stderr().take(),
        );
        let feed = async {
            if let Some(mut stdin) = stdin {
                // One that ends early says why by itself.
                let _ = stdin.write_all(input).await;
                let _ = stdin.shutdown().await;
            }
        };
        let ((), said, complaint) = tokio::join!(feed, bounded(stdout), bounded(stderr));
        let status = child.wait().await?;
        if status.success() {
            return Ok(Ok(said));
        }
        let complaint = complaint.trim();
        Ok(Err(match (complaint, status.code()) {
            ("", Some(code)) => format!("exit code {code}"),
            ("", None) => "ended by a signal".to_owned(),
            (said, _) if !self.is_root && said.starts_with("sudo:") => format!(
                "{said}; the user must be allowed to run commands as root without a password"
            ),
            (said, _) => said.to_owned(),
        }))
    }

    /// A connection to an address on the host, made by its SSH server.
    pub(crate) async fn dial(&self, to: SocketAddr) -> Result<UnixStream, SshError> {
        let failed = |why: String| SshError::Failed {
            address: self.address,
            doing: "connect through SSH (AllowTcpForwarding must not be `no`)",
            why: printable(&why),
        };
        let path = self.folder.path().join(to.port().to_string());
        if !path.exists() {
            let local = Socket::UnixSocket {
                path: path.as_path().into(),
            };
            let forwarded =
                self.session
                    .request_port_forward(ForwardType::Local, local, Socket::from(to));
            timeout(LOGIN, forwarded)
                .await
                .map_err(|_| failed("no answer".to_owned()))?
                .map_err(|error| failed(flat(&error)))?;
        }
        UnixStream::connect(&path)
            .await
            .map_err(|error| failed(error.to_string()))
    }

    /// Logs out.
    pub(crate) async fn close(self) {
        // What cannot be closed ends by itself.
        let _ = timeout(LOGIN, self.session.close()).await;
    }
}

/// The first bytes of what a command says.
async fn bounded(from: Option<impl AsyncReadExt + Unpin>) -> String {
    let mut text = Vec::new();
    if let Some(mut from) = from {
        let _ = (&mut from).take(MAX_OUTPUT).read_to_end(&mut text).await;
        // The rest is read, too, or the command would wait for ever.
        let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// A file without a name, which ssh reads by our descriptor.
fn in_memory(key: &Secret) -> io::Result<File> {
    let mut file = File::from(memfd_create("ssh-key", MemfdFlags::CLOEXEC)?);
    fchmod(&file, Mode::RUSR | Mode::WUSR)?;
    file.write_all(key.expose().trim_end().as_bytes())?;
    file.write_all(b"\n")?;
    Ok(file)
}

/// Why nobody could log in, and the way out.
fn refused(error: &openssh::Error, address: IpAddr) -> String {
    let why = flat(error);
    if why.contains("IDENTIFICATION HAS CHANGED") {
        return format!(
            "its host key is not the one in known_hosts: it was installed anew, or somebody stands \
             between; compare the key that `ssh-keyscan {address}` shows with the host's own before \
             `ssh-keygen -R {address}`"
        );
    }
    let remedy = if why.contains("host key is known") {
        format!(
            "; compare the key that `ssh-keyscan {address}` shows with the host's own, then add it \
             to known_hosts"
        )
    } else if why.contains("Permission denied") {
        "; the host must take the key of the store's secret `ssh`, or one of the agent's".to_owned()
    } else {
        String::new()
    };
    format!("{why}{remedy}")
}

/// An error with its causes in a line; ssh's own words have several.
fn flat(error: &openssh::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        let lines: Vec<&str> = cause_text.lines().map(str::trim).collect();
        let _ = write!(text, ": {}", lines.join(" "));
        source = cause.source();
    }
    text
}

/// As ssh's own for a TCP connection and the exchange of versions.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// All of a login: a busy host takes some seconds for the keys.
const LOGIN: Duration = Duration::from_secs(30);
/// A host that vanishes is noticed after three of them.
const ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Seconds.
const IDLE: NonZeroUsize = NonZeroUsize::new(60).unwrap();
/// Bytes.
const MAX_OUTPUT: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use super::*;

    #[test]
    fn a_hosts_own_key_goes_before_the_one_for_all() {
        let key = |text: &str| Secret::from(text.to_owned());
        let keys = [("", key("all")), ("10.0.0.1", key("one"))];
        let keys = Keys(keys.map(|(name, key)| (name.to_owned(), key)).into());
        let of = |address: &str| keys.of(address.parse().unwrap()).unwrap().expose();
        assert_eq!((of("10.0.0.1"), of("10.0.0.2")), ("one", "all"));
        assert!(Keys::default().of("10.0.0.1".parse().unwrap()).is_none());
    }

    #[test]
    fn a_key_in_memory_is_ours_alone_and_ends_with_a_line_break() {
        use std::os::unix::fs::MetadataExt;

        let mut file = in_memory(&Secret::from("key\n\n".to_owned())).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "key\n");
    }
}
