//! What runs: CoreDNS (Service, Deployment and disruption budget `cluster-dns`) and
//! nodedns (DaemonSet `node-dns`), out of their manifests, with cluster.yml's images.

use serde_json::{Value, json};

use crate::desired::manifest;
use crate::object::{Key, Object};

/// How pods of nodedns take the place of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rollout {
    /// The new pod is ready before the old one ends: they share the node's port.
    Surge,
    /// The old pod ends first, on one node after the other: unbound runs as another user
    /// and shares its port with nobody.
    Replace,
}

/// Service, Deployment and PodDisruptionBudget of CoreDNS.
pub(super) fn cluster_dns(image: &str) -> Vec<Object> {
    let mut objects = manifest::objects(
        "cluster-dns.yaml",
        include_str!("../../../manifests/cluster-dns.yaml"),
    );
    for object in objects.iter_mut().filter(|o| o.key.kind == "Deployment") {
        set_image(&mut object.content, image);
    }
    objects
}

/// The DaemonSet of nodedns.
pub(super) fn node_dns(image: &str, rollout: Rollout) -> Vec<Object> {
    let mut objects = manifest::objects(
        "node-dns.yaml",
        include_str!("../../../manifests/node-dns.yaml"),
    );
    let (unavailable, surge) = match rollout {
        Rollout::Surge => (0, 1),
        Rollout::Replace => (1, 0),
    };
    for object in &mut objects {
        set_image(&mut object.content, image);
        object.content["spec"]["updateStrategy"] = json!({
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge},
        });
    }
    objects
}

/// The key of the DaemonSet.
pub(super) fn daemon_set() -> Key {
    Key {
        api_version: "apps/v1".to_owned(),
        ..Key::core("DaemonSet", super::NAMESPACE, super::NODE_DNS)
    }
}

/// The image, and the annotation by which CKE tells that it has changed.
fn set_image(content: &mut Value, image: &str) {
    content["metadata"]["annotations"][IMAGE] = json!(image);
    content["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
}

const IMAGE: &str = "cke.cybozu.com/image";
