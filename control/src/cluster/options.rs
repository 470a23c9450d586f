//! What `options` says that matters beyond CKE.

use super::document::{ClusterError, Document};
use super::encryption::RestartCommand;
use super::file;
use super::image::image;
use super::kube_proxy::KubeProxy;
use super::name::check_subdomain;
use super::node_dns::NodeDns;
use super::node_rivers::NodeRivers;

/// The options that control acts upon.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// `options.kubelet.config.clusterDomain`, without a final dot; `cluster.local`
    /// when left out.
    pub cluster_domain: String,
    /// `options.cluster-dns.image`: CoreDNS; its own image when left out.
    pub cluster_dns_image: String,
    /// `options.node-dns`: nodedns.
    pub node_dns: NodeDns,
    /// `options.rivers` and `options.etcd-rivers`.
    pub rivers: NodeRivers,
    /// `options.kube-proxy`.
    pub kube_proxy: KubeProxy,
    /// `options.encryption.restart_command`: restarts the API server of the host that it runs on.
    pub restart_command: Option<RestartCommand>,
}

impl Options {
    pub(super) fn new(document: &Document, file: file::Options) -> Result<Self, ClusterError> {
        let kubelet = file.kubelet.and_then(|kubelet| kubelet.config);
        Ok(Self {
            cluster_domain: domain(document, kubelet)?,
            cluster_dns_image: image(
                document,
                "options.cluster-dns.image",
                file.cluster_dns.image,
                COREDNS,
            )?,
            node_dns: NodeDns::new(document, file.node_dns)?,
            rivers: NodeRivers::new(document, file.rivers, file.etcd_rivers)?,
            kube_proxy: KubeProxy::new(document, file.kube_proxy)?,
            restart_command: RestartCommand::new(document, file.encryption)?,
        })
    }
}

fn domain(
    document: &Document,
    kubelet: Option<file::KubeletConfig>,
) -> Result<String, ClusterError> {
    let given = kubelet
        .map(|config| config.cluster_domain)
        .filter(|domain| !domain.is_empty());
    let Some(domain) = given else {
        return Ok("cluster.local".to_owned());
    };
    check_subdomain(&domain).map_err(|rule| {
        document.error_at(
            "options.kubelet.config.clusterDomain",
            format!("`{domain}` {rule}"),
        )
    })?;
    Ok(domain)
}

/// The version that the tests run.
const COREDNS: &str = "docker.io/coredns/coredns:1.14.4";
