//! `control status`: who keeps the cluster, how it is, what was done last.

use std::process::ExitCode;

use daemon::exit::Failure;

use super::{block_on, connect, open_ssh, read_wish};
use crate::cli::{self, Flags, Format, OnHosts};
use crate::output::{self, json, text};
use crate::status::{self, Status};

pub(super) fn run(flags: &Flags, options: &cli::Status) -> Result<ExitCode, Failure> {
    let status = block_on(read(flags, options)).map_err(|failure| failure.or_code(FAILED))?;
    let said = match flags.output {
        Format::Text => text::status(&status),
        Format::Json => json::status(&status),
    };
    output::print(&said).map_err(|error| Failure::with_code(FAILED, error))?;
    Ok(if status.is_well() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

async fn read(flags: &Flags, options: &cli::Status) -> Result<Status, Failure> {
    let wish = read_wish(flags, &cli::Limits::default())?;
    let server = connect(flags, &wish.cluster).await?;
    let ssh = match flags.hosts {
        // All that can be told without is told.
        Some(OnHosts::Ssh) => {
            let opened = open_ssh(flags, &wish.store).await;
            Some(opened.map_err(|failure| failure.to_string()))
        }
        Some(OnHosts::Below(_)) | None => None,
    };
    status::read(&server, &wish, ssh.as_ref(), options.records)
        .await
        .map_err(Failure::failed)
}

/// There is no answer.
const FAILED: u8 = 3;
