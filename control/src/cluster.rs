//! The cluster as wanted: cluster.yml turned into values that can only be right.
//!
//! [`Cluster::read`] is the one way in. `document` reads YAML as Kubernetes does, `file` says what the file may hold,
//! the conversion here checks it once, and nothing after it can meet a bad
//! address or name. Fields that are CKE's own business are accepted and listed
//! in [`Cluster::ignored`].

use std::collections::BTreeMap;
use std::path::Path;

use document::Document;

pub use dns::{ServiceName, Upstreams};
pub use document::ClusterError;
pub use encryption::RestartCommand;
pub use ignored::Ignored;
pub(crate) use kube_proxy::{API_VERSION as PROXY_API_VERSION, KIND as PROXY_KIND};
pub use kube_proxy::{KubeProxy, ProxyMode};
pub use node::{Effect, Node, Taint};
pub use node_dns::NodeDns;
pub use node_rivers::{NodeRivers, RiversFile};
pub use options::Options;
pub use rest_mapping::RestMapping;
pub use subnet::Subnet;

mod dns;
mod document;
mod encryption;
mod file;
mod ignored;
mod image;
mod kube_proxy;
mod name;
mod node;
mod node_dns;
mod node_rivers;
mod options;
mod rest_mapping;
mod subnet;

/// What one cluster.yml asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// The cluster's name, for people.
    pub name: String,
    /// Every node, in the order of the file; at least one is control plane, no
    /// two share an address or a Node name.
    pub nodes: Vec<Node>,
    /// Whether control plane nodes get the taint `cke.cybozu.com/master:PreferNoSchedule`.
    pub taint_control_plane: bool,
    /// Where ClusterIPs come from.
    pub service_subnet: Subnet,
    /// Who answers names outside the cluster.
    pub upstreams: Upstreams,
    /// Kinds to fall back to when discovery does not know them.
    pub rest_mappings: Vec<RestMapping>,
    /// What `options` says that matters here.
    pub options: Options,
    /// Fields that were accepted and not acted upon.
    pub ignored: Vec<Ignored>,
}

impl Cluster {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// The file cannot be read, has a field that does not exist, or a value that
    /// cannot be right; the error names line and column.
    pub fn read(path: &Path) -> Result<Self, ClusterError> {
        Self::from_document(&Document::read(path)?)
    }

    /// Checks a file that is already in memory.
    ///
    /// # Errors
    /// As [`Cluster::read`].
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ClusterError> {
        Self::from_document(&Document::new(path, bytes)?)
    }

    fn from_document(document: &Document) -> Result<Self, ClusterError> {
        let file: file::File = document.parse()?;
        let ignored = ignored::list(document);
        if file.name.is_empty() {
            return Err(document.error_at("name", "is empty; give the cluster a name"));
        }
        let nodes = file
            .nodes
            .into_iter()
            .enumerate()
            .map(|(index, node)| Node::new(document, index, node))
            .collect::<Result<Vec<_>, _>>()?;
        check_nodes(document, &nodes)?;
        let service_subnet = file
            .service_subnet
            .parse()
            .map_err(|error| document.error_at("service_subnet", error))?;
        Ok(Self {
            name: file.name,
            nodes,
            taint_control_plane: file.taint_control_plane,
            service_subnet,
            upstreams: Upstreams::new(document, file.dns_servers, file.dns_service)?,
            rest_mappings: file
                .trusted_rest_mappings
                .into_iter()
                .enumerate()
                .map(|(index, mapping)| RestMapping::new(document, index, mapping))
                .collect::<Result<_, _>>()?,
            options: Options::new(document, file.options)?,
            ignored,
        })
    }

    /// The `rivers.yml` of one of its nodes.
    ///
    /// # Errors
    /// rivers would refuse it: the field, and why.
    pub fn rivers_file(&self, node: &Node) -> Result<RiversFile, String> {
        let control_plane: Vec<_> = self.control_plane().map(|node| node.address).collect();
        let rivers = &self.options.rivers;
        rivers.file(&control_plane, self.nodes.len(), node.control_plane)
    }

    /// The nodes that run the control plane; never empty.
    pub fn control_plane(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.control_plane)
    }
}

/// What must hold between nodes.
fn check_nodes(document: &Document, nodes: &[Node]) -> Result<(), ClusterError> {
    if !nodes.iter().any(|node| node.control_plane) {
        return Err(document.error_at(
            "nodes",
            "no node is control plane; set `control_plane: true` on those that run kube-apiserver",
        ));
    }
    let mut addresses = BTreeMap::new();
    let mut names = BTreeMap::new();
    for (index, node) in nodes.iter().enumerate() {
        if let Some(first) = addresses.insert(node.address, index) {
            return Err(document.error_at(
                &format!("nodes[{index}].address"),
                format!(
                    "{} is the address of nodes[{first}] too; each node has its own",
                    node.address
                ),
            ));
        }
        if let Some(first) = names.insert(&node.name, index) {
            return Err(document.error_at(
                &format!("nodes[{index}].hostname"),
                format!(
                    "`{}` is the name of nodes[{first}] too; each node has its own",
                    node.name
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
