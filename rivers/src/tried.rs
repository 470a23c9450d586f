//! The attempts of one connection that did not serve it, for its line in the access log.

use std::{fmt, sync::Arc};

use crate::{decide::Choice, metrics::Attempt};

/// Who was tried, and what became of it. In rounds the same happens again and again: it is told once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tried(Vec<(Arc<Choice>, Attempt)>);

impl Tried {
    /// Whether that had not happened before to this connection.
    pub(crate) fn note(&mut self, choice: &Arc<Choice>, outcome: Attempt) -> bool {
        let known =
            |(other, became): &(Arc<Choice>, Attempt)| other.id == choice.id && *became == outcome;
        if self.0.iter().any(known) {
            return false;
        }
        self.0.push((Arc::clone(choice), outcome));
        true
    }

    /// Who, and what became of it, in the order in which it happened.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Choice, Attempt)> {
        self.0.iter().map(|(choice, outcome)| (&**choice, *outcome))
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (choice, outcome)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{}={}", choice.address, outcome.word())?;
        }
        Ok(())
    }
}
