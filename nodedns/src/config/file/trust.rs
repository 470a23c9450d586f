//! What is trusted without a proof, as the file says it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::text::{as_texts, names};
use super::{Mistake, mistake};
use crate::anchors;
use crate::config::{Anchor, Name, trust_anchor};

/// What is trusted without a proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrustAnchors {
    /// Files of DS and DNSKEY records. Where the anchors of two zones nest, the
    /// closest to a name governs. Default, and when empty: the root's keys of
    /// 2017 and 2024, which are built in.
    pub files: Vec<PathBuf>,
    /// Whether the keys of these zones are followed as their owners replace them
    /// (RFC 5011), as unbound does with `auto-trust-anchor-file`: a new key is
    /// trusted once a trusted one has signed it for 30 days, a revoked one never
    /// again. Default: `true`, for files as for what is built in: a file on a node
    /// is forgotten, and a key that is replaced elsewhere would take the names of
    /// its zone along. With `false` exactly the keys named here are trusted, as with
    /// unbound's `trust-anchor-file`. Files are never written; what is learned is
    /// kept in the state directory.
    #[serde(skip_serializing_if = "is_true")]
    pub follow_rollovers: bool,
    /// Names at and below which nothing is validated: zones whose signatures are
    /// broken, and private zones that the world does not know. Without an end; for a while
    /// by `nodedns negative-anchor`. Default: none.
    #[serde(deserialize_with = "names", serialize_with = "as_texts")]
    pub negative: Vec<Name>,
}

impl Default for TrustAnchors {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            follow_rollovers: true,
            negative: Vec::new(),
        }
    }
}

impl TrustAnchors {
    /// What the files say, or what is built in.
    pub(super) fn anchors(&self) -> Result<Vec<Anchor>, Mistake> {
        if self.files.is_empty() {
            return Ok(anchors::root());
        }
        let mut all = Vec::new();
        for (at, path) in self.files.iter().enumerate() {
            let read = trust_anchor::read(path)
                .map_err(|message| mistake(format!("trust_anchors.files[{at}]"), message))?;
            all.extend(read);
        }
        Ok(all)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_true(value: &bool) -> bool {
    *value
}
