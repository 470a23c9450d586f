//! `control completions SHELL`.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;
use daemon::exit::Failure;

use crate::cli::Cli;
use crate::output;

pub(super) fn run(shell: Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "control", &mut script);
    output::print(&String::from_utf8_lossy(&script)).map_err(Failure::failed)?;
    Ok(ExitCode::SUCCESS)
}
