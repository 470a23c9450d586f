//! `nodedns check`: is the configuration right, and does everybody answer?

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use daemon::exit;
use tokio::time::Instant;

use crate::cache::key::Key;
use crate::config::{Config, Forward, Mode, Zone};
use crate::upstream::Upstream;
use crate::upstream::failure::Failure;
use crate::upstream::pool::{Network, Server};
use crate::wire::rtype;

/// Asks each server of each zone once, and says how it went, a line each.
///
/// # Errors
/// A zone has no server that answers: exit code 1, everything said already.
pub(crate) async fn run(
    config: &Config,
    network: &Arc<Network>,
    out: &mut impl Write,
) -> Result<ExitCode, exit::Failure> {
    let mut dead = 0;
    for zone in &config.zones {
        let mut answering = 0;
        for server in &zone.servers {
            let outcome = ask(zone, server, network).await;
            answering += usize::from(outcome.is_ok());
            let line = match outcome {
                Ok(line) | Err(line) => line,
            };
            say(out, format_args!("{line}"))?;
        }
        for server in &zone.unasked {
            say(
                out,
                format_args!(
                    "zone {}: {server} is never asked: it is plaintext beside tls:// servers; `mixed: true` allows it",
                    zone.name
                ),
            )?;
        }
        if answering == 0 {
            dead += 1;
            say(
                out,
                format_args!("zone {}: NO server answers; its names will fail", zone.name),
            )?;
        }
    }
    if !config.zones.iter().any(Zone::is_root) {
        say(
            out,
            format_args!("there is no zone `.`: names in no zone are refused"),
        )?;
    }
    if config.validation.mode == Mode::Log {
        say(
            out,
            format_args!("validation is `log`: forged answers are noticed, and passed on"),
        )?;
    }
    if dead > 0 {
        return Err(exit::Failure::reported(1));
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks one server for the zone's SOA. Any answer will do.
async fn ask(zone: &Zone, forward: &Forward, network: &Arc<Network>) -> Result<String, String> {
    let upstream = Upstream::new(
        zone.name.clone(),
        vec![Arc::new(Server::new(forward.clone(), network))],
        zone.recursion,
        Arc::clone(network),
    );
    let key = Key::new(zone.name.as_wire(), rtype::SOA, false, false);
    let began = Instant::now();
    match upstream.ask(&key, began + PATIENCE).await {
        Ok(response) => Ok(format!(
            "zone {}: {forward} answers ({} in {:.1} ms)",
            zone.name,
            response.rcode(),
            began.elapsed().as_secs_f64() * 1_000.0
        )),
        Err(Failure::NoAnswer { zone }) => Err(format!(
            "zone {zone}: {forward} does not answer within {PATIENCE:?}"
        )),
        Err(failure) => Err(failure.to_string()),
    }
}

fn say(out: &mut impl Write, line: std::fmt::Arguments<'_>) -> Result<(), exit::Failure> {
    match writeln!(out, "{line}") {
        // `nodedns check | head` is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(exit::Failure::failed(error))
        }
        _ => Ok(()),
    }
}

const PATIENCE: Duration = Duration::from_secs(2);
