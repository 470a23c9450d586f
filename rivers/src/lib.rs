//! rivers: a TCP load-balancer on each node, in front of the API servers and of etcd.
//!
//! # The story of a connection
//!
//! 1. A [`worker`] accepts it, and its loop drives it from then on, on the worker's thread.
//! 2. [`connection`] puts the upstreams of the snapshot that the [`director`] last published in an order
//!    ([`decide::choose`]), and `connection/dialling` carries out a [`decide::dial_plan`] with sockets: the
//!    first to connect wins.
//! 3. Until that upstream has sent a byte, what the client has sent is kept (`connection/hello` says whether
//!    it may be): should the upstream go away, the dial goes on.
//! 4. `connection/copy` moves both directions through the worker's buffer, until [`close`] has a name for
//!    what happened.
//! 5. [`access_log`] writes its line, and [`metrics`] counts it.
//!
//! What it learned on the way, that an upstream refused it, goes to the director as an event; so do
//! the results of [`probe`]s. The director asks [`decide`] and publishes the next snapshot. Facts go up by
//! channel, decisions come down by snapshot, and nothing else passes between threads.
//!
//! [`app`] builds these parts from a [`config`], which [`cli`] has read; [`in_force`] makes them do as it
//! says, at the start and whenever its file has changed: [`listeners`] are opened and closed, and
//! [`discover`] watches the cluster for further upstreams. [`check`] only tries the upstreams. What happened lately is
//! kept by [`recent`], and [`status`] tells people of it. Where an upstream has a name, [`names`] looks it up for
//! the director, so that no connection ever waits for a name server. [`notify`] tells a service manager how we
//! are, and [`successor`] starts another version of the program in our place. [`kube_client`] lends the same way of
//! dialling to programs that talk to the API servers.

#![cfg_attr(
    not(test),
    expect(
        rustdoc::private_intra_doc_links,
        reason = "the tour is for those who read the source"
    )
)]

mod access_log;
mod app;
mod check;
mod cli;
mod close;
pub mod config;
mod connection;
mod connections;
pub mod decide;
pub mod dial;
mod director;
pub mod discover;
#[doc(hidden)]
pub mod fuzzing;
mod handover;
mod in_force;
pub mod kube_client;
mod listen;
mod listeners;
mod metrics;
mod names;
mod notify;
mod probe;
mod published;
mod recent;
mod status;
mod succession;
mod successor;
mod tried;
mod vanished;
mod worker;

use std::{ffi::OsString, process::ExitCode};

use daemon::exit::Failure;

use self::cli::Command;

/// Runs the program with this command line, whose first element is its name.
///
/// # Errors
/// What the command line or the file says is wrong (exit code 2), or it cannot be done (1).
pub fn run(args: impl IntoIterator<Item = OsString>) -> Result<ExitCode, Failure> {
    match Command::parse(args) {
        Err(end) => end,
        Ok(Command::Run(config, source)) => app::run(config, source.as_deref()),
        Ok(Command::Check(config)) => check::run(&config),
        Ok(Command::Status { admin, form }) => status::status(admin, form),
        Ok(Command::Explain {
            client,
            admin,
            form,
        }) => status::explain(client, admin, form),
        Ok(Command::Completions(shell)) => {
            cli::print_completions(shell);
            Ok(ExitCode::SUCCESS)
        }
    }
}
