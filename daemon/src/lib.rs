//! What every long-running program here shares, so that logging, signals,
//! errors and the admin endpoint behave alike everywhere.
//!
//! The life of a program, in the order in which it meets these modules:
//!
//! 1. [`exit`] parses the command line, and at the end turns an error into one
//!    sentence and an exit code;
//! 2. [`config_file`] and [`duration`] turn a YAML file into typed values, and
//!    a mistake in it into `path:line:column: what is wrong`;
//! 3. [`logging`] and [`metrics`] are installed, once, by the composition root,
//!    which also lets the program open as many files as it may ([`descriptors`]);
//! 4. [`admin`] serves `/metrics`, `/healthz` and `/readyz` from a thread of its
//!    own, out of what [`readiness`] knows;
//! 5. [`reload`] tells when the configuration is to be read again;
//! 6. [`state_file`] keeps what the next start should know;
//! 7. [`shutdown`] drains at the first signal and forces at the second.
//!
//! It imports none of the programs and knows nothing of what they do.

pub mod admin;
pub mod config_file;
pub mod descriptors;
pub mod duration;
pub mod exit;
pub mod logging;
pub mod metrics;
pub mod readiness;
pub mod reload;
pub mod shutdown;
pub mod state_file;
