//! The inventory: which objects came from the directory of resources, so that one that left it is
//! known.
//!
//! It is an object of its own, ConfigMap `kube-system/cke-control-inventory`, a line an object.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::object::{Key, Object};

/// The inventory's own key.
#[must_use]
pub fn key() -> Key {
    Key::core("ConfigMap", "kube-system", "cke-control-inventory")
}

/// What the inventory lists; lines that it does not understand are passed over.
#[must_use]
pub fn read(inventory: &Value) -> Vec<Key> {
    let text = inventory["data"][OBJECTS].as_str().unwrap_or_default();
    text.lines().filter_map(parse).collect()
}

/// The object that lists these.
#[must_use]
pub fn write(keys: &BTreeSet<Key>) -> Object {
    let lines: Vec<_> = keys
        .iter()
        .map(|key| {
            let namespace = key.namespace.as_deref().unwrap_or("-");
            format!(
                "{} {} {namespace} {}\n",
                key.api_version, key.kind, key.name
            )
        })
        .collect();
    let own = key();
    let content = json!({
        "apiVersion": own.api_version,
        "kind": own.kind,
        "metadata": {"namespace": own.namespace, "name": own.name},
        "data": {OBJECTS: lines.concat()},
    });
    Object { key: own, content }
}

fn parse(line: &str) -> Option<Key> {
    let mut words = line.split_whitespace().map(str::to_owned);
    Some(Key {
        api_version: words.next()?,
        kind: words.next()?,
        namespace: words.next().filter(|namespace| namespace != "-"),
        name: words.next()?,
    })
}

const OBJECTS: &str = "objects";
