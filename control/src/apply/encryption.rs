//! Carries the encryption of Secrets at rest on: a configuration is delivered, an API server is
//! restarted to load it, or all Secrets are written anew.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::client::{RequestError, Server};
use crate::encryption::Step;
use crate::encryption::configuration::{self, FILE};
use crate::hosts::Found;
use crate::store::StoreError;
use crate::wish::Wish;

/// Puts the configuration of the step that the store has now onto a host. A file with a key
/// that the store does not have stays.
pub(super) async fn deliver(wish: &Wish, host: IpAddr) -> Result<(), RequestError> {
    let failed = |why: &dyn std::fmt::Display| {
        RequestError::new(&format!("cannot deliver {FILE} to {host}: {why}"))
    };
    let hosts = wish.hosts.as_ref().ok_or_else(|| failed(&"no --hosts"))?;
    // In this order: keys are changed first, so those that are read after the file are at least as
    // new as it is; and if it changes from here on, it is left alone.
    let found = hosts.read(host, FILE).await;
    let found = found.map_err(|error| failed(&error))?;
    let kept = wish.store.keyring().await;
    let keyring = kept
        .map_err(|error| failed(&error))?
        .ok_or_else(|| failed(&"its keys are gone from the store"))?;
    let foreign = |found: &Found| configuration::foreign(&found.text, &keyring);
    if let Some(why) = found.as_ref().and_then(foreign) {
        return Err(failed(&format_args!("the one that is there {why}")));
    }
    let text = configuration::render(&keyring);
    hosts
        .write(host, FILE, &text, found.as_ref())
        .await
        .map_err(|error| failed(&error))
}

/// Restarts the API server of a host, and waits until it is ready; not while another one is away.
pub(super) async fn restart(
    server: &Server,
    wish: &Wish,
    host: IpAddr,
) -> Result<(), RequestError> {
    let failed = |why: &dyn std::fmt::Display| {
        RequestError::new(&format!("cannot restart the API server {host}: {why}"))
    };
    let command = wish.cluster.options.restart_command.as_ref();
    let (Some(hosts), Some(command)) = (&wish.hosts, command) else {
        return Err(failed(&"nobody says how"));
    };
    for node in wish.cluster.control_plane() {
        if node.address != host && !is_ready(server, node.address).await {
            let why = format!("{} is not ready; one at a time is restarted", node.address);
            return Err(failed(&why));
        }
    }
    let found = hosts.read(host, FILE).await;
    let found = found.map_err(|error| failed(&error))?;
    let written = found.map_or(i64::MAX, |found| found.modified);
    let restarted = hosts.restart(host, FILE, command.words()).await;
    restarted.map_err(|error| failed(&error))?;
    let deadline = Instant::now() + RESTARTED_WITHIN;
    loop {
        let loaded = timeout(LOOK, server.loaded_encryption(host)).await;
        let is_new = matches!(loaded, Ok(Ok(loaded)) if loaded.began_after(written));
        if is_new && is_ready(server, host).await {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let why = if is_new {
                "it is not ready"
            } else {
                "the command has ended, and no new process answers"
            };
            let within = daemon::duration::format(RESTARTED_WITHIN);
            return Err(failed(&format_args!("{why} after {within}")));
        }
        sleep(PAUSE).await;
    }
}

async fn is_ready(server: &Server, host: IpAddr) -> bool {
    timeout(LOOK, server.is_ready(host)).await.unwrap_or(false)
}

/// Writes all Secrets anew, and goes on to the step after that.
pub(super) async fn rewrite(server: &Server, wish: &Wish) -> Result<(), RequestError> {
    // A write that was on its way when its API server changed keys may pass behind the first
    // reading of the list, but not behind the second one.
    for _ in 0..2 {
        server.rewrite_secrets().await?;
    }
    let advanced = wish.store.advance_key(Step::Rewriting).await;
    advanced.map_err(|error: StoreError| RequestError::new(&error.to_string()))
}

/// An API server is ready some ten seconds after it began; one with much to read a minute.
const RESTARTED_WITHIN: Duration = Duration::from_secs(180);
/// One that begins may take connections long before it answers.
const LOOK: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(500);
