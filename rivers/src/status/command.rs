//! `rivers status` and `rivers explain`: ask the rivers that runs, and print what it says.

use std::{io::Write as _, net::SocketAddr, process::ExitCode};

use anyhow::Context as _;
use clap::ValueEnum;
use daemon::exit::Failure;
use serde::de::DeserializeOwned;
use tokio::runtime::Builder;

use super::{Explanation, Status, fetch::fetch, text};

/// How it is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// Prints the status of the rivers whose admin endpoint is there.
///
/// # Errors
/// Nobody answers there: exit code 1.
pub(crate) fn status(admin: SocketAddr, form: Form) -> Result<ExitCode, Failure> {
    print(admin, "/status.json", form, |status: &Status| {
        text::status(status)
    })
}

/// Prints why the connections of this client are where they are.
///
/// # Errors
/// Nobody answers there, or it knows no such client: exit code 1.
pub(crate) fn explain(
    client: SocketAddr,
    admin: SocketAddr,
    form: Form,
) -> Result<ExitCode, Failure> {
    let path = format!("/explain?client={client}");
    print(admin, &path, form, |explanation: &Explanation| {
        text::explanation(explanation)
    })
}

fn print<T: DeserializeOwned>(
    admin: SocketAddr,
    path: &str,
    form: Form,
    words: impl Fn(&T) -> String,
) -> Result<ExitCode, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .context("cannot start the runtime")
        .map_err(Failure::failed)?;
    let json = runtime
        .block_on(fetch(admin, path))
        .map_err(Failure::failed)?;
    // Read in either case: what is not ours is not printed as if it were.
    let value: T = serde_json::from_str(&json)
        .with_context(|| {
            format!("what answers at {admin} is not this version of rivers; use the program that runs there")
        })
        .map_err(Failure::failed)?;
    let output = match form {
        Form::Text => words(&value),
        Form::Json => json,
    };
    // A closed pipe is the reader's choice.
    let _ = std::io::stdout().lock().write_all(output.as_bytes());
    Ok(ExitCode::SUCCESS)
}
