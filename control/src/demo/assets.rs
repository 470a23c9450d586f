//! The real parts that the demo uses in place of its stand-ins, where they are on this machine.

use std::path::{Path, PathBuf};

use anyhow::bail;

/// Programs of a cluster, in one folder as envtest keeps them.
#[derive(Debug)]
pub(crate) struct Assets {
    folder: PathBuf,
}

impl Assets {
    /// Those in `folder`.
    ///
    /// # Errors
    /// One is missing.
    pub(crate) fn find(folder: &Path) -> anyhow::Result<Self> {
        let missing: Vec<_> = PROGRAMS
            .into_iter()
            .filter(|name| !folder.join(name).is_file())
            .collect();
        if !missing.is_empty() {
            bail!(
                "{} has no {}; tests/peers/build makes a folder that has all",
                folder.display(),
                missing.join(", ")
            );
        }
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Where they are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn etcd(&self) -> PathBuf {
        self.folder.join(ETCD)
    }

    pub(super) fn kube_apiserver(&self) -> PathBuf {
        self.folder.join(KUBE_APISERVER)
    }

    pub(super) fn coredns(&self) -> PathBuf {
        self.folder.join(COREDNS)
    }
}

const ETCD: &str = "etcd";
const KUBE_APISERVER: &str = "kube-apiserver";
const COREDNS: &str = "coredns";
const PROGRAMS: [&str; 3] = [ETCD, KUBE_APISERVER, COREDNS];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(ETCD), "").unwrap();
        let error = Assets::find(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains(" has no kube-apiserver, coredns;"),
            "{error}"
        );
        for name in PROGRAMS {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        Assets::find(folder.path()).unwrap();
    }
}
