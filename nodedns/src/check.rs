//! `nodedns check`: is the configuration right, and does everybody answer?

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use daemon::exit;
use tokio::time::Instant;

use crate::cache::key::Key;
use crate::config::{Config, Forward, Mode, Name, Zone};
use crate::upstream::Upstream;
use crate::upstream::failure::Failure;
use crate::upstream::pool::{Network, Server};
use crate::wire::order::is_within;
use crate::wire::record::Section;
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
            let outcome = try_out(config, zone, server, network).await;
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

/// Tries one server of a zone; the line says how that went.
async fn try_out(
    config: &Config,
    zone: &Zone,
    forward: &Forward,
    network: &Arc<Network>,
) -> Result<String, String> {
    let upstream = Upstream::new(
        zone.name.clone(),
        vec![Arc::new(Server::new(forward.clone(), network))],
        zone.recursion,
        Arc::clone(network),
    );
    let line = ask(zone, forward, &upstream).await?;
    let mut anchors = config.validation.anchors.iter().map(|anchor| &anchor.zone);
    let anchor = anchors.find(|name| is_within(name.as_wire(), zone.name.as_wire()));
    match anchor {
        Some(anchor) if zone.validate && !gives_signed_keys(&upstream, anchor).await => {
            Err(format!(
                "zone {}: {forward} gives no signed DNSKEY for {anchor}; what is signed will fail unless it passes DNSSEC records on, or the zone says `validate: false`",
                zone.name
            ))
        }
        _ => Ok(line),
    }
}

/// Asks for the zone's SOA. Any answer will do.
async fn ask(zone: &Zone, forward: &Forward, upstream: &Upstream) -> Result<String, String> {
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

/// Whether the keys of the zone `anchor` come with their signatures, as whoever
/// validates needs them.
async fn gives_signed_keys(upstream: &Upstream, anchor: &Name) -> bool {
    let key = Key::new(anchor.as_wire(), rtype::DNSKEY, true, true);
    let answer = upstream.ask(&key, Instant::now() + PATIENCE).await;
    answer.is_ok_and(|response| {
        let mut answers = response.layout().section(Section::Answer);
        answers.any(|record| record.rtype == rtype::RRSIG)
    })
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
