//! Nodes, of each only what a plan looks at.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Taint};
use kube::Api;
use kube::api::{ApiResource, ListParams, Object};
use serde::Deserialize;

use super::{RequestError, Server};
use crate::observed::SeenNode;

/// A Node without most of its status, which is most of it.
type BareNode = Object<BareSpec, BareStatus>;

#[derive(Debug, Clone, Default, Deserialize)]
struct BareSpec {
    #[serde(default)]
    taints: Vec<Taint>,
    #[serde(default)]
    unschedulable: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct BareStatus {
    #[serde(default)]
    conditions: Vec<Condition>,
    #[serde(default)]
    addresses: Vec<Address>,
}

#[derive(Debug, Clone, Deserialize)]
struct Condition {
    r#type: String,
    status: String,
    #[serde(default)]
    message: String,
}

impl Condition {
    /// A CNI plugin that is missing keeps the whole Node from being ready.
    fn is_network_trouble(&self) -> bool {
        match self.r#type.as_str() {
            "NetworkUnavailable" => self.status == "True",
            "Ready" => self.status != "True" && self.message.contains("NetworkReady=false"),
            _ => false,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
struct Address {
    address: String,
}

impl Server {
    /// All Nodes by name, read page by page.
    pub(crate) async fn nodes(&self) -> Result<BTreeMap<String, SeenNode>, RequestError> {
        let api = self.bare_nodes();
        let mut nodes = BTreeMap::new();
        let mut params = ListParams::default().limit(PAGE);
        for _ in 0..MAX_PAGES {
            let page = self.request("list Nodes", api.list(&params)).await?;
            nodes.extend(page.items.into_iter().filter_map(seen));
            match page.metadata.continue_ {
                Some(token) if !token.is_empty() => params = params.continue_token(&token),
                _ => return Ok(nodes),
            }
        }
        Err(RequestError::new(&format!(
            "cannot list Nodes: the API server has more than {}, which no cluster has; \
             is it one?",
            MAX_PAGES * PAGE
        )))
    }

    /// One Node; None when it does not exist.
    pub(crate) async fn node(&self, name: &str) -> Result<Option<SeenNode>, RequestError> {
        let api = self.bare_nodes();
        let node = self
            .request(format_args!("read Node {name}"), api.get_opt(name))
            .await?;
        Ok(node.and_then(seen).map(|(_, node)| node))
    }

    fn bare_nodes(&self) -> Api<BareNode> {
        Api::all_with(self.client.clone(), &ApiResource::erase::<Node>(&()))
    }
}

/// None for what no API server sends: an object without name or version.
fn seen(node: BareNode) -> Option<(String, SeenNode)> {
    let metadata = node.metadata;
    let status = node.status.unwrap_or_default();
    let seen = SeenNode {
        resource_version: metadata.resource_version?,
        labels: metadata.labels.unwrap_or_default(),
        annotations: metadata.annotations.unwrap_or_default(),
        taints: node.spec.taints,
        uid: metadata.uid?,
        cordoned: node.spec.unschedulable,
        ready: status
            .conditions
            .iter()
            .any(|condition| condition.r#type == "Ready" && condition.status == "True"),
        network_trouble: status
            .conditions
            .into_iter()
            .find(Condition::is_network_trouble)
            .map(|condition| condition.message),
        addresses: status.addresses.into_iter().map(|a| a.address).collect(),
    };
    Some((metadata.name?, seen))
}

/// A page of 500 Nodes is a few megabytes.
const PAGE: u32 = 500;
/// 100,000 Nodes, twenty times what Kubernetes is built for: a server that never
/// ends its list must not fill our memory.
const MAX_PAGES: u32 = 200;
