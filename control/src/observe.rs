//! One reading of the cluster: what plan and sync decide from.
//!
//! It costs a LIST of Nodes, in pages; a LIST of each kind of which more than a few
//! objects are wanted, of a namespace where few have them; a GET for each other object;
//! two requests of discovery where a kind is not Kubernetes' own; the control plane's health;
//! and, while an encryption key is replaced, each API server's metrics. Nothing is written, and everything that is read has a bound.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use futures_util::stream::{self, StreamExt};
use jiff::Timestamp;
use serde_json::Value;

use crate::client::{RequestError, Server};
use crate::cluster::Cluster;
use crate::desired::{self, webhook};
use crate::inventory;
use crate::kind::{Kinds, api_version};
use crate::object::Key;
use crate::observed::{Authority, Observed};
use crate::plan::Plan;
use crate::resources::Resources;
use crate::wish::Wish;

mod encryption;
mod health;
pub(crate) mod hosts;
mod objects;

pub(crate) use encryption::read as encryption;

/// Reads what [`desired::desired`] and a plan need to know of the cluster.
pub(crate) async fn observe(server: &Server, wish: &Wish) -> Result<Observed, RequestError> {
    let (cluster, resources) = (&wish.cluster, wish.resources.as_ref());
    let needed = desired::needed(cluster, resources);
    let known = inventoried(server, &needed).await?;
    let wanted: BTreeSet<Key> = needed.into_iter().chain(known).collect();
    let kinds = kinds(server, cluster, resources, &wanted).await?;
    let (objects, nodes, health, authority, encryption) = tokio::join!(
        objects::read(server, &kinds, &wanted),
        server.nodes(),
        health(server, wish),
        authority(wish),
        encryption(server, wish)
    );
    Ok(Observed {
        objects: objects?,
        nodes: nodes?,
        api_servers: health.api_servers,
        etcd: health.etcd,
        kinds,
        authority,
        encryption,
        now: Timestamp::now(),
    })
}

/// Reads what [`desired::endpoints`] and a plan of that need to know, the control plane's health
/// being known.
pub(crate) async fn endpoints(server: &Server, health: &Health) -> Result<Observed, RequestError> {
    let kinds = Kinds::default();
    let objects = objects::read(server, &kinds, &desired::endpoint_keys()).await?;
    Ok(Observed {
        objects,
        api_servers: health.api_servers.clone(),
        etcd: health.etcd.clone(),
        kinds,
        now: Timestamp::now(),
        ..Observed::default()
    })
}

/// Who vouches for webhooks, if there are any.
async fn authority(wish: &Wish) -> Authority {
    if !webhook::is_asked_for(wish.resources.as_ref()) {
        return Authority::None;
    }
    match wish.store.trust().await {
        Ok(Some(trust)) => Authority::Trusted(trust),
        Ok(None) => Authority::Missing {
            store: wish.store.to_string(),
        },
        Err(error) => Authority::Unknown {
            why: error.to_string(),
        },
    }
}

/// Who of the control plane is well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) api_servers: BTreeMap<IpAddr, bool>,
    pub(crate) etcd: BTreeMap<IpAddr, bool>,
}

impl Health {
    /// Whether all are well.
    pub(crate) fn is_well(&self) -> bool {
        self.api_servers
            .values()
            .chain(self.etcd.values())
            .all(|&well| well)
    }
}

/// Asks each server of the control plane for its health, for a second and a half at most.
pub(crate) async fn health(server: &Server, wish: &Wish) -> Health {
    let addresses: Vec<IpAddr> = wish
        .cluster
        .control_plane()
        .map(|node| node.address)
        .collect();
    let (api_servers, etcd) = tokio::join!(
        health::api_servers(server, &addresses),
        health::etcd(wish.etcd.as_ref(), &addresses)
    );
    Health { api_servers, etcd }
}

/// The objects that the inventory knows, if it is needed.
async fn inventoried(server: &Server, needed: &BTreeSet<Key>) -> Result<Vec<Key>, RequestError> {
    let key = inventory::key();
    if !needed.contains(&key) {
        return Ok(Vec::new());
    }
    let kinds = Kinds::default();
    let kind = kinds.of(&key).expect("a ConfigMap is Kubernetes' own");
    let live = server.object(&key, kind).await?;
    Ok(live.as_ref().map(inventory::read).unwrap_or_default())
}

/// All kinds that the server knows, or will know.
async fn kinds(
    server: &Server,
    cluster: &Cluster,
    resources: Option<&Resources>,
    wanted: &BTreeSet<Key>,
) -> Result<Kinds, RequestError> {
    let mut kinds = Kinds::default();
    if wanted.iter().all(|key| kinds.of(key).is_some()) {
        return Ok(kinds);
    }
    for document in server.discovery().await? {
        kinds.add_discovered(&document);
    }
    for resource in resources.into_iter().flat_map(|r| &r.objects) {
        if resource.object.key.kind == "CustomResourceDefinition" {
            kinds.add_definition(&resource.object.content);
        }
    }
    for mapping in &cluster.rest_mappings {
        kinds.add(
            &api_version(&mapping.group, &mapping.version),
            &mapping.kind,
            &mapping.plural,
            mapping.namespaced,
        );
    }
    Ok(kinds)
}

/// Has the server try the plan's updates, so that one which would change nothing is not
/// made. What the server refuses to try stays in the plan.
pub(crate) async fn refine(server: &Server, plan: Plan, observed: &Observed) -> Plan {
    let tried: BTreeMap<Key, Value> = stream::iter(plan.doubtful())
        .map(|(key, plural, content)| async move {
            let reply = server.apply(key, plural, content, true).await.ok()?;
            Some((key.clone(), reply.body))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(|tried| async { tried })
        .collect()
        .await;
    plan.refined(&tried, observed)
}

/// Requests that are under way at the same time: an API server answers some hundred at
/// once, and we are one client of many.
const AT_ONCE: usize = 8;
