//! What an object cannot do without: its namespace, its kind's definition, the role and
//! the accounts that it binds, what its pods mount.

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
    needs.extend(of_pods(object));
    needs.extend(namespace);
    needs.extend(definition);
    needs
}

/// The account and the mounted objects of a workload's pods.
fn of_pods(object: &Object) -> Vec<Key> {
    let (Some(namespace), Some(pod)) = (
        object.key.namespace.as_deref(),
        object.content.pointer("/spec/template/spec"),
    ) else {
        return Vec::new();
    };
    let key = |kind: &str, name: Option<&Value>| Some(Key::core(kind, namespace, name?.as_str()?));
    let volumes = pod.get("volumes").and_then(Value::as_array);
    let mounted = volumes.into_iter().flatten().filter_map(|volume| {
        key("ConfigMap", volume.pointer("/configMap/name"))
            .or_else(|| key("Secret", volume.pointer("/secret/secretName")))
    });
    let account = key("ServiceAccount", pod.get("serviceAccountName"));
    account.into_iter().chain(mounted).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_workload_needs_its_account_and_what_its_pods_mount() {
        let object = Object::from_content(json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"namespace": "a", "name": "b"},
            "spec": {"template": {"spec": {
                "serviceAccountName": "account",
                "volumes": [
                    {"name": "1", "configMap": {"name": "config"}},
                    {"name": "2", "secret": {"secretName": "secret"}},
                    {"name": "3", "emptyDir": {}},
                ],
            }}},
        }));
        let needs = dependencies(&object.unwrap(), &Definitions::default());
        let names: Vec<_> = needs.iter().map(Key::to_string).collect();
        assert_eq!(
            names,
            [
                "ServiceAccount a/account",
                "ConfigMap a/config",
                "Secret a/secret",
                "Namespace a",
            ]
        );
    }
}
