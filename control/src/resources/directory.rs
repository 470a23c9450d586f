//! The files of a directory, in the order of their names, within bounds.

use std::fs;
use std::path::{Path, PathBuf};

use super::ResourceError;

/// Path and content of each file of resources below `directory`.
pub(super) fn files(directory: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, ResourceError> {
    let mut paths = Vec::new();
    list(directory, 0, &mut paths)?;
    let mut files = Vec::new();
    let mut total = 0;
    for path in paths {
        let unreadable = |message: String| ResourceError::Unreadable {
            path: path.clone(),
            message,
        };
        let metadata = fs::metadata(&path).map_err(|error| unreadable(reason(&error)))?;
        if !metadata.is_file() {
            return Err(unreadable("is no regular file; move it away".to_owned()));
        }
        if metadata.len() > MAX_FILE {
            return Err(unreadable(format!(
                "is {} bytes long; a file of resources has at most {MAX_FILE}: split it",
                metadata.len()
            )));
        }
        total += metadata.len();
        if total > MAX_TOTAL {
            return Err(unreadable(format!(
                "the files up to this one have more than {MAX_TOTAL} bytes; is this the right \
                 directory?"
            )));
        }
        let bytes = fs::read(&path).map_err(|error| unreadable(reason(&error)))?;
        files.push((path, bytes));
    }
    Ok(files)
}

fn list(directory: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> Result<(), ResourceError> {
    let unreadable = |message: String| ResourceError::Unreadable {
        path: directory.to_owned(),
        message,
    };
    if depth > MAX_DEPTH {
        let message = format!("is more than {MAX_DEPTH} directories deep; does a link lead back?");
        return Err(unreadable(message));
    }
    let read = |error: std::io::Error| unreadable(reason(&error));
    let mut entries = fs::read_dir(directory)
        .map_err(read)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(read)?;
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default();
        // Also the links behind a mounted ConfigMap.
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if path.is_dir() {
            list(&path, depth + 1, paths)?;
        } else if path
            .extension()
            .is_some_and(|end| EXTENSIONS.iter().any(|e| end == *e))
        {
            paths.push(path);
        }
        if paths.len() > MAX_FILES {
            let message = format!("has more than {MAX_FILES} files; is it the right directory?");
            return Err(unreadable(message));
        }
    }
    Ok(())
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::NotADirectory => "is no directory".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];
/// Larger than any manifest; the largest known (all CRDs of one project) has 5 MiB.
const MAX_FILE: u64 = 16 << 20;
/// Kept in memory twice.
const MAX_TOTAL: u64 = 256 << 20;
const MAX_FILES: usize = 20_000;
const MAX_DEPTH: usize = 16;
