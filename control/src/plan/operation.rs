//! One step of a plan, and what a plan leaves alone.

use std::net::IpAddr;

use serde_json::Value;

use super::{Change, NodePatch, Reason};
use crate::object::Key;

/// One object to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// Which object.
    pub key: Key,
    /// Its kind's plural, as in URLs.
    pub plural: String,
    /// What is done to it.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// The fields that differ; empty when the object is created or deleted. Values of
    /// Secrets are hidden.
    pub changes: Vec<Change>,
    /// Objects without which this one makes no sense: when writing one of them
    /// fails, this is not tried.
    pub depends_on: Vec<Key>,
}

/// How an object is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Server-side apply of an object that does not exist.
    Create(Value),
    /// Server-side apply of an object that does.
    Update(Value),
    /// Server-side apply of a Secret, with a certificate that is issued into it then.
    Issue {
        /// The Secret without the certificate.
        content: Value,
        /// The names of the server.
        names: Vec<String>,
        /// Whether the Secret exists.
        exists: bool,
    },
    /// The EncryptionConfiguration of the step that a rotation has reached is put onto a host.
    Deliver {
        /// The host.
        host: IpAddr,
        /// Whether there is another one.
        exists: bool,
    },
    /// An API server is restarted, so that it loads the configuration that was delivered.
    Restart {
        /// Its host.
        host: IpAddr,
    },
    /// All Secrets are written anew, as they are.
    RewriteSecrets,
    /// Patch of a Node, which kubelet owns.
    PatchNode(NodePatch),
    /// Cordon, drain where asked for, and delete a Node.
    RemoveNode {
        /// The UID of the Node that was seen.
        uid: String,
        /// Whether its pods are evicted first.
        drain: bool,
    },
    /// Delete an object that is registered no longer.
    Delete {
        /// The UID of the object that was seen.
        uid: String,
    },
}

impl Action {
    /// The word that stands for this action, the same in every version.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Create(_)
            | Self::Issue { exists: false, .. }
            | Self::Deliver { exists: false, .. } => "create",
            Self::Update(_)
            | Self::PatchNode(_)
            | Self::Issue { exists: true, .. }
            | Self::Deliver { exists: true, .. } => "update",
            Self::Restart { .. } => "restart",
            Self::RewriteSecrets => "rewrite",
            Self::RemoveNode { .. } => "remove",
            Self::Delete { .. } => "delete",
        }
    }
}

/// An object that is not as wanted and is not written.
#[derive(Debug, Clone, PartialEq)]
pub struct Left {
    /// Which object.
    pub key: Key,
    /// Why not: held, waiting, conflict or blocked.
    pub reason: Reason,
}
