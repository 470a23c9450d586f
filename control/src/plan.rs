//! What to do: a pure function of what ought to be and what is.
//!
//! [`plan`] turns [`Desired`] and [`Observed`] into operations in CKE's order,
//! each with its reason and the fields that differ. `control plan` prints them;
//! `apply` carries them out. An empty plan means that the cluster is as wanted.

use crate::desired::{Desired, Note};
use crate::observed::Observed;

pub use diff::{Change, FieldPath, Step};
pub use node::NodePatch;
pub use operation::{Action, Operation};
pub use reason::Reason;

mod diff;
mod node;
mod object;
mod operation;
mod owner;
mod rank;
mod reason;

pub(crate) use node::patch as node_patch;

/// What to do, in order, and what to know.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Steps, the first to be done first.
    pub operations: Vec<Operation>,
    /// What holds wishes back.
    pub notes: Vec<Note>,
}

/// Compares what ought to be with what is.
#[must_use]
pub fn plan(desired: Desired, observed: &Observed) -> Plan {
    let objects = desired.objects.into_iter().filter_map(|wanted| {
        let live = observed.objects.get(&wanted.key);
        object::operation(wanted, live)
    });
    let nodes = desired.nodes.into_iter().filter_map(|wanted| {
        let live = observed.nodes.get(&wanted.name)?;
        node::operation(wanted, live)
    });
    let mut operations: Vec<Operation> = objects.chain(nodes).collect();
    rank::sort(&mut operations);
    Plan {
        operations,
        notes: desired.notes,
    }
}

#[cfg(test)]
mod tests;
