//! `nodedns check`: is the configuration right, and does everybody answer?

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use daemon::exit;
use tokio::time::Instant;

use crate::cache::key::Key;
use crate::config::{Config, Forward, Mode, Name, Servers, Source, Zone};
use crate::errand::Errand;
use crate::recurse::Recursor;
use crate::upstream::failure::Failure;
use crate::upstream::pool::{Network, Server};
use crate::upstream::{Answer, Role, Upstream};
use crate::wire::order::is_within;
use crate::wire::record::Section;
use crate::wire::response::Response;
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
        let outcomes = match &zone.source {
            Source::Servers(servers) => {
                let mut outcomes = Vec::new();
                for server in &servers.asked {
                    outcomes.push(try_out(config, zone, server, servers, network).await);
                }
                outcomes
            }
            Source::Recursion => vec![try_recursion(config, zone, network).await],
        };
        let answering = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        for Ok(line) | Err(line) in outcomes {
            say(out, format_args!("{line}"))?;
        }
        for server in zone.unasked() {
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
    servers: &Servers,
    network: &Arc<Network>,
) -> Result<String, String> {
    let upstream = Upstream::new(
        zone.name.clone(),
        vec![Arc::new(Server::new(forward.clone(), network))],
        Role::of(servers),
        Arc::clone(network),
    );
    let line = ask(zone, forward, &upstream).await?;
    match anchor_of(config, zone) {
        Some(anchor) if zone.validate && !gives_signed_keys(&upstream, anchor).await => {
            Err(format!(
                "zone {}: {forward} gives no signed DNSKEY for {anchor}; what is signed will fail unless it passes DNSSEC records on, or the zone says `validate: false`",
                zone.name
            ))
        }
        _ => Ok(line),
    }
}

/// Goes down from the root to the zone; the line says how that went.
async fn try_recursion(
    config: &Config,
    zone: &Zone,
    network: &Arc<Network>,
) -> Result<String, String> {
    let recursor = Recursor::new(&config.recursion, network);
    let began = Instant::now();
    let ask = async |name: &Name, rtype| {
        let key = Key::new(name.as_wire(), rtype, true, true);
        let mut errand = Errand::new(None);
        let found = recursor.ask(&key, began + PATIENCE, None, &mut errand);
        found.await.map_err(|failure| failure.to_string())
    };
    let found = ask(&zone.name, rtype::SOA).await.map_err(|failure| {
        format!(
            "zone {}: cannot be resolved from the root down: {failure}",
            zone.name
        )
    })?;
    let line = format!(
        "zone {}: is resolved from the root down ({} from {} in {:.1} ms)",
        zone.name,
        found.response.rcode(),
        found.server,
        began.elapsed().as_secs_f64() * 1_000.0
    );
    match anchor_of(config, zone) {
        Some(anchor) if zone.validate => match ask(anchor, rtype::DNSKEY).await {
            Ok(found) if has_signatures(&found.response) => Ok(line),
            Ok(_) => Err(format!(
                "zone {}: the servers of {anchor} give no signed DNSKEY; is the trust anchor that of another root?",
                zone.name
            )),
            Err(failure) => Err(format!(
                "zone {}: no DNSKEY of {anchor}: {failure}",
                zone.name
            )),
        },
        _ => Ok(line),
    }
}

/// The first trust anchor in the zone.
fn anchor_of<'a>(config: &'a Config, zone: &Zone) -> Option<&'a Name> {
    let mut anchors = config.validation.anchors.iter().map(|anchor| &anchor.zone);
    anchors.find(|name| is_within(name.as_wire(), zone.name.as_wire()))
}

/// Asks for the zone's SOA. Any answer will do.
async fn ask(zone: &Zone, forward: &Forward, upstream: &Upstream) -> Result<String, String> {
    let key = Key::new(zone.name.as_wire(), rtype::SOA, false, false);
    let began = Instant::now();
    let errand = Errand::new(None);
    match upstream.ask(&key, began + PATIENCE, None, &errand).await {
        Ok(Answer { response, .. }) => Ok(format!(
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
    let errand = Errand::new(None);
    let answer = upstream.ask(&key, Instant::now() + PATIENCE, None, &errand);
    answer
        .await
        .is_ok_and(|answer| has_signatures(&answer.response))
}

fn has_signatures(response: &Response) -> bool {
    let mut answers = response.layout().section(Section::Answer);
    answers.any(|record| record.rtype == rtype::RRSIG)
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
