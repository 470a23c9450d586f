//! The two files in the state directory. That there is none, or that it cannot be
//! written, costs a restart its memory and nothing else.

use std::io;
use std::path::{Path, PathBuf};

use daemon::state_file::{self, StateError};
use tracing::warn;

use super::point::Point;
use crate::anchors::negative::NegativeAnchors;
use crate::anchors::rfc5011::Time;
use crate::anchors::stored::{self, KeptPoint, StoredError};

/// Where trust is kept.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    has_warned: bool,
}

/// Why a file is ignored.
#[derive(Debug, thiserror::Error)]
enum Ignored {
    #[error(transparent)]
    File(#[from] StateError),
    #[error(transparent)]
    Content(#[from] StoredError),
}

/// A file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}; --state-dir names a folder that can be written", path.display())]
pub(super) struct WriteError {
    path: PathBuf,
    source: io::Error,
}

impl Disk {
    /// In this folder, which is made when something is to be kept.
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            has_warned: false,
        }
    }

    /// The trust points that were kept.
    pub(super) fn points(&self) -> Vec<KeptPoint> {
        let path = self.folder.join(POINTS);
        let hold = "the configured trust anchors hold";
        read(&path, hold, stored::read_points).unwrap_or_default()
    }

    /// The negative anchors that were kept and have not ended.
    pub(super) fn negative(&self, now: Time) -> NegativeAnchors {
        let path = self.folder.join(NEGATIVE);
        let read_them = |content: &[u8]| stored::read_negative(content, now);
        read(&path, "the names in it are validated", read_them).unwrap_or_default()
    }

    /// Keeps the trust points.
    pub(super) fn keep_points(&self, points: &[Point]) -> Result<(), WriteError> {
        let kept: Vec<KeptPoint> = points.iter().map(Point::kept).collect();
        self.write(POINTS, &stored::write_points(&kept))
    }

    /// Keeps the negative anchors.
    pub(super) fn keep_negative(&self, anchors: &NegativeAnchors) -> Result<(), WriteError> {
        self.write(NEGATIVE, &stored::write_negative(anchors))
    }

    /// Says what is lost by an error that nobody waits to hear of.
    pub(super) fn warn_once(&mut self, error: &WriteError) {
        if !std::mem::replace(&mut self.has_warned, true) {
            warn!(%error, "a restart will not know which keys were learned since");
        }
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), WriteError> {
        let path = self.folder.join(name);
        state_file::write(&path, content).map_err(|source| WriteError { path, source })
    }
}

fn read<T>(
    path: &Path,
    instead: &str,
    parse: impl FnOnce(&[u8]) -> Result<T, StoredError>,
) -> Option<T> {
    let read = || -> Result<Option<T>, Ignored> {
        let content = state_file::read(path, stored::MAX_BYTES)?;
        Ok(content.map(|content| parse(&content)).transpose()?)
    };
    read().unwrap_or_else(|error| {
        warn!(file = %path.display(), %error, instead, "a file of what was trusted is ignored");
        None
    })
}

const POINTS: &str = "trust-anchors.json";
const NEGATIVE: &str = "negative-anchors.json";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::Name;
    use std::time::Duration;

    #[test]
    fn a_start_after_a_crash_knows_what_was_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut anchors = NegativeAnchors::default();
        let name = Name::from_text("broken.example").unwrap();
        anchors
            .add(name, Duration::from_secs(3_600), "why", 1_000)
            .unwrap();
        Disk::new(folder.path()).keep_negative(&anchors).unwrap();
        let disk = Disk::new(folder.path());
        assert_eq!(disk.negative(1_001), anchors);
        assert_eq!(disk.negative(4_600), NegativeAnchors::default());
    }

    #[test]
    fn garbage_is_as_good_as_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(folder.path());
        for garbage in [&b""[..], b"\0\xff", b"{}", &[b'['; 100_000]] {
            state_file::write(&folder.path().join(POINTS), garbage).unwrap();
            state_file::write(&folder.path().join(NEGATIVE), garbage).unwrap();
            assert_eq!(disk.points(), []);
            assert_eq!(disk.negative(0), NegativeAnchors::default());
        }
    }

    #[test]
    fn an_error_says_how_to_mend_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Disk::new(&file)
            .keep_negative(&NegativeAnchors::default())
            .unwrap_err();
        assert!(error.to_string().contains("--state-dir names a folder"));
    }
}
