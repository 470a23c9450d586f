//! Carries out a plan, operation by operation.
//!
//! A failure stops only what depends on it. Every request has a deadline. What
//! became of each operation is data for `output`; nothing is printed here.

use std::collections::HashSet;
use std::fmt;

use crate::client::{RequestError, Server};
use crate::desired::Note;
use crate::object::Key;
use crate::plan::{Action, Left, Operation};
use crate::wish::Wish;

mod certificate;
mod encryption;
pub(crate) mod hosts;
mod node;
mod objects;
mod removal;

/// What became of a whole plan.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) outcomes: Vec<Outcome>,
    /// What is held, and what is somebody else's.
    pub(crate) left: Vec<Left>,
    pub(crate) notes: Vec<Note>,
    tried: HashSet<Key>,
    bad: HashSet<Key>,
}

/// What became of one operation.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) key: Key,
    pub(crate) end: End,
    /// What the API server had to say about it.
    pub(crate) warnings: Vec<String>,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The object exists now.
    Created,
    /// The object is as wanted now.
    Updated,
    /// The object is gone.
    Deleted,
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
        self.tried.contains(key)
    }

    /// Adds what became of an operation.
    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.tried.insert(outcome.key.clone());
        if outcome.end.is_bad() {
            self.bad.insert(outcome.key.clone());
        }
        self.outcomes.push(outcome);
    }

    pub(crate) fn is_success(&self) -> bool {
        self.bad.is_empty()
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
            Self::Deleted => "deleted",
            Self::Unneeded => "unneeded",
            Self::Failed(_) => "failed",
            Self::Skipped(_) => "skipped",
        })
    }
}

/// Carries out one operation, unless one that it depends on is bad in `before`.
pub(crate) async fn apply(
    server: &Server,
    wish: &Wish,
    operation: Operation,
    before: &Report,
) -> Outcome {
    let failed = operation
        .depends_on
        .iter()
        .find(|key| before.bad.contains(key))
        .cloned();
    let key = operation.key.clone();
    let mut warnings = Vec::new();
    let end = match failed {
        Some(failed) => End::Skipped(failed),
        None => carry_out(server, wish, operation, &mut warnings)
            .await
            .unwrap_or_else(|error| End::Failed(error.to_string())),
    };
    Outcome { key, end, warnings }
}

async fn carry_out(
    server: &Server,
    wish: &Wish,
    operation: Operation,
    warnings: &mut Vec<String>,
) -> Result<End, RequestError> {
    let Operation {
        key,
        plural,
        action,
        depends_on,
        ..
    } = operation;
    match action {
        Action::Create(content) => {
            *warnings = objects::apply(server, &key, &plural, &content, &depends_on).await?;
            Ok(End::Created)
        }
        Action::Update(content) => {
            *warnings = objects::apply(server, &key, &plural, &content, &depends_on).await?;
            Ok(End::Updated)
        }
        Action::Issue {
            mut content,
            names,
            exists,
        } => {
            certificate::issue(&wish.store, &key, &mut content, &names).await?;
            *warnings = objects::apply(server, &key, &plural, &content, &depends_on).await?;
            Ok(if exists { End::Updated } else { End::Created })
        }
        Action::Deliver { host, exists } => {
            encryption::deliver(wish, host).await?;
            Ok(if exists { End::Updated } else { End::Created })
        }
        Action::Restart { host } => {
            encryption::restart(server, wish, host).await?;
            Ok(End::Updated)
        }
        Action::RewriteSecrets => {
            encryption::rewrite(server, wish).await?;
            Ok(End::Updated)
        }
        Action::PatchNode(patch) => node::patch(server, &key.name, patch).await,
        Action::RemoveNode { uid, drain } => removal::remove(server, &key, &uid, drain).await,
        Action::Delete { uid } => {
            server.delete(&key, &plural, &uid).await?;
            Ok(End::Deleted)
        }
    }
}
