//! From CKE's unbound to nodedns: what unbound's pods need stays until the last of them
//! is gone. The DaemonSet itself tells; pods are not listed.

use serde_json::Value;

use super::{UNBOUND_CONF, node_dns, workload};
use crate::observed::Observed;

/// The configuration of unbound, while pods of it may still read it; None from then on,
/// whatever others leave there.
pub(super) fn unbound_conf(observed: &Observed) -> Option<&Value> {
    let config = observed.objects.get(&node_dns())?;
    let is_over = observed
        .objects
        .get(&workload::daemon_set())
        .is_some_and(is_over);
    config["data"].get(UNBOUND_CONF).filter(|_| !is_over)
}

/// Whether the DaemonSet is nodedns', and every pod is of its present template. That was
/// so once where updates overlap already: a later one brings no unbound back.
fn is_over(daemon_set: &Value) -> bool {
    let containers = daemon_set.pointer("/spec/template/spec/containers");
    let mut containers = containers.and_then(Value::as_array).into_iter().flatten();
    let is_unbound = containers.any(|container| container["name"] == "unbound");
    let number = |pointer: &str| daemon_set.pointer(pointer).and_then(Value::as_i64);
    let overlaps = number("/spec/updateStrategy/rollingUpdate/maxSurge") > Some(0);
    let seen = number("/status/observedGeneration") >= number("/metadata/generation");
    let updated = number("/status/updatedNumberScheduled").unwrap_or(0);
    let all = number("/status/desiredNumberScheduled");
    !is_unbound && (overlaps || seen && all.is_some_and(|all| updated >= all))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Whether unbound's file stays beside this DaemonSet.
    fn is_kept(daemon_set: Option<Value>) -> bool {
        let config = json!({"data": {"unbound.conf": "server:", "nodedns.yml": "zones: []"}});
        let daemon_set = daemon_set.map(|live| (workload::daemon_set(), live));
        let observed = Observed {
            objects: [(node_dns(), config)]
                .into_iter()
                .chain(daemon_set)
                .collect(),
            ..Observed::default()
        };
        unbound_conf(&observed) == Some(&json!("server:"))
    }

    fn daemon_set(container: &str, generation: i64, updated: i64) -> Value {
        json!({
            "metadata": {"generation": generation},
            "spec": {"template": {"spec": {"containers": [{"name": container}]}}},
            "status": {
                "observedGeneration": 2,
                "desiredNumberScheduled": 3,
                "updatedNumberScheduled": updated,
            },
        })
    }

    #[test]
    fn unbounds_file_stays_until_every_pod_is_nodedns() {
        for (daemon_set, why) in [
            (Some(daemon_set("unbound", 2, 3)), "it has not begun"),
            (Some(daemon_set("nodedns", 2, 2)), "one pod is unbound's"),
            (Some(daemon_set("nodedns", 3, 3)), "its status is old"),
            (Some(json!({})), "nothing is known"),
            (None, "nothing runs yet"),
        ] {
            assert!(is_kept(daemon_set), "{why}");
        }
        assert!(!is_kept(Some(daemon_set("nodedns", 2, 3))));
    }

    #[test]
    fn a_later_update_does_not_bring_it_back() {
        let mut later = daemon_set("nodedns", 3, 0);
        later["spec"]["updateStrategy"] = json!({"rollingUpdate": {"maxSurge": 1}});
        assert!(!is_kept(Some(later)));
    }
}
