//! Which kinds there are: how a kind is called in a URL, and whether its objects stand in
//! a namespace.
//!
//! Kubernetes' own that control writes are known from the start; the rest comes from the
//! API server's discovery, from CustomResourceDefinitions of the same run, and at last
//! from cluster.yml's `trusted_rest_mappings`, as in CKE.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::object::Key;

/// One kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// Its plural, as in URLs: `configmaps`.
    pub plural: String,
    /// Whether its objects stand in a namespace.
    pub namespaced: bool,
}

/// All kinds that are known, by apiVersion and kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kinds(BTreeMap<(String, String), Kind>);

impl Default for Kinds {
    /// The kinds that every supported server has and control itself writes.
    fn default() -> Self {
        let mut kinds = Self(BTreeMap::new());
        for (api_version, kind, plural, namespaced) in KUBERNETES {
            kinds.add(api_version, kind, plural, namespaced);
        }
        kinds
    }
}

impl Kinds {
    /// The kind of the object that `key` names.
    #[must_use]
    pub fn of(&self, key: &Key) -> Option<&Kind> {
        self.0.get(&(key.api_version.clone(), key.kind.clone()))
    }

    /// Adds a kind, unless it is known already.
    pub fn add(&mut self, api_version: &str, kind: &str, plural: &str, namespaced: bool) {
        self.0
            .entry((api_version.to_owned(), kind.to_owned()))
            .or_insert_with(|| Kind {
                plural: plural.to_owned(),
                namespaced,
            });
    }

    /// Adds what an aggregated discovery document (KEP-3352) tells.
    pub fn add_discovered(&mut self, document: &Value) {
        for group in array(document, "items") {
            let name = group
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            for version in array(group, "versions") {
                let Some(version_name) = version["version"].as_str() else {
                    continue;
                };
                let api_version = api_version(name, version_name);
                for resource in array(version, "resources") {
                    let (Some(plural), Some(kind), Some(scope)) = (
                        resource["resource"].as_str(),
                        resource["responseKind"]["kind"].as_str(),
                        resource["scope"].as_str(),
                    ) else {
                        continue;
                    };
                    self.add(&api_version, kind, plural, scope == "Namespaced");
                }
            }
        }
    }

    /// Adds what a CustomResourceDefinition will bring.
    pub fn add_definition(&mut self, definition: &Value) {
        let spec = &definition["spec"];
        let (Some(group), Some(kind), Some(plural)) = (
            spec["group"].as_str(),
            spec["names"]["kind"].as_str(),
            spec["names"]["plural"].as_str(),
        ) else {
            return;
        };
        let namespaced = spec["scope"] == "Namespaced";
        for version in array(spec, "versions") {
            if let (Some(name), Some(true)) =
                (version["name"].as_str(), version["served"].as_bool())
            {
                self.add(&api_version(group, name), kind, plural, namespaced);
            }
        }
    }
}

/// As `v1` in the core group, else `group/version`.
#[must_use]
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

fn array<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

const RBAC: &str = "rbac.authorization.k8s.io/v1";
const ADMISSION: &str = "admissionregistration.k8s.io/v1";
const KUBERNETES: [(&str, &str, &str, bool); 20] = [
    ("v1", "ConfigMap", "configmaps", true),
    ("v1", "Endpoints", "endpoints", true),
    ("v1", "Namespace", "namespaces", false),
    ("v1", "Node", "nodes", false),
    ("v1", "Secret", "secrets", true),
    ("v1", "Service", "services", true),
    ("v1", "ServiceAccount", "serviceaccounts", true),
    ("coordination.k8s.io/v1", "Lease", "leases", true),
    ("apps/v1", "DaemonSet", "daemonsets", true),
    ("apps/v1", "Deployment", "deployments", true),
    (
        "discovery.k8s.io/v1",
        "EndpointSlice",
        "endpointslices",
        true,
    ),
    (
        "policy/v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        true,
    ),
    (
        ADMISSION,
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        false,
    ),
    (
        ADMISSION,
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        false,
    ),
    (RBAC, "ClusterRole", "clusterroles", false),
    (RBAC, "ClusterRoleBinding", "clusterrolebindings", false),
    (RBAC, "Role", "roles", true),
    (RBAC, "RoleBinding", "rolebindings", true),
    (
        "networking.k8s.io/v1",
        "NetworkPolicy",
        "networkpolicies",
        true,
    ),
    (
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        false,
    ),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(api_version: &str, kind: &str) -> Key {
        Key {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: None,
            name: "a".to_owned(),
        }
    }

    #[test]
    fn discovery_adds_kinds_and_passes_over_what_it_does_not_understand() {
        let mut kinds = Kinds::default();
        kinds.add_discovered(&json!({"items": [
            7,
            {"metadata": {"name": "example.com"}, "versions": [{"version": "v1", "resources": [
                {"resource": "widgets", "responseKind": {"kind": "Widget"}, "scope": "Namespaced"},
                {"resource": "gadgets", "responseKind": {"kind": "Gadget"}, "scope": "Cluster"},
                {"resource": 5},
            ]}]},
            {"versions": [{"version": "v1", "resources": [
                {"resource": "pods", "responseKind": {"kind": "Pod"}, "scope": "Namespaced"},
            ]}]},
        ]}));
        let widget = kinds.of(&key("example.com/v1", "Widget")).unwrap();
        assert_eq!(
            (widget.plural.as_str(), widget.namespaced),
            ("widgets", true)
        );
        assert!(
            !kinds
                .of(&key("example.com/v1", "Gadget"))
                .unwrap()
                .namespaced
        );
        assert!(kinds.of(&key("v1", "Pod")).is_some());
        assert_eq!(kinds.of(&key("example.com/v2", "Widget")), None);
    }

    #[test]
    fn a_definition_brings_its_served_versions() {
        let mut kinds = Kinds::default();
        kinds.add_definition(&json!({"spec": {
            "group": "example.com", "scope": "Cluster",
            "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1", "served": true}, {"name": "v1beta1", "served": false}],
        }}));
        assert!(kinds.of(&key("example.com/v1", "Widget")).is_some());
        assert_eq!(kinds.of(&key("example.com/v1beta1", "Widget")), None);
        kinds.add_definition(&json!({"spec": 7}));
    }
}
