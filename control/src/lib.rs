//! `control` makes a cluster as its cluster.yml says.
//!
//! One `control sync`, from the top:
//!
//! 1. `command` reads cluster.yml: `cluster/file` says what it may hold,
//!    [`cluster::Cluster`] is what can only be right; and the operator's own
//!    [`resources`];
//! 2. `observe` reads the cluster once, through `client`, into
//!    [`observed::Observed`], plain data;
//! 3. [`desired::desired`] says which objects ought to be, [`plan::plan`] which
//!    operations lead there and why: two pure functions, where the tests live;
//! 4. `apply` carries the operations out, one by one; a failure stops only what
//!    depends on it;
//! 5. `output` says what happened, for people or as JSON.
//!
//! `control run` (`keeper`) walks that line again and again while it holds the `lease` (`holder`);
//! `record` writes down what is done, before and after.
//!
//! Secrets come from the `store`; how certificates and keys are replaced while all goes on,
//! [`pki`] and [`encryption`] decide, pure too.
//!
//! `deploy` brings rivers to the nodes, over `ssh`: `rollout` says who is next; `proxy` brings
//! kube-proxy's file.
//!
//! `control plan` is the same line and ends after the third step. `control demo` is
//! a line of its own, in `demo`.

use std::ffi::OsString;
use std::process::ExitCode;

use daemon::exit::Failure;

pub mod cluster;
pub mod desired;
pub mod encryption;
pub mod inventory;
pub mod kind;
pub mod object;
pub mod observed;
pub mod pki;
pub mod plan;
pub mod resources;
pub mod secret;

mod apply;
mod cli;
mod client;
mod command;
mod demo;
mod deploy;
mod etcd;
mod event;
mod holder;
mod hosts;
mod installed;
mod json;
mod keeper;
mod lease;
mod metrics;
mod observe;
mod output;
mod proxy;
mod record;
mod rollout;
mod ssh;
mod status;
mod store;
mod sync;
mod wish;
mod yaml;

/// Runs the program with its command line, the program's name first.
///
/// # Errors
/// A flag or a file is wrong (exit code 2), or the command failed.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Result<ExitCode, Failure> {
    match daemon::exit::parse::<cli::Cli>(args) {
        Ok(cli) => command::run(cli),
        Err(ended) => ended,
    }
}

/// The name under which the API server keeps what we write: CKE's, so that a
/// cluster can go from one to the other without a conflict.
const FIELD_MANAGER: &str = "cke";
