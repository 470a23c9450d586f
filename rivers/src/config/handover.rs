//! How one process takes over from another. Said by flags only: it belongs to the roll-out, not to the
//! configuration, which both processes may share.

use std::path::PathBuf;

use clap::ValueEnum;

/// How one process takes over from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// Folder of the sockets on which a running process is asked.
    pub run_dir: PathBuf,
    /// Which roll-out this process belongs to.
    pub generation: Generation,
    /// What to do once another process has taken over.
    pub when_replaced: WhenReplaced,
}

impl Default for Handover {
    fn default() -> Self {
        Self {
            run_dir: "/run/rivers".into(),
            generation: Generation::default(),
            when_replaced: WhenReplaced::default(),
        }
    }
}

/// Which roll-out a process belongs to: a number that grows with each change of the pod template or of
/// the unit, a roll-back included. Never a time, since a restart of the old version must not win.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(pub u64);

/// What a process does once another one has taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum WhenReplaced {
    /// End, with exit code 0
    #[default]
    Exit,
    /// Wait for SIGTERM, for a kubelet that would start it again if it ended
    Wait,
}
