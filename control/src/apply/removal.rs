//! A Node leaves: cordoned, drained where asked for, deleted.

use std::time::Duration;

use hyper::Request;
use hyper::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::End;
use crate::FIELD_MANAGER;
use crate::client::{RequestError, Server, encode};
use crate::object::Key;

pub(super) async fn remove(
    server: &Server,
    key: &Key,
    uid: &str,
    drain: bool,
) -> Result<End, RequestError> {
    match cordon(server, key, uid).await {
        Err(error) if error.missing => return Ok(End::Unneeded),
        cordoned => cordoned?,
    }
    if drain {
        evict_all(server, key).await?;
    }
    server.delete(key, "nodes", uid).await?;
    Ok(End::Deleted)
}

/// The UID in the patch makes it one of the Node that was seen, not of a new one of its
/// name.
async fn cordon(server: &Server, key: &Key, uid: &str) -> Result<(), RequestError> {
    let patch = json!({"metadata": {"uid": uid}, "spec": {"unschedulable": true}});
    let path = format!(
        "/api/v1/nodes/{}?fieldManager={FIELD_MANAGER}",
        encode(&key.name)
    );
    let request = Request::patch(path)
        .header(CONTENT_TYPE, "application/merge-patch+json")
        .body(patch.to_string().into_bytes());
    server
        .exchange::<Value>(format_args!("cordon {key}"), request)
        .await?;
    Ok(())
}

/// Evicts the pods of a Node until none is left but those of DaemonSets and of kubelet
/// itself, which come back or stay whatever we do. Disruption budgets are waited for.
async fn evict_all(server: &Server, node: &Key) -> Result<(), RequestError> {
    let deadline = Instant::now() + DRAIN;
    loop {
        let pods = pods(server, node).await?;
        let Some(first) = pods.first() else {
            return Ok(());
        };
        if Instant::now() >= deadline {
            return Err(RequestError::new(&format!(
                "{node} is cordoned, but after {} {} of its pods are still there, {first} among \
                 them; does a PodDisruptionBudget keep it?",
                daemon::duration::format(DRAIN),
                pods.len()
            )));
        }
        for pod in &pods {
            let eviction = json!({
                "apiVersion": "policy/v1", "kind": "Eviction",
                "metadata": {"namespace": pod.namespace, "name": pod.name},
            });
            match server
                .create(pod, "pods", Some("eviction"), &eviction)
                .await
            {
                Err(error) if !(error.missing || error.later) => return Err(error),
                _ => {}
            }
        }
        sleep(PAUSE).await;
    }
}

async fn pods(server: &Server, node: &Key) -> Result<Vec<Key>, RequestError> {
    let name = encode(&node.name);
    let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{name}");
    let request = Request::get(path).body(Vec::new());
    let list: Value = server
        .exchange(format_args!("list the pods of {node}"), request)
        .await?
        .body;
    let pods = list["items"].as_array().into_iter().flatten();
    Ok(pods.filter(|pod| !stays(pod)).filter_map(key).collect())
}

fn stays(pod: &Value) -> bool {
    let metadata = &pod["metadata"];
    let owners = metadata["ownerReferences"].as_array();
    let is_daemon = owners
        .into_iter()
        .flatten()
        .any(|o| o["kind"] == "DaemonSet");
    let is_mirror = metadata["annotations"]["kubernetes.io/config.mirror"].is_string();
    let has_ended = pod["status"]["phase"] == "Succeeded" || pod["status"]["phase"] == "Failed";
    is_daemon || is_mirror || has_ended
}

fn key(pod: &Value) -> Option<Key> {
    let text = |field: &str| pod["metadata"][field].as_str();
    Some(Key::core("Pod", text("namespace")?, text("name")?))
}

/// As long as CKE gives an eviction.
const DRAIN: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_that_come_back_or_have_ended_stay() {
        for pod in [
            json!({"metadata": {"ownerReferences": [{"kind": "DaemonSet"}]}}),
            json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}),
            json!({"status": {"phase": "Succeeded"}}),
        ] {
            assert!(stays(&pod), "{pod}");
        }
        let other = json!({
            "metadata": {"namespace": "a", "name": "b", "ownerReferences": [{"kind": "ReplicaSet"}]},
            "status": {"phase": "Running"},
        });
        assert!(!stays(&other));
        assert_eq!(key(&other), Some(Key::core("Pod", "a", "b")));
        assert!(!stays(&json!(7)));
    }
}
