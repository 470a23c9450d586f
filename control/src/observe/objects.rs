//! Objects by name.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::client::{RequestError, Server};
use crate::object::Key;

/// Those of `keys` that exist.
pub(super) async fn read(
    server: &Server,
    keys: Vec<Key>,
) -> Result<BTreeMap<Key, Value>, RequestError> {
    let mut found = BTreeMap::new();
    for key in keys {
        if let Some(object) = server.object(&key).await? {
            found.insert(key, object);
        }
    }
    Ok(found)
}
