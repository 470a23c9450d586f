//! Why an operation is in the plan, or is not, in words for people and for JSON.

use std::fmt;

use crate::pki::inspect::Defect;

/// Why an object is written, or left as it is.
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
    /// Its image has changed, as its annotation `cke.cybozu.com/image` tells.
    Image {
        /// The image that the cluster has.
        from: String,
        /// The one it gets.
        to: String,
    },
    /// Somebody else changed what we had written, or it never was as we want it.
    Drift {
        /// The fields that differ.
        fields: Vec<String>,
        /// The field managers that have them now; empty where nobody is known.
        by: Vec<String>,
    },
    /// Its certificate is to be replaced.
    Certificate {
        /// What is wrong with it.
        defect: Defect,
    },
    /// The encryption of Secrets at rest goes on.
    Encryption {
        /// What happens; None when it only is not as wanted.
        step: Option<&'static str>,
        /// The name of the key that it is about.
        key: String,
    },
    /// It is wanted no longer: a Node that left cluster.yml, a resource that left its
    /// directory.
    Unregistered,
    /// A Deployment waits until more than half of the nodes are ready.
    Held {
        /// How many Nodes are ready.
        ready: usize,
        /// How many must be.
        needed: usize,
        /// How many cluster.yml has.
        nodes: usize,
    },
    /// Others have not followed yet.
    Waiting {
        /// Who, and how to mend it.
        why: String,
    },
    /// Fields that somebody else applied, or scales, are left to them.
    Conflict {
        /// The fields that differ.
        fields: Vec<String>,
        /// Whose they are now.
        by: Vec<String>,
    },
    /// It cannot be written, or must not be.
    Blocked {
        /// Why, and how to mend it.
        why: String,
    },
}

impl Reason {
    /// The word that stands for this reason, the same in every version.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Revision { .. } => "revision",
            Self::Image { .. } => "image",
            Self::Drift { .. } => "drift",
            Self::Certificate { .. } => "certificate",
            Self::Encryption { .. } => "encryption",
            Self::Unregistered => "unregistered",
            Self::Held { .. } => "held",
            Self::Waiting { .. } => "waiting",
            Self::Conflict { .. } => "conflict",
            Self::Blocked { .. } => "blocked",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Missing | Self::Unregistered => Ok(()),
            Self::Revision { from, to } => write!(f, ": {from} to {to}"),
            Self::Image { from, to } => write!(f, ": {from} to {to}"),
            Self::Drift { fields, by } => {
                few(f, fields)?;
                if !by.is_empty() {
                    write!(f, " (changed by {})", by.join(", "))?;
                }
                Ok(())
            }
            Self::Certificate { defect } => write!(f, ": {defect}"),
            Self::Encryption { step, key } => {
                write!(f, ": {} ({key})", step.unwrap_or("not as wanted"))
            }
            Self::Held {
                ready,
                needed,
                nodes,
            } => write!(f, ": {ready} of {nodes} Nodes are ready, {needed} must be"),
            Self::Conflict { fields, by } => {
                few(f, fields)?;
                write!(f, " (now kept by {})", by.join(", "))
            }
            Self::Waiting { why } | Self::Blocked { why } => write!(f, ": {why}"),
        }
    }
}

fn few(f: &mut fmt::Formatter<'_>, fields: &[String]) -> fmt::Result {
    let shown = fields.len().min(FIELDS_SHOWN);
    write!(f, ": {}", fields[..shown].join(", "))?;
    if fields.len() > shown {
        write!(f, " and {} more", fields.len() - shown)?;
    }
    Ok(())
}

/// As many as fit a line.
const FIELDS_SHOWN: usize = 3;
