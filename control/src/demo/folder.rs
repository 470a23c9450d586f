//! Files in the demo's folder, whose own mode keeps others out.

use std::path::Path;

use anyhow::Context as _;

/// Writes a file.
pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
