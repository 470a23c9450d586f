//! Writes a file that is its owner's alone, durably; whoever reads sees all of it or what was
//! there before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::secret::Secret;

/// Writes `directory`/`name` anew. Of several writers at once one must hold a lock.
///
/// # Errors
/// The disk is full, say; what was there before still is.
pub(crate) fn write(directory: &Path, name: &str, text: &Secret) -> io::Result<()> {
    let new = directory.join(format!(".{name}.new"));
    // Left by one that was killed while it wrote.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&new)?;
    file.write_all(text.expose().as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, directory.join(name))?;
    File::open(directory)?.sync_all()
}

/// Of files that hold secrets.
pub(crate) const MODE: u32 = 0o600;
