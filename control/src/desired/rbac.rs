//! ServiceAccounts, roles and bindings: the same in every cluster.

use super::manifest;
use crate::object::Object;

/// All of them.
pub(super) fn objects() -> Vec<Object> {
    manifest::objects("rbac.yaml", include_str!("../../manifests/rbac.yaml"))
}
