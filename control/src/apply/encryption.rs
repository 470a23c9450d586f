//! Carries the encryption of Secrets at rest on: a configuration is delivered, or all Secrets
//! are written anew.

use std::net::IpAddr;

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
