//! The EncryptionConfiguration that API servers load: Secrets, the keys in their order, and
//! `identity` for what was written before there was a key.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::{Key, Keyring, Provider, Step};
use crate::secret::{Secret, exposed};

/// The file for this step. The same keyring always gives the same text.
#[must_use]
pub fn render(keyring: &Keyring) -> Secret {
    let keys = match keyring.step {
        Step::Dropping => &keyring.keys[..1],
        _ => &keyring.keys[..],
    };
    let mut providers: Vec<Entry> = Vec::new();
    for key in keys {
        let entry = NamedKey {
            name: key.name.clone(),
            secret: key.secret.clone(),
        };
        let last = providers
            .last_mut()
            .and_then(|last| last.keys(key.provider).as_mut());
        match last {
            Some(last) => last.keys.push(entry),
            None => {
                let mut new = Entry::default();
                *new.keys(key.provider) = Some(Keys { keys: vec![entry] });
                providers.push(new);
            }
        }
    }
    let identity = Entry {
        identity: Some(Identity {}),
        ..Entry::default()
    };
    let is_first_of_cluster = keyring.step == Step::Adding && keys.len() == 1;
    let place = if is_first_of_cluster {
        0
    } else {
        providers.len()
    };
    providers.insert(place, identity);
    let file = File {
        kind: KIND.to_owned(),
        api_version: API_VERSION.to_owned(),
        resources: vec![Resources {
            resources: vec!["secrets".to_owned()],
            providers,
        }],
    };
    let text = daemon::config_file::to_yaml(&file).expect("lists and texts are YAML");
    Secret::from(text)
}

/// How an API server calls the content of a file, in its metric.
#[must_use]
pub fn hash(text: &Secret) -> String {
    use std::fmt::Write;

    let mut hash = "sha256:".to_owned();
    for byte in digest(&SHA256, text.expose().as_bytes()).as_ref() {
        let _ = write!(hash, "{byte:02x}");
    }
    hash
}

/// Why a delivered file must not be replaced; None when it may be: all of its keys are the
/// keyring's.
#[must_use]
pub fn foreign(text: &Secret, keyring: &Keyring) -> Option<&'static str> {
    // What the parser says may quote a key.
    let Ok(file) = daemon::config_file::parse::<File>(Path::new(""), text.expose()) else {
        return Some("is none that control or CKE writes");
    };
    let of = |provider: Provider, keys: Option<Keys>| {
        let keys = keys.map(|keys| keys.keys).unwrap_or_default();
        keys.into_iter().map(move |key| (provider, key))
    };
    let mut theirs = file
        .resources
        .into_iter()
        .flat_map(|resources| resources.providers)
        .flat_map(|entry| {
            of(Provider::Aescbc, entry.aescbc).chain(of(Provider::Secretbox, entry.secretbox))
        });
    let is_ours = |provider, theirs: &NamedKey| {
        keyring.keys.iter().any(|ours: &Key| {
            ours.provider == provider
                && ours.name == theirs.name
                && ours.secret.expose() == theirs.secret.expose()
        })
    };
    theirs
        .any(|(provider, key)| !is_ours(provider, &key))
        .then_some("has a key that the store does not have")
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    kind: String,
    api_version: String,
    resources: Vec<Resources>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resources {
    resources: Vec<String>,
    providers: Vec<Entry>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aescbc: Option<Keys>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secretbox: Option<Keys>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<Identity>,
}

impl Entry {
    const fn keys(&mut self, provider: Provider) -> &mut Option<Keys> {
        match provider {
            Provider::Aescbc => &mut self.aescbc,
            Provider::Secretbox => &mut self.secretbox,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    keys: Vec<NamedKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedKey {
    name: String,
    #[serde(serialize_with = "exposed")]
    secret: Secret,
}

/// Where CKE's API servers read it.
pub const FILE: &str = "/etc/kubernetes/apiserver/encryption.yml";
/// Its kind.
pub const KIND: &str = "EncryptionConfiguration";
/// Its group and version.
pub const API_VERSION: &str = "apiserver.config.k8s.io/v1";
