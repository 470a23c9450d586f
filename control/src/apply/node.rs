//! Nodes: a merge patch, made anew from a fresh reading when somebody else wrote
//! the Node in between.

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};

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
    let mut attempt = 1;
    loop {
        let body = Patch::Merge(&patch.body);
        let request = api.patch_metadata(name, &params, &body);
        let Err(error) = server
            .request(format_args!("patch Node {name}"), request)
            .await
        else {
            return Ok(End::Updated);
        };
        if !error.conflict || attempt == ATTEMPTS {
            return Err(error);
        }
        attempt += 1;
        let Some(live) = server.node(name).await? else {
            return Ok(End::Unneeded);
        };
        match node_patch(patch.wanted, &live) {
            Some((again, _)) => patch = again,
            None => return Ok(End::Unneeded),
        }
    }
}

/// kubelet writes a Node every few seconds at most: losing this race five times
/// running means that somebody fights us.
const ATTEMPTS: u32 = 5;
