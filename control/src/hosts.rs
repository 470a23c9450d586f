//! The control plane's hosts, as far as control puts files there: below a directory that stands
//! for them, or over SSH.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::OnceCell;

use crate::cluster::Cluster;
use crate::secret::Secret;
use crate::ssh::{Host, Script, Ssh, SshError};
use crate::store::{Store, StoreError};
use directory::Directory;

mod directory;

/// All hosts.
#[derive(Debug)]
pub(crate) enum Hosts {
    /// Those below a directory.
    Directory(Directory),
    /// The machines themselves.
    Machines(Machines),
}

/// Hosts that are reached over SSH.
#[derive(Debug)]
pub(crate) struct Machines {
    users: BTreeMap<IpAddr, String>,
    store: Arc<Store>,
    known_hosts: Option<PathBuf>,
    ssh: OnceCell<Ssh>,
}

/// A file of a host.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) text: Secret,
    /// Nobody but its owner can read it.
    pub(crate) is_private: bool,
    /// When it was written, in seconds since 1970 by the host's clock.
    pub(crate) modified: i64,
}

/// Why a file of a host could not be read or written.
#[derive(Debug, Error)]
pub(crate) enum HostError {
    #[error("{}: cannot {doing}: {cause}", path.display())]
    File {
        path: PathBuf,
        doing: &'static str,
        cause: io::Error,
    },
    #[error(transparent)]
    Ssh(#[from] SshError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{}: somebody else has changed it meanwhile", .0.display())]
    Changed(PathBuf),
    #[error("{0} is no node of cluster.yml")]
    Unknown(IpAddr),
    #[error("commands are run on hosts with `--hosts ssh` only")]
    NoCommands,
}

impl Hosts {
    /// Those below this directory.
    pub(crate) const fn below(root: PathBuf) -> Self {
        Self::Directory(Directory::new(root))
    }

    /// The control plane of a cluster, with the key of the store.
    pub(crate) fn over_ssh(
        cluster: &Cluster,
        store: Arc<Store>,
        known_hosts: Option<PathBuf>,
    ) -> Self {
        let users = cluster.control_plane();
        Self::Machines(Machines {
            users: users
                .map(|node| (node.address, node.user.clone()))
                .collect(),
            store,
            known_hosts,
            ssh: OnceCell::new(),
        })
    }

    /// The host's file at this path, which begins with `/`; None when there is none.
    pub(crate) async fn read(&self, host: IpAddr, file: &str) -> Result<Option<Found>, HostError> {
        match self {
            Self::Directory(directory) => directory.read(host, file),
            Self::Machines(machines) => {
                let host = machines.connect(host).await?;
                let found = read(&host, file).await;
                host.close().await;
                Ok(found?)
            }
        }
    }

    /// Writes the host's file, for its owner alone, if it is still what was `seen`: whoever was
    /// suspended in between must not put something older back.
    pub(crate) async fn write(
        &self,
        host: IpAddr,
        file: &str,
        text: &Secret,
        seen: Option<&Found>,
    ) -> Result<(), HostError> {
        match self {
            Self::Directory(directory) => directory.write(host, file, text, seen),
            Self::Machines(machines) => {
                let host = machines.connect(host).await?;
                let written = write(&host, file, text, seen).await;
                host.close().await;
                Ok(written?)
            }
        }
    }

    /// Whether a command can be run there.
    pub(crate) const fn can_run(&self) -> bool {
        matches!(self, Self::Machines(_))
    }

    /// Has an operator's command restart who reads the host's file.
    pub(crate) async fn restart(
        &self,
        host: IpAddr,
        file: &str,
        command: &[String],
    ) -> Result<(), HostError> {
        let Self::Machines(machines) = self else {
            return Err(HostError::NoCommands);
        };
        let host = machines.connect(host).await?;
        let command = command.iter().map(String::as_str);
        let arguments: Vec<&str> = std::iter::once(file).chain(command).collect();
        let ended = host.run(&RESTART, &arguments, &[]).await;
        host.close().await;
        Ok(ended.map(drop)?)
    }

    /// Whether there is a place for hosts at all.
    pub(crate) fn check(&self) -> Result<(), HostError> {
        match self {
            Self::Directory(directory) => directory.check(),
            Self::Machines(_) => Ok(()),
        }
    }
}

impl Machines {
    async fn connect(&self, address: IpAddr) -> Result<Host, HostError> {
        let user = self.users.get(&address);
        let user = user.ok_or(HostError::Unknown(address))?;
        let open = async || -> Result<Ssh, HostError> {
            let keys = self.store.ssh_keys().await?;
            Ok(Ssh::new(keys, self.known_hosts.clone())?)
        };
        let ssh = self.ssh.get_or_try_init(open).await?;
        Ok(ssh.connect(address, user).await?)
    }
}

/// A file of a host; None when there is none.
pub(crate) async fn read(host: &Host, file: &str) -> Result<Option<Found>, SshError> {
    let said = host.run(&READ, &[file], &[]).await?;
    Ok(parse(&Secret::from(said)))
}

/// Writes a file of a host, for root alone, if it is still what was `seen`.
pub(crate) async fn write(
    host: &Host,
    file: &str,
    text: &Secret,
    seen: Option<&Found>,
) -> Result<(), SshError> {
    let seen = seen.map_or_else(|| NOTHING.to_owned(), |seen| sum(&seen.text));
    let arguments = [file, seen.as_str()];
    let written = host.run(&WRITE, &arguments, text.expose().as_bytes());
    written.await.map(drop)
}

/// What `read.sh` says: the mode and the time in a line, then the file.
fn parse(said: &Secret) -> Option<Found> {
    let (facts, text) = said.expose().split_once('\n')?;
    let (mode, modified) = facts.split_once(' ').unwrap_or((facts, ""));
    let mode = u32::from_str_radix(mode, 8).unwrap_or(u32::MAX);
    Some(Found {
        text: Secret::from(text.to_owned()),
        is_private: mode & 0o077 == 0,
        // One that is never reached proves nothing.
        modified: modified.parse().unwrap_or(i64::MAX),
    })
}

fn sum(text: &Secret) -> String {
    crate::installed::sum(text.expose().as_bytes())
}

/// As `write.sh` takes a file that is not there.
const NOTHING: &str = "-";
const READ: Script = Script {
    doing: "read a file",
    text: include_str!("../scripts/read.sh"),
    within: Duration::from_secs(30),
};
const WRITE: Script = Script {
    doing: "write a file",
    text: include_str!("../scripts/write.sh"),
    within: Duration::from_secs(30),
};

const RESTART: Script = Script {
    doing: "restart the API server by options.encryption.restart_command",
    text: include_str!("../scripts/restart.sh"),
    within: Duration::from_secs(180),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_on_a_host_comes_with_its_mode_and_time() {
        let found = |said: &str| parse(&Secret::from(said.to_owned()));
        assert!(found("").is_none(), "there is no file");
        let read = found("600 17\na: b\nc: d\n").unwrap();
        assert_eq!(
            (read.text.expose(), read.is_private, read.modified),
            ("a: b\nc: d\n", true, 17)
        );
        assert_eq!(found("600\n").unwrap().modified, i64::MAX);
        for wide in ["644 1\n", "640 1\n", "what\n"] {
            assert!(!found(wide).unwrap().is_private, "{wide}");
        }
    }
}
