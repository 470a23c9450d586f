//! How far the encryption of Secrets at rest is: the keyring, each host's file and, while a
//! rotation is under way, what each API server says that it has loaded.

use std::collections::BTreeMap;
use std::net::IpAddr;

use futures_util::future::join_all;

use crate::client::Server;
use crate::encryption::configuration::{self, FILE};
use crate::encryption::{Encryption, Host, Keyring, Step};
use crate::hosts::Hosts;
use crate::secret::Secret;
use crate::wish::Wish;

/// Reads it; nothing is asked where nobody wants files put on hosts.
pub(crate) async fn read(server: &Server, wish: &Wish) -> Encryption {
    let Some(hosts) = &wish.hosts else {
        return Encryption::None;
    };
    let keyring = match wish.store.keyring().await {
        Ok(Some(keyring)) => keyring,
        Ok(None) => return Encryption::None,
        Err(error) => {
            let why = error.to_string();
            return Encryption::Unknown { why };
        }
    };
    let wanted = configuration::render(&keyring);
    let restarts = hosts.can_run() && wish.cluster.options.restart_command.is_some();
    let each = wish.cluster.control_plane().map(|node| {
        let (keyring, wanted) = (&keyring, &wanted);
        async move {
            let host = file(hosts, keyring, wanted, node.address).await;
            let host = match host {
                Ok(written) if keyring.step != Step::Settled => {
                    api_server(server, wanted, restarts, node.address, written).await
                }
                Ok(_) => Host::Delivered { waits: None },
                Err(host) => host,
            };
            (node.address, host)
        }
    });
    let hosts: BTreeMap<IpAddr, Host> = join_all(each).await.into_iter().collect();
    Encryption::Known {
        step: keyring.step,
        key: keyring.newest().name.clone(),
        hosts,
    }
}

/// When the right file was written onto a host; else how far the host is.
async fn file(
    hosts: &Hosts,
    keyring: &Keyring,
    wanted: &Secret,
    address: IpAddr,
) -> Result<i64, Host> {
    let found = match hosts.check() {
        Ok(()) => hosts.read(address, FILE).await,
        Err(error) => Err(error),
    };
    let found = match found {
        Ok(Some(found)) => found,
        Ok(None) => return Err(Host::Missing),
        Err(error) => {
            let why = error.to_string();
            return Err(Host::Refused { why });
        }
    };
    if let Some(why) = configuration::foreign(&found.text, keyring) {
        let why = format!(
            "its {FILE} {why}; Secrets that it encrypted could not be read any more if it were \
             replaced, so move it away only if there are none"
        );
        return Err(Host::Refused { why });
    }
    if !found.is_private || found.text.expose() != wanted.expose() {
        return Err(Host::Stale);
    }
    Ok(found.modified)
}

/// Whether an API server has loaded the file that was written onto its host at that time.
async fn api_server(
    server: &Server,
    wanted: &Secret,
    restarts: bool,
    address: IpAddr,
    written: i64,
) -> Host {
    let loaded = match server.loaded_encryption(address).await {
        Ok(loaded) => loaded,
        Err(error) => {
            let waits = Some(error.to_string());
            return Host::Delivered { waits };
        }
    };
    let began_after = loaded.began_after(written);
    let waits = match loaded.hash {
        Some(hash) if hash == configuration::hash(wanted) => return Host::Loaded,
        _ if restarts && !began_after => return Host::Unrestarted,
        Some(_) => format!(
            "its API server has not loaded {FILE} yet; it does within a minute with \
             --encryption-provider-config-automatic-reload, and must be restarted without"
        ),
        // It reads the file when it begins: whoever says how it is restarted says so, too.
        None if restarts => return Host::Loaded,
        None => {
            let why = format!(
                "its API server does not say which encryption configuration it has (1.34 or later \
                 does); restart it with --encryption-provider-config={FILE}, and once all are \
                 restarted run `control encryption-key loaded`; with --hosts ssh and \
                 options.encryption.restart_command control does both"
            );
            return Host::Silent { why };
        }
    };
    Host::Delivered { waits: Some(waits) }
}
