//! When a configuration is to be read again: at SIGHUP, and once its file has changed.
//!
//! The file is polled: a poll costs a system call, sees an editor's rename and the symlink that a ConfigMap
//! volume turns alike, and works on every file system. A change counts once two polls in a row have seen
//! the same, so that a file is not read while it is being written.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Tells when to read the configuration again.
#[derive(Debug)]
pub struct Reload {
    hangup: Signal,
    ticks: Interval,
    file: Option<Watched>,
}

/// Why the configuration is to be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// SIGHUP.
    Hangup,
    /// The file is another.
    File,
}

impl Cause {
    /// The word for it in logs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hangup => "SIGHUP",
            Self::File => "the file has changed",
        }
    }
}

impl Reload {
    /// Takes over SIGHUP, which would end the process, and watches the file at `path` if there is one. What
    /// is in it now is no change. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// The signal handler cannot be installed.
    pub fn install(path: Option<&Path>) -> io::Result<Self> {
        let mut ticks = interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            ticks,
            file: path.map(Watched::new),
        })
    }

    /// Waits until the configuration is to be read again. A file that is gone has changed, too. Cancel safe.
    pub async fn wanted(&mut self) -> Cause {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    // What it says is read anyway now.
                    if let Some(file) = &mut self.file {
                        file.settle();
                    }
                    return Cause::Hangup;
                }
                _ = self.ticks.tick() => {
                    if self.file.as_mut().is_some_and(Watched::has_changed) {
                        return Cause::File;
                    }
                }
            }
        }
    }
}

/// One file, and what was last seen of it.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    /// What the last poll saw.
    seen: Option<Stamp>,
    /// Whether that is told already.
    settled: bool,
    /// Of the content that was last told.
    told: Option<u64>,
}

/// What differs between two versions of a file, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Watched {
    fn new(path: &Path) -> Self {
        let mut file = Self {
            path: path.to_owned(),
            seen: None,
            settled: true,
            told: None,
        };
        file.settle();
        file
    }

    /// What is there now is told.
    fn settle(&mut self) {
        self.seen = self.stamp();
        self.told = self.content();
        self.settled = true;
    }

    /// To be called once a poll.
    fn has_changed(&mut self) -> bool {
        let now = self.stamp();
        if now != self.seen {
            self.seen = now;
            self.settled = false;
            return false;
        }
        if self.settled {
            return false;
        }
        self.settled = true;
        let content = self.content();
        let changed = content != self.told;
        self.told = content;
        changed
    }

    fn stamp(&self) -> Option<Stamp> {
        let file = fs::metadata(&self.path).ok()?;
        Some(Stamp {
            device: file.dev(),
            inode: file.ino(),
            size: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }

    /// `None` when it cannot be read, or is too large to be a configuration.
    fn content(&self) -> Option<u64> {
        if self.seen?.size > MAX_BYTES {
            return None;
        }
        let mut hash = DefaultHasher::new();
        fs::read(&self.path).ok()?.hash(&mut hash);
        Some(hash.finish())
    }
}

/// Two of them and the reading are well within a second.
const POLL: Duration = Duration::from_millis(250);
/// As much as a configuration file may have.
const MAX_BYTES: u64 = crate::config_file::MAX_BYTES;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::process::{Signal, getpid, kill_process};
    use tokio::time::timeout;

    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rivers.yml");
        fs::write(&path, "a").unwrap();
        (folder, path)
    }

    /// Whether any of the next polls sees a change.
    fn changes(file: &mut Watched) -> usize {
        (0..4).filter(|_| file.has_changed()).count()
    }

    #[test]
    fn what_is_there_at_first_is_no_change() {
        let (_folder, path) = folder();
        assert_eq!(changes(&mut Watched::new(&path)), 0);
    }

    #[test]
    fn a_change_is_told_once_and_only_when_it_has_come_to_rest() {
        let (_folder, path) = folder();
        let mut file = Watched::new(&path);
        fs::write(&path, "half").unwrap();
        assert!(!file.has_changed());
        fs::write(&path, "half and the rest").unwrap();
        assert!(!file.has_changed());
        assert!(file.has_changed());
        assert_eq!(changes(&mut file), 0);
    }

    #[test]
    fn the_same_content_is_no_change_however_it_came() {
        let (folder, path) = folder();
        let mut file = Watched::new(&path);
        let other = folder.path().join("other");
        fs::write(&other, "a").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(changes(&mut file), 0);
    }

    #[test]
    fn a_symlink_that_is_turned_as_in_a_config_map_volume_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["..1", "..2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("rivers.yml"), version).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/rivers.yml", at("rivers.yml")).unwrap();
        let mut file = Watched::new(&at("rivers.yml"));
        symlink("..2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        fs::remove_dir_all(at("..1")).unwrap();
        assert_eq!(changes(&mut file), 1);
    }

    #[test]
    fn a_file_that_goes_and_one_that_comes_are_changes() {
        let (_folder, path) = folder();
        let mut file = Watched::new(&path);
        fs::remove_file(&path).unwrap();
        assert_eq!(changes(&mut file), 1);
        fs::write(&path, "a").unwrap();
        assert_eq!(changes(&mut file), 1);
    }

    #[tokio::test]
    async fn sighup_and_a_changed_file_are_told_apart() {
        let (_folder, path) = folder();
        let mut reload = Reload::install(Some(&path)).unwrap();
        fs::write(&path, "b").unwrap();
        assert_eq!(wanted(&mut reload).await, Cause::File);
        fs::write(&path, "c").unwrap();
        kill_process(getpid(), Signal::HUP).unwrap();
        assert_eq!(wanted(&mut reload).await, Cause::Hangup);
        // The signal has had it read.
        timeout(4 * POLL, reload.wanted()).await.unwrap_err();
    }

    async fn wanted(reload: &mut Reload) -> Cause {
        timeout(Duration::from_secs(10), reload.wanted())
            .await
            .unwrap()
    }
}
