//! `nodedns status`: asks the nodedns that runs, and prints what it says.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use daemon::exit::Failure;

use crate::cli::Form;
use crate::control_socket::client::{self, CallError};
use crate::control_socket::protocol::{Reply, Request};
use crate::status::text;

/// Asks, and prints.
///
/// # Errors
/// It does not run.
pub(crate) fn run(run_dir: &Path, form: Form, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let Reply::Status(status) = client::ask(run_dir, &Request::Status {})? else {
        return Err(Failure::failed(CallError::Unexpected));
    };
    let text = match form {
        Form::Text => text::status(&status),
        Form::Json => serde_json::to_string_pretty(&status).map_err(Failure::failed)? + "\n",
    };
    out.write_all(text.as_bytes()).map_err(Failure::failed)?;
    Ok(ExitCode::SUCCESS)
}
