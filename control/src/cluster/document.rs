//! cluster.yml as a document: read by Kubernetes' rules (YAML 1.1), kept for mistakes that
//! are found after reading, so that they name a line and a column, too.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use crate::yaml::{self, Content, Mistake, Node, Place, typed};

/// The whole file.
#[derive(Debug, Clone)]
pub(super) struct Document {
    path: PathBuf,
    root: Node,
}

/// What is wrong with cluster.yml, and where.
///
/// Displays as `cluster.yml:4:12: nodes[0].address: …`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct ClusterError {
    path: PathBuf,
    place: Option<Place>,
    message: String,
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(Place { line, column }) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl Document {
    /// A document that is already in memory.
    pub(super) fn new(path: &Path, bytes: &[u8]) -> Result<Self, ClusterError> {
        let error = |Mistake { place, message }| ClusterError {
            path: path.to_owned(),
            place: Some(place),
            message,
        };
        let documents = yaml::documents(yaml::text(bytes).map_err(error)?).map_err(error)?;
        let mut documents = documents.into_iter();
        let root = documents.next().ok_or_else(|| {
            let message = "is empty; `control init` writes one to begin with";
            whole(path, message.to_owned())
        })?;
        if let Some(second) = documents.next() {
            return Err(error(Mistake {
                place: second.place,
                message: "begins a second document; a cluster has one".to_owned(),
            }));
        }
        Ok(Self {
            path: path.to_owned(),
            root,
        })
    }

    /// Reads the file at `path`, up to [`MAX_BYTES`].
    pub(super) fn read(path: &Path) -> Result<Self, ClusterError> {
        let unreadable = |error: io::Error| {
            let message = match error.kind() {
                io::ErrorKind::NotFound => {
                    "no such file; --cluster names the one to read, and `control init` writes one"
                        .to_owned()
                }
                io::ErrorKind::IsADirectory => "is a directory".to_owned(),
                _ => format!("cannot be read: {error}"),
            };
            whole(path, message)
        };
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
            .map_err(unreadable)?;
        if bytes.len() as u64 > MAX_BYTES {
            let message = format!("has more than {MAX_BYTES} bytes; is it the right file?");
            return Err(whole(path, message));
        }
        Self::new(path, &bytes)
    }

    /// The value that this document describes.
    pub(super) fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ClusterError> {
        typed::from_node(&self.root).map_err(|misfit| ClusterError {
            path: self.path.clone(),
            place: misfit.place,
            message: misfit.to_string(),
        })
    }

    /// An error about the value at `field`, written as `nodes[1].labels`. One about a field
    /// that is not in the document is about the whole file.
    pub(super) fn error_at(&self, field: &str, message: impl fmt::Display) -> ClusterError {
        ClusterError {
            path: self.path.clone(),
            place: self.find(field).map(|node| node.place),
            message: format!("{field}: {message}"),
        }
    }

    /// The value at `field`; None where there is none, and none but `null`.
    pub(super) fn find(&self, field: &str) -> Option<&Node> {
        let mut steps = field.split(['.', '[']).filter(|step| !step.is_empty());
        steps
            .try_fold(&self.root, |node, step| match &node.content {
                Content::Map(fields) => fields.get(step).map(|field| &field.value),
                Content::List(items) => items.get(step.strip_suffix(']')?.parse::<usize>().ok()?),
                Content::Scalar(_) => None,
            })
            .filter(|node| !node.is_null())
    }
}

fn whole(path: &Path, message: String) -> ClusterError {
    ClusterError {
        path: path.to_owned(),
        place: None,
        message,
    }
}

/// A cluster of 5,000 nodes has a tenth of it.
const MAX_BYTES: u64 = 16 << 20;
