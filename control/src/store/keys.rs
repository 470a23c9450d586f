//! The keys that encrypt Secrets at rest, in the store: the secret `k8s` of CKE, fields of
//! texts.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::local::{Local, LocalError};
use super::{Store, StoreError};
use crate::encryption::Keyring;
use crate::encryption::kept;
use crate::secret::Secret;

/// What is kept; None when there is no key yet.
pub(super) async fn read(store: &Store) -> Result<Option<Keyring>, StoreError> {
    let fields = match store {
        Store::Local(local) => parse(local, local.read(FILE)?)?,
        Store::Vault(vault) => vault.read(SECRET).await?.unwrap_or_default(),
    };
    keyring(store, &fields)
}

/// Reads, decides and, if `decide` says so, writes.
///
/// The directory is locked meanwhile. Vault's KV version 1 has no lock and no compare-and-set:
/// a rotation begins only where none is under way, only the holder of the Lease carries one on,
/// and what was read too long ago, by a process that was suspended say, is not written back.
pub(super) async fn change(
    store: &Store,
    decide: impl FnOnce(Option<Keyring>) -> Result<Option<Keyring>, StoreError>,
) -> Result<(), StoreError> {
    match store {
        Store::Local(local) => {
            let locked = local.lock()?;
            let mut fields = parse(local, locked.read(FILE)?)?;
            if let Some(changed) = decide(keyring(store, &fields)?)? {
                kept::put(&changed, &mut fields);
                let text = serde_json::to_string_pretty(&fields).expect("texts are JSON");
                locked.write(FILE, &Secret::from(text))?;
            }
        }
        Store::Vault(vault) => {
            let fresh_until = Instant::now() + FRESH;
            let mut fields = vault.read(SECRET).await?.unwrap_or_default();
            if let Some(changed) = decide(keyring(store, &fields)?)? {
                kept::put(&changed, &mut fields);
                vault.write(SECRET, fields, fresh_until).await?;
            }
        }
    }
    Ok(())
}

fn keyring(store: &Store, fields: &Map<String, Value>) -> Result<Option<Keyring>, StoreError> {
    kept::parse(fields).map_err(|kept::Damaged| StoreError::DamagedKeys {
        store: store.to_string(),
    })
}

fn parse(local: &Local, text: Option<Secret>) -> Result<Map<String, Value>, StoreError> {
    let Some(text) = text else {
        return Ok(Map::new());
    };
    // The parser's own words may quote the text.
    serde_json::from_str(text.expose()).map_err(|_| {
        let error = LocalError::Wrong {
            path: local.directory().join(FILE),
            what: "is damaged; bring back a copy: without its keys no Secret can be read once \
                   the API servers have lost theirs",
        };
        error.into()
    })
}

/// As Vault's path below `cke/secrets`.
const SECRET: &str = "k8s";
const FILE: &str = "k8s.json";
/// As long as the holder of the Lease may write after a renewal.
const FRESH: Duration = crate::lease::WRITES;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encryption::{Provider, Step};
    use jiff::Timestamp;

    fn store(folder: &tempfile::TempDir) -> Store {
        let directory = folder.path().join("store");
        Store::open(directory.to_str(), None, "cluster.yml".as_ref()).unwrap()
    }

    /// Each step by a store that was opened anew, as after a kill.
    #[tokio::test]
    async fn a_rotation_goes_on_after_each_restart() {
        let folder = tempfile::tempdir().unwrap();
        assert!(store(&folder).keyring().await.unwrap().is_none());
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let rotate = async || store(&folder).rotate_key(Provider::Aescbc, now).await;
        for round in 1..=2 {
            let begun = rotate().await.unwrap();
            assert_eq!(begun.keys.len(), round);
            for step in [
                Step::Adding,
                Step::Promoting,
                Step::Rewriting,
                Step::Dropping,
            ] {
                assert_eq!(store(&folder).keyring().await.unwrap().unwrap().step, step);
                let refused = rotate().await.unwrap_err().to_string();
                assert!(refused.contains("is under way"), "{refused}");
                store(&folder).advance_key(Step::Settled).await.unwrap();
                store(&folder).advance_key(step).await.unwrap();
            }
            let settled = store(&folder).keyring().await.unwrap().unwrap();
            assert_eq!((settled.step, settled.keys.len()), (Step::Settled, 1));
            assert_eq!(settled.newest().name, begun.newest().name);
        }
    }

    #[tokio::test]
    async fn what_is_damaged_is_named_without_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::UNIX_EPOCH;
        store(&folder)
            .rotate_key(Provider::Aescbc, now)
            .await
            .unwrap();
        let path = folder.path().join("store").join(FILE);
        for damaged in ["", "[\"canary\"]", "{\"aescbc\": \"canary\"}"] {
            std::fs::write(&path, damaged).unwrap();
            let error = store(&folder).keyring().await.unwrap_err().to_string();
            assert!(error.contains("damaged"), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
