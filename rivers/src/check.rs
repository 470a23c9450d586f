//! `rivers check`: whether the configuration is valid (it is, or we would not be here) and every upstream
//! can be dialled from this host, now, shows a good certificate and is ready; where there is discovery,
//! whether the cluster tells of further ones.

use std::{io::Write as _, process::ExitCode};

use anyhow::Context as _;
use daemon::exit::Failure;
use tokio::{runtime::Builder, task::JoinSet};

use crate::{
    config::{Config, address::Address},
    discover,
    probe::{self, Bundles},
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

/// A line for each upstream, in the order of the configuration, and whether clients could be served there;
/// after those of a listener one for its discovery.
async fn dial_all(config: &Config) -> Vec<(String, bool)> {
    let mut bundles = Bundles::default();
    let mut looks = JoinSet::new();
    for listener in &config.listeners {
        let ca_file = listener.health.ca_file.as_deref();
        let authorities = ca_file.map(|path| bundles.of(path).borrow().clone());
        for upstream in listener.upstreams.clone() {
            let (place, listener) = (looks.len(), listener.clone());
            let authorities = authorities.clone();
            looks.spawn(async move {
                let looked = probe::look(&listener, &upstream, authorities).await;
                let (words, ok) = match looked {
                    Ok(words) => (words, true),
                    Err(reason) => (format!("FAILED: {reason}"), false),
                };
                (place, format!("{} {upstream} {words}", listener.name), ok)
            });
        }
        if let Some(discovery) = listener.discovery.clone() {
            let (place, name) = (looks.len(), listener.name.clone());
            let servers = listener.upstreams.clone();
            looks.spawn(async move {
                let (result, ok) = match discover::ask(&discovery, servers).await {
                    Ok(found) => (format!("names {}", list(&found)), !found.is_empty()),
                    Err(error) => (format!("FAILED: {error}"), false),
                };
                (place, format!("{name} discovery {result}"), ok)
            });
        }
    }
    let mut lines = looks.join_all().await;
    lines.sort_by_key(|&(place, ..)| place);
    lines.into_iter().map(|(_, line, ok)| (line, ok)).collect()
}

fn list(found: &[Address]) -> String {
    if found.is_empty() {
        return "nobody".to_owned();
    }
    let names: Vec<String> = found.iter().map(ToString::to_string).collect();
    names.join(", ")
}
