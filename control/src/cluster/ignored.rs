//! Fields that cluster.yml may have and control does not act upon.
//!
//! They are named to the operator instead of being passed over in silence.

use std::fmt;

use super::file::{File, Kubelet};

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

/// The fields of `file` that are set and ignored, in the order of CKE's manual.
pub(super) fn list(file: &File) -> Vec<Ignored> {
    let options = &file.options;
    [
        (
            file.control_plane_tolerations.is_some(),
            "control_plane_tolerations",
            CKE,
        ),
        (file.etcd_backup.is_some(), "etcd_backup", CKE),
        (file.reboot.is_some(), "reboot", CKE),
        (file.repair.is_some(), "repair", CKE),
        (file.retire.is_some(), "retire", CKE),
        (file.sabakan.is_some(), "sabakan", CKE),
        (options.etcd.is_some(), "options.etcd", CKE),
        (options.etcd_rivers.is_some(), "options.etcd-rivers", HOSTS),
        (options.rivers.is_some(), "options.rivers", HOSTS),
        (options.kube_api.is_some(), "options.kube-api", CKE),
        (
            options.kube_controller_manager.is_some(),
            "options.kube-controller-manager",
            CKE,
        ),
        (
            options.kube_scheduler.is_some(),
            "options.kube-scheduler",
            CKE,
        ),
        (options.kube_proxy.is_some(), "options.kube-proxy", HOSTS),
        (
            options.kubelet.as_ref().is_some_and(has_more_than_config),
            "options.kubelet",
            "CKE's own job, all but config.clusterDomain",
        ),
    ]
    .into_iter()
    .filter(|(set, _, _)| *set)
    .map(|(_, field, reason)| Ignored { field, reason })
    .collect()
}

fn has_more_than_config(kubelet: &Kubelet) -> bool {
    [
        &kubelet.boot_taints,
        &kubelet.cni_conf_file,
        &kubelet.cri_endpoint,
        &kubelet.extra_args,
        &kubelet.extra_binds,
        &kubelet.extra_env,
        &kubelet.in_place_update,
    ]
    .into_iter()
    .any(Option::is_some)
}

const CKE: &str = "CKE's own job";
const HOSTS: &str = "this version does not touch hosts";
