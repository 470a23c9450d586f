//! Fields that cluster.yml may have and control does not act upon.
//!
//! They are named to the operator instead of being passed over in silence.

use std::fmt;

use super::document::Document;
use crate::yaml::Content;

/// A field that was accepted and has no effect here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ignored {
    /// Where it stands, as `options.kube-api`.
    pub field: &'static str,
    /// Whose job it is instead.
    pub reason: &'static str,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.field, self.reason)
    }
}

/// The fields of `document` that are set and ignored, in the order of CKE's manual.
pub(super) fn list(document: &Document) -> Vec<Ignored> {
    let is_set = |(field, _): &(&str, &str)| {
        document
            .find(field)
            .is_some_and(|node| match &node.content {
                Content::Map(fields) if *field == KUBELET => {
                    fields.keys().any(|key| key != "clusterDomain")
                }
                _ => true,
            })
    };
    let fields = FIELDS.into_iter().filter(is_set);
    fields
        .map(|(field, reason)| Ignored { field, reason })
        .collect()
}

const KUBELET: &str = "options.kubelet.config";
const FIELDS: [(&str, &str); 26] = [
    ("control_plane_tolerations", CKE),
    ("etcd_backup", CKE),
    ("reboot", CKE),
    ("repair", CKE),
    ("retire", CKE),
    ("sabakan", CKE),
    ("options.etcd", CKE),
    ("options.etcd-rivers.extra_binds", UNIT),
    ("options.etcd-rivers.extra_env", UNIT),
    ("options.rivers.extra_binds", UNIT),
    ("options.rivers.extra_env", UNIT),
    ("options.kube-api", CKE),
    ("options.kube-controller-manager", CKE),
    ("options.kube-scheduler", CKE),
    ("options.kube-proxy.extra_args", CKE),
    ("options.kube-proxy.extra_binds", CKE),
    ("options.kube-proxy.extra_env", CKE),
    ("options.kubelet.boot_taints", CKE),
    ("options.kubelet.cni_conf_file", CKE),
    (KUBELET, "CKE's own job, all but clusterDomain"),
    (
        "options.kubelet.config.clusterDNS",
        "it is always the node's own address",
    ),
    ("options.kubelet.cri_endpoint", CKE),
    ("options.kubelet.extra_args", CKE),
    ("options.kubelet.extra_binds", CKE),
    ("options.kubelet.extra_env", CKE),
    ("options.kubelet.in_place_update", CKE),
];
const CKE: &str = "CKE's own job";
const UNIT: &str = "rivers is a systemd unit here, no container";
