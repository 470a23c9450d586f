//! A Kubernetes object as data: which one it is, and its JSON.

use std::fmt;

use serde_json::Value;

/// Which object: type, namespace and name. Sorts by kind, namespace, name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// As `ConfigMap`.
    pub kind: String,
    /// As `v1` or `rbac.authorization.k8s.io/v1`.
    pub api_version: String,
    /// None for objects of the whole cluster.
    pub namespace: Option<String>,
    /// As `cluster-dns`.
    pub name: String,
}

impl Key {
    /// An object of the core API (`v1`) in `namespace`.
    #[must_use]
    pub fn core(kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            api_version: "v1".to_owned(),
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
        }
    }

    /// A Namespace.
    #[must_use]
    pub fn namespace(name: &str) -> Self {
        Self {
            kind: "Namespace".to_owned(),
            ..Self::node(name)
        }
    }

    /// A Node.
    #[must_use]
    pub fn node(name: &str) -> Self {
        Self {
            kind: "Node".to_owned(),
            api_version: "v1".to_owned(),
            namespace: None,
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        f.write_str(" ")?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

/// An object as it ought to be: only the fields that we decide.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Which one.
    pub key: Key,
    /// `apiVersion`, `kind`, `metadata` and what follows.
    pub content: Value,
}

impl Object {
    /// An object from its JSON; None when it lacks apiVersion, kind or name.
    #[must_use]
    pub fn from_content(content: Value) -> Option<Self> {
        let text = |pointer: &str| Some(content.pointer(pointer)?.as_str()?.to_owned());
        let key = Key {
            kind: text("/kind")?,
            api_version: text("/apiVersion")?,
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name")?,
        };
        Some(Self { key, content })
    }
}
