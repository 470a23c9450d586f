//! The node-local caching DNS resolver of a Kubernetes node.
//!
//! # The story of a query
//!
//! A pod's stub resolver sends a packet to port 53 of its node. [`serve`] reads
//! it, from a socket of its own per worker ([`listen`]), and hands it to
//! [`answer`], which decides without waiting: [`wire`] reads the question where it
//! lies, special names are answered on the spot, and the [`cache`] is asked.
//!
//! A **hit** is copied into the outgoing buffer and patched there: ID, flags, the
//! case of the question, TTLs; then it is sent from the very address that was
//! asked ([`sys`]). No allocation, no await.
//!
//! A **miss** becomes a task. [`resolve`] takes care that a question is on its way
//! once only, finds the zone with the longest matching name, and has [`upstream`]
//! ask that zone's servers: over UDP from a fresh port or over kept TCP
//! connections, the fastest server first, the next one beside it when it is late.
//! What comes back is believed only if it fits what was sent to the last bit. A
//! CNAME into another zone is followed there; where a zone has no servers,
//! [`recurse`] goes from the root's servers down. [`validate`] is the gate through
//! which every response goes into the cache: is it what the zone's owner signed,
//! from one of the [`anchors`] down? What it needs to know for that is asked as
//! well. All who asked get the answer; so does the cache. What failed
//! is an answer too: SERVFAIL with the reason (RFC 8914), kept for a second.
//!
//! [`app`] builds all of it, [`config`] says from what, [`in_force`] does what it says
//! when it is another, [`workers`] are the threads, [`metrics`] counts, and
//! [`check`] tries a configuration out, [`query`] one name, of which [`explain`] keeps
//! the record. [`seen`] knows who asks most and what fails, [`status`] shows it, and
//! [`query_log`] tells of single questions. [`trust`] follows the keys of the trust
//! anchors while all that goes on, and does what people say over the
//! [`control_socket`].
//!
//! Modules stand in the order of the flow; each imports only those after it.

#![cfg_attr(
    not(test),
    expect(
        rustdoc::private_intra_doc_links,
        reason = "the tour is for those who read the source"
    )
)]

mod app;
mod cache_command;
mod check;
mod cli;
mod health;
mod import_unbound;
mod negative_anchor;
mod query;
mod status_command;

mod in_force;

mod control_socket;
mod status;
mod trust;

mod workers;

mod serve;

mod answer;
mod query_log;
mod resolve;
mod seen;

mod recurse;
mod upstream;

mod coalesce;
mod errand;
mod explain;

mod cache;

mod anchors;
mod validate;

mod client;
mod instance;
mod listen;
mod metrics;
mod sketch;
mod sys;
mod wire;

pub mod config;
#[cfg(any(test, feature = "fuzzing", feature = "measured"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "measured")]
#[doc(hidden)]
pub mod measured;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::CommandFactory as _;
use daemon::exit::Failure;

use crate::cli::{Cli, Command};
use crate::config::Config;

/// The whole program: a command line in, an exit code or a failure out.
///
/// # Errors
/// See [`Failure`]: 2 when the command line or the configuration is wrong, 1 when
/// an address is taken or a server does not answer.
pub fn run(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<ExitCode, Failure> {
    let cli: Cli = match daemon::exit::parse(args) {
        Ok(cli) => cli,
        Err(early) => return early,
    };
    if let Some(Command::Completions { shell }) = cli.command {
        clap_complete::generate(shell, &mut Cli::command(), "nodedns", &mut io::stdout());
        return Ok(ExitCode::SUCCESS);
    }
    if matches!(cli.command, Some(Command::Health)) {
        return health::run(&cli.folders.run_dir, &mut io::stdout().lock());
    }
    if let Some(Command::Status { output }) = &cli.command {
        let out = &mut io::stdout().lock();
        return status_command::run(&cli.folders.run_dir, output.form, out);
    }
    if let Some(Command::ImportUnbound { file }) = &cli.command {
        return import_unbound::run(file, &mut io::stdout().lock());
    }
    if let Some(Command::Cache { what, output }) = &cli.command {
        let out = &mut io::stdout().lock();
        return cache_command::run(&cli.folders.run_dir, what, output.form, out);
    }
    if let Some(Command::NegativeAnchor { what, output }) = &cli.command {
        return negative_anchor::run(
            &cli.folders.run_dir,
            what,
            output.form,
            &mut io::stdout().lock(),
        );
    }
    let (config, digest) = Config::load_with_digest(&cli.config.path)?;
    if matches!(cli.command, Some(Command::Check)) {
        return app::check(&config);
    }
    if let Some(Command::Query {
        name,
        rtype,
        trace,
        output,
    }) = cli.command
    {
        let question = query::Question { name, rtype };
        let shown = query::Shown {
            form: output,
            trace,
        };
        return app::query(&config, &cli.folders, &question, shown);
    }
    daemon::logging::init(&cli.log.options()).map_err(Failure::usage)?;
    app::run((config, digest), cli.config.path, &cli.folders)
}
