//! Writes a secret into a file that is its owner's alone.

use std::io;
use std::path::Path;

use daemon::state_file;

use crate::secret::Secret;

/// Writes `directory`/`name` anew, whole or not at all. Of several writers at once one must
/// hold a lock.
///
/// # Errors
/// The disk is full, say; what was there before still is.
pub(crate) fn write(directory: &Path, name: &str, text: &Secret) -> io::Result<()> {
    state_file::write_private(&directory.join(name), text.expose().as_bytes())
}

/// Of files that hold secrets.
pub(crate) const MODE: u32 = state_file::PRIVATE_MODE;
