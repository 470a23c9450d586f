//! `options.kube-proxy`: whether kube-proxy runs, and what its configuration says beside
//! what control decides.

use std::fmt;

use serde_json::{Map, Value};

use super::document::{ClusterError, Document};
use super::file;

/// What `options.kube-proxy` asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KubeProxy {
    /// Something else serves ClusterIPs (Cilium, say).
    pub disabled: bool,
    /// How packets to ClusterIPs find their way.
    pub mode: ProxyMode,
    /// Fields of `KubeProxyConfiguration`, laid over the generated ones.
    pub config: Map<String, Value>,
}

/// kube-proxy's modes on Linux.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProxyMode {
    /// The default, CKE's.
    #[default]
    Ipvs,
    /// What Kubernetes recommends instead (kernel 5.13).
    Nftables,
    /// The oldest one.
    Iptables,
}

impl fmt::Display for ProxyMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipvs => "ipvs",
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
        })
    }
}

impl KubeProxy {
    pub(super) fn new(document: &Document, file: file::KubeProxy) -> Result<Self, ClusterError> {
        let at = |field: &str, message: String| {
            document.error_at(&format!("options.kube-proxy.config.{field}"), message)
        };
        for (field, expected) in [("apiVersion", API_VERSION), ("kind", KIND)] {
            match file.config.get(field) {
                Some(given) if given != expected => {
                    return Err(at(field, format!("is {given}; it must be {expected}")));
                }
                _ => {}
            }
        }
        let kubeconfig = file.config.get("clientConnection");
        if kubeconfig.is_some_and(|connection| connection.get("kubeconfig").is_some()) {
            let message = "is kept by control, as in CKE; remove it".to_owned();
            return Err(at("clientConnection.kubeconfig", message));
        }
        let mode = match file.config.get("mode") {
            None => ProxyMode::default(),
            Some(given) => [ProxyMode::Ipvs, ProxyMode::Nftables, ProxyMode::Iptables]
                .into_iter()
                .find(|mode| *given == mode.to_string())
                .ok_or_else(|| {
                    at(
                        "mode",
                        format!("is {given}, not ipvs, nftables or iptables"),
                    )
                })?,
        };
        Ok(Self {
            disabled: file.disable,
            mode,
            config: file.config,
        })
    }
}

/// Of kube-proxy's configuration file.
pub(crate) const API_VERSION: &str = "kubeproxy.config.k8s.io/v1alpha1";
/// Of kube-proxy's configuration file.
pub(crate) const KIND: &str = "KubeProxyConfiguration";
