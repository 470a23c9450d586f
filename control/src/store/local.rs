//! The embedded store: a directory that is its owner's alone, a file for each secret.
//!
//! Files appear whole or not at all. A directory or file that others can read is refused:
//! what was in it may be known to them, and a `chmod` by us would hide that.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use daemon::state_file::{self, PRIVATE_MODE as FILE_MODE};
use thiserror::Error;

use crate::secret::Secret;

/// A directory of secrets. It is made when the first one is written.
#[derive(Debug)]
pub(crate) struct Local {
    directory: PathBuf,
}

/// Why a secret could not be read or written.
#[derive(Debug, Error)]
pub(crate) enum LocalError {
    #[error("store {}: cannot {doing}: {cause}", path.display())]
    Io {
        path: PathBuf,
        doing: &'static str,
        cause: io::Error,
    },
    #[error(
        "store {}: others may read it (mode {mode:04o}); should its secrets be known to nobody \
         else, run `chmod {right:o} {}`, and otherwise replace them",
        path.display(), path.display()
    )]
    Open {
        path: PathBuf,
        mode: u32,
        right: u32,
    },
    #[error("store {}: {what}", path.display())]
    Wrong { path: PathBuf, what: &'static str },
    #[error(
        "store {}: another control has been writing to it for {} s; does one hang?",
        path.display(), LOCK_WITHIN.as_secs()
    )]
    Locked { path: PathBuf },
}

/// The right to write; others wait.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    local: &'a Local,
    /// Unlocked when it is closed.
    _lock: File,
}

impl Local {
    pub(super) const fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file of this name; None when there is none.
    pub(super) fn read(&self, name: &str) -> Result<Option<Secret>, LocalError> {
        if !self.check()? {
            return Ok(None);
        }
        let path = self.directory.join(name);
        let failed = |cause| io_error(&path, "read it", cause);
        let file = match OpenOptions::new()
            .read(true)
            .custom_flags(NO_FOLLOW | NO_BLOCK)
            .open(&path)
        {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        // Of the file that was opened, not of one that has taken its name since.
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            let what = "is no file";
            return Err(LocalError::Wrong { path, what });
        }
        check_mode(&path, metadata.mode(), FILE_MODE)?;
        let mut text = String::new();
        file.take(MAX_SIZE + 1)
            .read_to_string(&mut text)
            .map_err(|cause| io_error(&path, "read it", cause))?;
        let text = Secret::from(text);
        if text.expose().len() as u64 > MAX_SIZE {
            let what = "is larger than any secret of control's; is it one?";
            return Err(LocalError::Wrong { path, what });
        }
        Ok(Some(text))
    }

    /// Makes the directory where there is none, and waits until nobody else writes.
    pub(super) fn lock(&self) -> Result<Locked<'_>, LocalError> {
        if !self.check()? {
            self.create()?;
        }
        let path = self.directory.join(LOCK);
        let failed = |cause| io_error(&path, "lock it", cause);
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(failed)?;
        let deadline = Instant::now() + LOCK_WITHIN;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(TryLockError::WouldBlock) => return Err(LocalError::Locked { path }),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        Ok(Locked {
            local: self,
            _lock: lock,
        })
    }

    fn create(&self) -> Result<(), LocalError> {
        let failed = |cause| io_error(&self.directory, "create it", cause);
        if let Some(parent) = self.directory.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        match DirBuilder::new()
            .mode(DIRECTORY_MODE)
            .create(&self.directory)
        {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.check()?;
            }
            created => created.map_err(failed)?,
        }
        // It may stand beside a cluster.yml that is kept in git.
        let ignore = self.directory.join(".gitignore");
        fs::write(&ignore, "*\n").map_err(|cause| io_error(&ignore, "write it", cause))
    }

    /// Whether the directory is there, and fit for secrets.
    fn check(&self) -> Result<bool, LocalError> {
        let path = &self.directory;
        match fs::metadata(path) {
            Ok(found) if !found.is_dir() => Err(LocalError::Wrong {
                path: path.clone(),
                what: "is no directory; name one with --store, or a URL of Vault",
            }),
            Ok(found) => check_mode(path, found.mode(), DIRECTORY_MODE).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(io_error(path, "look at it", error)),
        }
    }
}

impl Locked<'_> {
    /// The file of this name; None when there is none.
    pub(super) fn read(&self, name: &str) -> Result<Option<Secret>, LocalError> {
        self.local.read(name)
    }

    /// Writes the file of this name anew, durably.
    pub(super) fn write(&self, name: &str, text: &Secret) -> Result<(), LocalError> {
        let path = self.local.directory.join(name);
        state_file::write_private(&path, text.expose().as_bytes())
            .map_err(|cause| io_error(&path, "write it", cause))
    }
}

fn check_mode(path: &Path, mode: u32, right: u32) -> Result<(), LocalError> {
    let mode = mode & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(LocalError::Open {
        path: path.to_owned(),
        mode,
        right,
    })
}

fn io_error(path: &Path, doing: &'static str, cause: io::Error) -> LocalError {
    LocalError::Io {
        path: path.to_owned(),
        doing,
        cause,
    }
}

const DIRECTORY_MODE: u32 = 0o700;
const LOCK: &str = ".lock";
/// What is done under the lock takes milliseconds.
const LOCK_WITHIN: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Bytes of a file.
const MAX_SIZE: u64 = 1 << 20;
/// A link would lead out of the directory, and a pipe would be waited for.
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
const NO_BLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn store() -> (tempfile::TempDir, Local) {
        let folder = tempfile::tempdir().unwrap();
        let local = Local::new(folder.path().join("deep/store"));
        (folder, local)
    }

    fn put(local: &Local, name: &str, text: &str) {
        let text = Secret::from(text.to_owned());
        local.lock().unwrap().write(name, &text).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn what_is_written_is_read_back_and_nobody_elses() {
        let (_folder, local) = store();
        assert!(local.read("a").unwrap().is_none());
        assert!(!local.directory().exists(), "reading makes nothing");
        put(&local, "a", "one");
        put(&local, "a", "two");
        assert_eq!(local.read("a").unwrap().unwrap().expose(), "two");
        assert_eq!(mode(local.directory()), 0o700);
        assert_eq!(mode(&local.directory().join("a")), 0o600);
        assert!(local.read("b").unwrap().is_none());
    }

    #[test]
    fn what_others_may_read_is_refused_with_the_way_out() {
        let (_folder, local) = store();
        put(&local, "a", "secret");
        for (path, right, wide) in [
            (local.directory().to_owned(), 0o700, 0o750),
            (local.directory().join("a"), 0o600, 0o604),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(wide)).unwrap();
            let error = local.read("a").unwrap_err().to_string();
            assert!(error.contains(&format!("mode {wide:04o}")), "{error}");
            let remedy = format!("chmod {right:o} {}", path.display());
            assert!(error.contains(&remedy), "{error}");
            fs::set_permissions(&path, fs::Permissions::from_mode(right)).unwrap();
        }
        assert!(local.read("a").unwrap().is_some());
    }

    #[test]
    fn links_pipes_and_huge_files_are_refused() {
        let (folder, local) = store();
        put(&local, "a", "secret");
        let outside = folder.path().join("outside");
        fs::write(&outside, "x").unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&outside, local.directory().join("link")).unwrap();
        assert!(local.read("link").is_err());
        fs::create_dir(local.directory().join("folder")).unwrap();
        assert!(local.read("folder").is_err());
        put(&local, "huge", &"x".repeat(1 << 20));
        assert!(local.read("huge").is_ok());
        put(&local, "huge", &"x".repeat((1 << 20) + 1));
        assert!(local.read("huge").is_err());
    }

    #[test]
    fn what_a_killed_writer_left_behind_stops_nobody() {
        let (_folder, local) = store();
        put(&local, "a", "whole");
        fs::write(local.directory().join("a.new"), "ha").unwrap();
        assert_eq!(local.read("a").unwrap().unwrap().expose(), "whole");
        put(&local, "a", "next");
        assert_eq!(local.read("a").unwrap().unwrap().expose(), "next");
        assert!(!local.directory().join("a.new").exists());
    }

    #[test]
    fn writers_take_turns() {
        let (_folder, local) = store();
        put(&local, "count", "0");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        let locked = local.lock().unwrap();
                        let count: u32 = locked
                            .read("count")
                            .unwrap()
                            .unwrap()
                            .expose()
                            .parse()
                            .unwrap();
                        locked
                            .write("count", &Secret::from((count + 1).to_string()))
                            .unwrap();
                    }
                });
            }
        });
        assert_eq!(local.read("count").unwrap().unwrap().expose(), "40");
    }
}
