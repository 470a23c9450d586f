//! Private keys for SSH, in the store: the secret `ssh` of CKE, fields of texts by the host's
//! address, the empty one for all others.

use serde_json::{Map, Value};

use super::local::LocalError;
use super::{Store, StoreError};
use crate::secret::Secret;
use crate::ssh::Keys;

/// What is kept; no keys when there is nothing.
pub(super) async fn read(store: &Store) -> Result<Keys, StoreError> {
    let fields: Map<String, Value> = match store {
        Store::Local(local) => match local.read(FILE)? {
            None => Map::new(),
            // The parser's own words may quote the text.
            Some(text) => serde_json::from_str(text.expose()).map_err(|_| LocalError::Wrong {
                path: local.directory().join(FILE),
                what: "is no JSON object of private keys, as {\"\": \"-----BEGIN …\"}",
            })?,
        },
        Store::Vault(vault) => vault.read(SECRET).await?.unwrap_or_default(),
    };
    let keys = fields.into_iter().filter_map(|(host, key)| match key {
        Value::String(key) => Some((host, Secret::from(key))),
        _ => None,
    });
    Ok(Keys(keys.collect()))
}

/// As Vault's path below `cke/secrets`.
const SECRET: &str = "ssh";
const FILE: &str = "ssh.json";
