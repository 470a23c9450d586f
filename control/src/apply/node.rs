//! Nodes: a merge patch, made anew from a fresh reading when somebody else wrote
//! the Node in between.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use tokio::time::Instant;

use super::End;
use crate::FIELD_MANAGER;
use crate::client::{RequestError, Server};
use crate::plan::{NodePatch, node_patch};

pub(super) async fn patch(
    server: &Server,
    name: &str,
    mut patch: NodePatch,
) -> Result<End, RequestError> {
    let api: Api<Node> = Api::all(server.client.clone());
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let body = Patch::Merge(&patch.body);
        let request = api.patch_metadata(name, &params, &body);
        let Err(error) = server
            .request(format_args!("patch Node {name}"), request)
            .await
        else {
            return Ok(End::Updated);
        };
        if !error.conflict || Instant::now() >= deadline {
            return Err(error);
        }
        let Some(live) = server.node(name).await? else {
            return Ok(End::Unneeded);
        };
        match node_patch(patch.wanted, &live) {
            Some((again, _)) => patch = again,
            None => return Ok(End::Unneeded),
        }
    }
}

/// kubelet writes a Node every few seconds at most, and a busy cluster's controllers some
/// times a second: losing the race for so long means that somebody fights us.
const PATIENCE: Duration = Duration::from_secs(20);
