//! The form in which the store keeps a keyring: as CKE keeps it, a field for each provider,
//! and one of our own for the order and the step of a rotation.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Key, Keyring, Provider, Step};
use crate::secret::{Secret, exposed};

/// The keyring in these fields; None when they have no key. What CKE alone has kept is
/// settled, and its first key writes.
///
/// # Errors
/// A field is not as it should be, or the fields contradict each other; there is nothing of
/// their content in `Damaged`.
pub fn parse(fields: &Map<String, Value>) -> Result<Option<Keyring>, Damaged> {
    let mut keys = Vec::new();
    for provider in PROVIDERS {
        let Some(text) = fields.get(provider.word()) else {
            continue;
        };
        let listed: Listed = read(text)?;
        keys.extend(listed.keys.into_iter().map(|key| Key {
            name: key.name,
            provider,
            secret: key.secret,
        }));
    }
    let Some(rotation) = fields.get(ROTATION) else {
        let step = Step::Settled;
        return Ok((!keys.is_empty()).then_some(Keyring { keys, step }));
    };
    let Rotation { step, order } = read(rotation)?;
    // Somebody who changed the keys without us knows nothing of the step.
    if order.is_empty() || order.len() != keys.len() {
        return Err(Damaged);
    }
    let mut ordered = Vec::with_capacity(keys.len());
    for name in order {
        let place = keys.iter().position(|key| key.name == name);
        ordered.push(keys.swap_remove(place.ok_or(Damaged)?));
    }
    let keys = ordered;
    Ok(Some(Keyring { keys, step }))
}

/// Puts the keyring into the fields; the others stay as they are.
pub fn put(keyring: &Keyring, fields: &mut Map<String, Value>) {
    for provider in PROVIDERS {
        let keys = keyring.keys.iter().filter(|key| key.provider == provider);
        let keys: Vec<_> = keys
            .map(|key| ListedKey {
                name: key.name.clone(),
                secret: key.secret.clone(),
            })
            .collect();
        if keys.is_empty() {
            fields.remove(provider.word());
        } else {
            fields.insert(provider.word().to_owned(), text(&Listed { keys }));
        }
    }
    let order = keyring.keys.iter().map(|key| key.name.clone()).collect();
    let step = keyring.step;
    fields.insert(ROTATION.to_owned(), text(&Rotation { step, order }));
}

/// The fields are not as control or CKE writes them.
#[derive(Debug, PartialEq, Eq)]
pub struct Damaged;

#[derive(Serialize, Deserialize)]
struct Listed {
    keys: Vec<ListedKey>,
}

#[derive(Serialize, Deserialize)]
struct ListedKey {
    name: String,
    #[serde(serialize_with = "exposed")]
    secret: Secret,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    step: Step,
    order: Vec<String>,
}

/// CKE's fields are texts that hold JSON.
fn read<T: serde::de::DeserializeOwned>(field: &Value) -> Result<T, Damaged> {
    let text = field.as_str().ok_or(Damaged)?;
    serde_json::from_str(text).map_err(|_| Damaged)
}

fn text(value: &impl Serialize) -> Value {
    Value::String(serde_json::to_string(value).expect("texts and lists are JSON"))
}

const PROVIDERS: [Provider; 2] = [Provider::Aescbc, Provider::Secretbox];
const ROTATION: &str = "control";
