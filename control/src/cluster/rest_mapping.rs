//! `trusted_rest_mappings`: kinds that discovery may not know yet.

use super::document::{ClusterError, Document};

use super::file;
use super::name::{check_label, check_subdomain};

/// How a kind is called in the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestMapping {
    /// Its group, as `example.com`; empty for the core group.
    pub group: String,
    /// Its version, as `v1`.
    pub version: String,
    /// Its name, as `Widget`.
    pub kind: String,
    /// Its plural in URLs, as `widgets`.
    pub plural: String,
    /// Whether its objects stand in a namespace.
    pub namespaced: bool,
}

impl RestMapping {
    /// Checks `trusted_rest_mappings[index]` of the file.
    pub(super) fn new(
        document: &Document,
        index: usize,
        mapping: file::RestMapping,
    ) -> Result<Self, ClusterError> {
        let at = |field: &str, message: String| {
            document.error_at(&format!("trusted_rest_mappings[{index}].{field}"), message)
        };
        if !mapping.group.is_empty() {
            check_subdomain(&mapping.group)
                .map_err(|rule| at("group", format!("`{}` {rule}", mapping.group)))?;
        }
        for (field, value) in [
            ("version", &mapping.version),
            ("resource", &mapping.resource),
        ] {
            check_label(value).map_err(|rule| at(field, format!("`{value}` {rule}")))?;
        }
        if mapping.kind.is_empty() {
            return Err(at(
                "kind",
                "is empty; give the kind, as `Widget`".to_owned(),
            ));
        }
        Ok(Self {
            group: mapping.group,
            version: mapping.version,
            kind: mapping.kind,
            plural: mapping.resource,
            namespaced: mapping.namespaced,
        })
    }
}
