//! One step of a plan.

use serde_json::Value;

use super::{Change, NodePatch, Reason};
use crate::object::Key;

/// One object to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// Which object.
    pub key: Key,
    /// What is done to it.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// The fields that differ; empty when the object is created.
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
    /// Patch of a Node, which kubelet owns.
    PatchNode(NodePatch),
}
