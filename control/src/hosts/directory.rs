//! A directory that stands for hosts: `DIR/ADDRESS` is the `/` of that host. Something else
//! carries on from there, a mount or a copy say.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use daemon::state_file;

use super::{Found, HostError};
use crate::secret::Secret;

/// All hosts.
#[derive(Debug)]
pub(crate) struct Directory {
    root: PathBuf,
}

impl Directory {
    pub(super) const fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn read(&self, host: IpAddr, file: &str) -> Result<Option<Found>, HostError> {
        let path = self.path(host, file);
        let read = || {
            let file = OpenOptions::new()
                .read(true)
                .custom_flags(NO_BLOCK)
                .open(&path)?;
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Err(io::Error::other("it is no file"));
            }
            let mut text = String::new();
            file.take(MAX_SIZE).read_to_string(&mut text)?;
            Ok(Found {
                text: Secret::from(text),
                is_private: metadata.mode() & 0o077 == 0,
                modified: metadata.mtime(),
            })
        };
        match read() {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(HostError::File {
                path: path.clone(),
                doing: "read it",
                cause,
            }),
        }
    }

    pub(super) fn write(
        &self,
        host: IpAddr,
        file: &str,
        text: &Secret,
        seen: Option<&Found>,
    ) -> Result<(), HostError> {
        let path = self.path(host, file);
        let now = self.read(host, file)?;
        let texts = [now.as_ref(), seen].map(|found| found.map(|found| found.text.expose()));
        if texts[0] != texts[1] {
            return Err(HostError::Changed(path));
        }
        let write = || {
            let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
            if !directory.is_dir() {
                DirBuilder::new()
                    .recursive(true)
                    .mode(DIRECTORY_MODE)
                    .create(directory)?;
            }
            state_file::write_private(&path, text.expose().as_bytes())
        };
        write().map_err(|cause| HostError::File {
            path: path.clone(),
            doing: "write it",
            cause,
        })
    }

    /// Whether there is a place for this host.
    pub(super) fn check(&self) -> Result<(), HostError> {
        fs::read_dir(&self.root)
            .map(drop)
            .map_err(|cause| HostError::File {
                path: self.root.clone(),
                doing: "look into it",
                cause,
            })
    }

    fn path(&self, host: IpAddr, file: &str) -> PathBuf {
        let below: &Path = file.trim_start_matches('/').as_ref();
        self.root.join(host.to_string()).join(below)
    }
}

const DIRECTORY_MODE: u32 = 0o700;
/// Bytes; a configuration has some hundred.
const MAX_SIZE: u64 = 1 << 20;
/// A pipe would be waited for.
const NO_BLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_hosts_file_is_read_back_and_tells_whether_others_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let hosts = Directory::new(folder.path().to_owned());
        let host: IpAddr = "10.0.0.1".parse().unwrap();
        assert!(hosts.read(host, "/etc/a/b.yml").unwrap().is_none());
        for text in ["one", "two"] {
            let text = Secret::from(text.to_owned());
            let seen = hosts.read(host, "/etc/a/b.yml").unwrap();
            hosts
                .write(host, "/etc/a/b.yml", &text, seen.as_ref())
                .unwrap();
        }
        let late = hosts.write(host, "/etc/a/b.yml", &Secret::from("old".to_owned()), None);
        let late = late.unwrap_err().to_string();
        assert!(late.contains("changed it meanwhile"), "{late}");
        let found = hosts.read(host, "/etc/a/b.yml").unwrap().unwrap();
        assert_eq!((found.text.expose(), found.is_private), ("two", true));
        let path = folder.path().join("10.0.0.1/etc/a/b.yml");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(
            !hosts
                .read(host, "/etc/a/b.yml")
                .unwrap()
                .unwrap()
                .is_private
        );
    }

    #[test]
    fn an_error_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let hosts = Directory::new(folder.path().join("missing"));
        assert!(hosts.check().unwrap_err().to_string().contains("missing"));
        let hosts = Directory::new(folder.path().to_owned());
        fs::write(folder.path().join("::1"), "").unwrap();
        let host: IpAddr = "::1".parse().unwrap();
        let error = hosts.write(host, "/a/b", &Secret::from(String::new()), None);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("::1/a/b: cannot read it"), "{error}");
    }
}
