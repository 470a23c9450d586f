//! What a program writes to disk for its next start: small files that are replaced
//! whole or not at all, and that are trusted no further than who could have
//! written them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::geteuid;
use thiserror::Error;

/// Why a file is no use.
#[derive(Debug, Error)]
pub enum StateError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Not a file, or of a user who is neither this one nor root, or one that others may write.
    #[error("it is not a file of this user, which nobody else can write")]
    Foreign,
    /// Larger than any that the program writes.
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
}

/// The content of the file at `path`, which is at most `max` bytes long; `None`
/// when there is no file. Links are not followed.
///
/// # Errors
/// The file is to be ignored.
pub fn read(path: &Path, max: u64) -> Result<Option<Vec<u8>>, StateError> {
    let opened = OpenOptions::new()
        .read(true)
        // Not a link elsewhere, and no waiting for the other end of a pipe.
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let metadata = file.metadata()?;
    let owner_is_trusted = [0, geteuid().as_raw()].contains(&metadata.uid());
    if !metadata.is_file() || !owner_is_trusted || metadata.mode() & 0o022 != 0 {
        return Err(StateError::Foreign);
    }
    let mut content = Vec::new();
    file.take(max + 1).read_to_end(&mut content)?;
    if content.len() as u64 > max {
        return Err(StateError::TooLarge(max));
    }
    Ok(Some(content))
}

/// Puts `content` in the place of the file at `path`: whole or not at all, also
/// when the power fails. Its folder is made where there is none.
///
/// # Errors
/// The folder cannot be made, or nothing can be written there.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    write_with_mode(path, content, 0o640)
}

/// The same for what nobody but its owner may read.
///
/// # Errors
/// Those of [`write()`].
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    write_with_mode(path, content, PRIVATE_MODE)
}

/// The mode of files that nobody but their owner may read.
pub const PRIVATE_MODE: u32 = 0o600;

fn write_with_mode(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(folder)?;
    let new = path.with_added_extension("new");
    // Left behind by a crash, or put there by somebody: a new one is ours for sure.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;

    fn file() -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/on/demand/state.json");
        (folder, path)
    }

    #[test]
    fn what_is_written_is_read() {
        let (_folder, path) = file();
        assert_eq!(read(&path, 9).unwrap(), None);
        for content in [b"one".as_slice(), b"the other"] {
            write(&path, content).unwrap();
            assert_eq!(read(&path, 9).unwrap().unwrap(), content);
        }
        let left = fs::read_dir(path.parent().unwrap()).unwrap();
        assert_eq!(left.count(), 1, "only the file itself");
        assert!(matches!(read(&path, 8), Err(StateError::TooLarge(8))));
    }

    #[test]
    fn what_a_crash_left_behind_is_no_obstacle() {
        let (_folder, path) = file();
        write(&path, b"old").unwrap();
        fs::write(path.with_added_extension("new"), "half").unwrap();
        write(&path, b"whole").unwrap();
        assert_eq!(read(&path, 9).unwrap().unwrap(), b"whole");
    }

    #[test]
    fn what_others_can_write_and_what_is_no_file_is_foreign() {
        let (_folder, path) = file();
        write(&path, b"state").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(read(&path, 9), Err(StateError::Foreign)));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(read(&path, 9), Err(StateError::Foreign)));
        fs::remove_dir(&path).unwrap();
        symlink("/etc/passwd", &path).unwrap();
        assert!(matches!(read(&path, 9), Err(StateError::Unreadable(_))));
    }
}
