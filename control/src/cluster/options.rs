//! What `options` says that matters beyond CKE.

use daemon::config_file::{ConfigError, Document};

use super::file;
use super::name::check_subdomain;

/// The options that control acts upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `options.kubelet.config.clusterDomain`, without a final dot; `cluster.local`
    /// when left out.
    pub cluster_domain: String,
}

impl Options {
    pub(super) fn new(document: &Document, file: file::Options) -> Result<Self, ConfigError> {
        let given = file
            .kubelet
            .and_then(|kubelet| kubelet.config)
            .map(|config| config.cluster_domain)
            .filter(|domain| !domain.is_empty());
        let Some(cluster_domain) = given else {
            return Ok(Self {
                cluster_domain: "cluster.local".to_owned(),
            });
        };
        check_subdomain(&cluster_domain).map_err(|rule| {
            document.error_at(
                "options.kubelet.config.clusterDomain",
                format!("`{cluster_domain}` {rule}"),
            )
        })?;
        Ok(Self { cluster_domain })
    }
}
