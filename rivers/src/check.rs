//! `rivers check`: whether the configuration is valid (it is, or we would not be here) and every upstream
//! can be dialled from this host, now; where there is discovery, whether the cluster tells of further ones.

use std::{
    io::Write as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use daemon::exit::Failure;
use tokio::{runtime::Builder, task::JoinSet, time::timeout};

use crate::{
    config::{Config, address::Address},
    dial, discover,
};

/// Dials every upstream once, all at the same time, and prints a line for each.
///
/// # Errors
/// One of them cannot be reached: exit code 1.
pub(crate) fn run(config: &Config) -> Result<ExitCode, Failure> {
    let lines = Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .map(|runtime| runtime.block_on(dial_all(config)))
        .map_err(Failure::failed)?;
    let mut output = std::io::stdout().lock();
    let mut reached = true;
    for (line, ok) in lines {
        // A closed pipe does not change what the exit code says.
        let _ = writeln!(output, "{line}");
        reached &= ok;
    }
    if reached {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Failure::reported(1))
    }
}

/// A line for each upstream, in the order of the configuration, and whether it was reached; after those of
/// a listener one for its discovery.
async fn dial_all(config: &Config) -> Vec<(String, bool)> {
    let mut dials = JoinSet::new();
    for listener in &config.listeners {
        for upstream in listener.upstreams.clone() {
            let (place, name) = (dials.len(), listener.name.clone());
            let (limit, keepalive) = (listener.dial_timeout, listener.keepalive);
            dials.spawn(async move {
                let (result, ok) = dial(&upstream, keepalive, limit).await;
                (place, format!("{name} {upstream} {result}"), ok)
            });
        }
        if let Some(discovery) = listener.discovery.clone() {
            let (place, name) = (dials.len(), listener.name.clone());
            let servers = listener.upstreams.clone();
            dials.spawn(async move {
                let (result, ok) = match discover::ask(&discovery, servers).await {
                    Ok(found) => (format!("names {}", list(&found)), !found.is_empty()),
                    Err(error) => (format!("FAILED: {error}"), false),
                };
                (place, format!("{name} discovery {result}"), ok)
            });
        }
    }
    let mut lines = dials.join_all().await;
    lines.sort_by_key(|&(place, ..)| place);
    lines.into_iter().map(|(_, line, ok)| (line, ok)).collect()
}

/// What a dial gives, in words, and whether it connected.
async fn dial(upstream: &Address, keepalive: Duration, limit: Duration) -> (String, bool) {
    let started = Instant::now();
    let outcome = timeout(limit, dial::tcp(upstream, keepalive, limit)).await;
    let took = started.elapsed().as_secs_f64() * 1e3;
    match outcome {
        Ok(Ok(_)) => (format!("connected in {took:.1} ms"), true),
        Ok(Err(error)) => (format!("FAILED: {}", dial::reason(&error)), false),
        Err(_) => (format!("FAILED: no answer in {took:.0} ms"), false),
    }
}

fn list(found: &[Address]) -> String {
    if found.is_empty() {
        return "nobody".to_owned();
    }
    let names: Vec<String> = found.iter().map(ToString::to_string).collect();
    names.join(", ")
}
