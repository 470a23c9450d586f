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
    let each = wish.cluster.control_plane().map(|node| {
        let (keyring, wanted) = (&keyring, &wanted);
        async move {
            let host = host(server, hosts, keyring, wanted, node.address).await;
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

async fn host(
    server: &Server,
    hosts: &Hosts,
    keyring: &Keyring,
    wanted: &Secret,
    address: IpAddr,
) -> Host {
    let found = match hosts.check() {
        Ok(()) => hosts.read(address, FILE).await,
        Err(error) => Err(error),
    };
    let found = match found {
        Ok(Some(found)) => found,
        Ok(None) => return Host::Missing,
        Err(error) => {
            let why = error.to_string();
            return Host::Refused { why };
        }
    };
    if let Some(why) = configuration::foreign(&found.text, keyring) {
        let why = format!(
            "its {FILE} {why}; Secrets that it encrypted could not be read any more if it were \
             replaced, so move it away only if there are none"
        );
        return Host::Refused { why };
    }
    if !found.is_private || found.text.expose() != wanted.expose() {
        return Host::Stale;
    }
    if keyring.step == Step::Settled {
        return Host::Delivered { waits: None };
    }
    let waits = match server.loaded_encryption(address).await {
        Ok(Some(hash)) if hash == configuration::hash(wanted) => return Host::Loaded,
        Ok(Some(_)) => format!(
            "its API server has not loaded {FILE} yet; it does within a minute with \
             --encryption-provider-config-automatic-reload, and must be restarted without"
        ),
        Ok(None) => {
            let why = format!(
                "its API server does not say which encryption configuration it has (1.34 or later \
                 does); restart it with --encryption-provider-config={FILE}, and once all are \
                 restarted run `control encryption-key loaded`"
            );
            return Host::Silent { why };
        }
        Err(error) => error.to_string(),
    };
    Host::Delivered { waits: Some(waits) }
}
