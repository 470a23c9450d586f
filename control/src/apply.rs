//! Carries out a plan, operation by operation.
//!
//! A failure stops only what depends on it. Every request has a deadline. What
//! became of each operation is data for `output`; nothing is printed here.

use std::fmt;

use crate::client::{RequestError, Server};
use crate::desired::Note;
use crate::object::Key;
use crate::plan::{Action, Operation};

mod node;
mod objects;

/// What became of a whole plan.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) notes: Vec<Note>,
}

/// What became of one operation.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) key: Key,
    pub(crate) end: End,
}

/// How an operation ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The object exists now.
    Created,
    /// The object is as wanted now.
    Updated,
    /// Somebody else had made it so before us.
    Unneeded,
    /// It could not be written.
    Failed(String),
    /// Not tried, because this failed before.
    Skipped(Key),
}

impl Report {
    /// How many operations ended as `end` says.
    pub(crate) fn count(&self, end: impl Fn(&End) -> bool) -> usize {
        self.outcomes.iter().filter(|o| end(&o.end)).count()
    }

    /// Whether `key` has been tried already.
    pub(crate) fn has(&self, key: &Key) -> bool {
        self.outcomes.iter().any(|outcome| outcome.key == *key)
    }

    pub(crate) fn is_success(&self) -> bool {
        self.count(End::is_bad) == 0
    }
}

impl End {
    pub(crate) const fn is_bad(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Skipped(_))
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unneeded => "unneeded",
            Self::Failed(_) => "failed",
            Self::Skipped(_) => "skipped",
        })
    }
}

/// Carries out one operation, unless one that it depends on is bad among
/// `before`.
pub(crate) async fn apply(server: &Server, operation: Operation, before: &[Outcome]) -> Outcome {
    let Operation {
        key,
        action,
        depends_on,
        ..
    } = operation;
    let failed = before
        .iter()
        .find(|outcome| outcome.end.is_bad() && depends_on.contains(&outcome.key));
    let end = match failed {
        Some(failed) => End::Skipped(failed.key.clone()),
        None => carry_out(server, &key, action)
            .await
            .unwrap_or_else(|error| End::Failed(error.to_string())),
    };
    Outcome { key, end }
}

async fn carry_out(server: &Server, key: &Key, action: Action) -> Result<End, RequestError> {
    match action {
        Action::Create(content) => objects::apply(server, key, &content)
            .await
            .map(|()| End::Created),
        Action::Update(content) => objects::apply(server, key, &content)
            .await
            .map(|()| End::Updated),
        Action::PatchNode(patch) => node::patch(server, &key.name, patch).await,
    }
}
