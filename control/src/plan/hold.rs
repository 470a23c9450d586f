//! Deployments wait until more than half of the nodes are ready: otherwise the first few
//! would get all of their pods.

use super::Reason;
use crate::object::Key;
use crate::observed::Observed;

/// Why `key` must wait; None when it need not. `nodes` is how many cluster.yml has.
pub(super) fn hold(key: &Key, nodes: usize, observed: &Observed) -> Option<Reason> {
    if key.kind != "Deployment" || !key.api_version.starts_with("apps/") {
        return None;
    }
    let ready = observed.nodes.values().filter(|node| node.ready).count();
    let needed = nodes / 2 + 1;
    (ready < needed).then_some(Reason::Held {
        ready,
        needed,
        nodes,
    })
}
