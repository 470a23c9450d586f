//! What can be denied, and why nothing is.

use crate::validate::verdict::FaultKind;

/// A proof that there is no such record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Denial {
    pub(super) what: What,
    /// The zone leaves out of its proofs what it delegates without DS: there may
    /// be such a delegation (RFC 5155 §6), and the denial is not secure (§9.2).
    pub(super) opt_out: bool,
}

/// What is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// The type: the name exists.
    Type {
        /// The name is delegated, as its parent says.
        delegation: bool,
    },
    /// The type: a wildcard stands for the name, and has others only.
    Wildcard,
    /// The name, with everything below it.
    Name,
}

/// Why nothing is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    /// A record is missing.
    Fault(FaultKind),
    /// The zone hashes too often to be worth the work (RFC 9276 §3.2).
    Iterations,
}
