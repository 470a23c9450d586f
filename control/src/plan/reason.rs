//! Why an operation is in the plan, in words for people and for JSON.

use std::fmt;

/// Why an object is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It does not exist.
    Missing,
    /// What we want has changed since we wrote it.
    Revision {
        /// The revision that the cluster has.
        from: u64,
        /// The one it gets.
        to: u64,
    },
    /// Somebody else changed what we had written, or it never was as we want it.
    Drift {
        /// The fields that differ.
        fields: Vec<String>,
        /// The field managers that have them now; empty where nobody is known.
        by: Vec<String>,
    },
}

impl Reason {
    /// The word that stands for this reason, the same in every version.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Revision { .. } => "revision",
            Self::Drift { .. } => "drift",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Missing => Ok(()),
            Self::Revision { from, to } => write!(f, ": {from} to {to}"),
            Self::Drift { fields, by } => {
                let shown = fields.len().min(FIELDS_SHOWN);
                write!(f, ": {}", fields[..shown].join(", "))?;
                if fields.len() > shown {
                    write!(f, " and {} more", fields.len() - shown)?;
                }
                if !by.is_empty() {
                    write!(f, " (changed by {})", by.join(", "))?;
                }
                Ok(())
            }
        }
    }
}

/// As many as fit a line.
const FIELDS_SHOWN: usize = 3;
