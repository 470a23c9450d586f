//! One reading of the cluster: what plan and sync decide from.
//!
//! It costs one LIST of Nodes, in pages, and one GET for each object that may be
//! ours. Nothing is written, and everything that is read has a bound.

use crate::client::{RequestError, Server};
use crate::cluster::Cluster;
use crate::desired;
use crate::observed::Observed;

mod objects;

/// Reads what [`desired::desired`] and a plan need to know of the cluster.
pub(crate) async fn observe(server: &Server, cluster: &Cluster) -> Result<Observed, RequestError> {
    Ok(Observed {
        objects: objects::read(server, desired::needed(cluster)).await?,
        nodes: server.nodes().await?,
    })
}
