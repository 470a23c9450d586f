//! What an object cannot do without: its namespace, its kind's definition, the role and
//! the accounts that it binds.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::object::{Key, Object};

/// The CustomResourceDefinitions among what is wanted, by group and kind.
#[derive(Debug, Default)]
pub(super) struct Definitions(BTreeMap<(String, String), Key>);

impl Definitions {
    pub(super) fn among(objects: &[Object]) -> Self {
        let definitions = objects
            .iter()
            .filter(|object| object.key.kind == "CustomResourceDefinition")
            .filter_map(|object| {
                let text =
                    |pointer: &str| Some(object.content.pointer(pointer)?.as_str()?.to_owned());
                let names = (text("/spec/group")?, text("/spec/names/kind")?);
                Some((names, object.key.clone()))
            });
        Self(definitions.collect())
    }

    fn of(&self, key: &Key) -> Option<&Key> {
        let (group, _) = key.api_version.split_once('/')?;
        self.0.get(&(group.to_owned(), key.kind.clone()))
    }
}

/// All that `object` needs.
pub(super) fn dependencies(object: &Object, definitions: &Definitions) -> Vec<Key> {
    let Object { key, content } = object;
    let text = |value: &Value, field: &str| Some(value.get(field)?.as_str()?.to_owned());
    let role = content.get("roleRef").and_then(|role| {
        let kind = text(role, "kind")?;
        let namespace = key.namespace.clone().filter(|_| kind == "Role");
        Some(Key {
            api_version: key.api_version.clone(),
            kind,
            namespace,
            name: text(role, "name")?,
        })
    });
    let accounts = content
        .get("subjects")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|subject| text(subject, "kind").as_deref() == Some("ServiceAccount"))
        .filter_map(|subject| {
            let (namespace, name) = (text(subject, "namespace")?, text(subject, "name")?);
            Some(Key::core("ServiceAccount", &namespace, &name))
        });
    let namespace = key.namespace.as_deref().map(Key::namespace);
    let definition = definitions.of(key).cloned();
    let mut needs: Vec<_> = role.into_iter().chain(accounts).collect();
    needs.extend(namespace);
    needs.extend(definition);
    needs
}
