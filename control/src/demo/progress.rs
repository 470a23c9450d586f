//! What the demo is doing right now: one line that changes on a terminal, plain lines elsewhere.
//!
//! It goes to standard error, so that standard output holds the report and nothing else.

use std::io::{IsTerminal as _, Write as _};

/// Shows steps until dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    is_terminal: bool,
}

impl Progress {
    /// On standard error.
    pub(crate) fn new() -> Self {
        Self {
            is_terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Shows what is done from now on, in place of the step before.
    pub(crate) fn step(&self, what: &str) {
        // Nobody watches if this fails; the demo goes on.
        let _ = if self.is_terminal {
            write!(std::io::stderr(), "{CLEAR_LINE}{what} …")
        } else {
            writeln!(std::io::stderr(), "{what}")
        };
    }

    /// Takes the line away, before other output.
    pub(crate) fn clear(&self) {
        if self.is_terminal {
            let _ = write!(std::io::stderr(), "{CLEAR_LINE}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Carriage return, and erase to the end of the line (ECMA-48 EL).
const CLEAR_LINE: &str = "\r\x1b[K";
