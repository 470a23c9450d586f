//! Which nodes run which nodedns, and which rivers, as far as pods do.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Finding, Verdict};
use crate::client::Server;

/// nodedns is DaemonSet `node-dns`.
pub(super) async fn nodedns(server: &Server) -> Finding {
    match of(server, "cke.cybozu.com%2Fappname%3Dnode-dns").await {
        Ok(pods) => found(&pods).unwrap_or_else(|| {
            let detail = "no pod of DaemonSet node-dns is there";
            (Verdict::Open, detail.to_owned())
        }),
        Err(why) => (Verdict::Open, why),
    }
}

/// The pods of kube-system with this label, which is part of a query.
pub(super) async fn of(server: &Server, label: &str) -> Result<Vec<Value>, String> {
    let path = format!("/api/v1/namespaces/kube-system/pods?labelSelector={label}");
    let pods = server.items("list Pods of kube-system", &path).await;
    pods.map_err(|error| error.to_string())
}

/// Groups pods by build (image) and revision of their template; None when there are none.
pub(super) fn found(pods: &[Value]) -> Option<Finding> {
    let mut groups: BTreeMap<(&str, &str), Group> = BTreeMap::new();
    for pod in pods {
        let image = pod["spec"]["containers"][0]["image"].as_str();
        let revision = pod["metadata"]["labels"]["controller-revision-hash"].as_str();
        let group = (image.unwrap_or_default(), revision.unwrap_or_default());
        let group = groups.entry(group).or_default();
        group.all += 1;
        group.ready += usize::from(is_ready(pod));
    }
    if groups.is_empty() {
        return None;
    }
    let lines: Vec<String> = groups
        .iter()
        .map(|((image, revision), Group { all, ready })| {
            format!("{image} (revision {revision}) ready on {ready} of {all} nodes")
        })
        .collect();
    let all_ready = groups.values().all(|group| group.all == group.ready);
    let verdict = if all_ready {
        Verdict::Good
    } else {
        Verdict::Bad
    };
    Some((verdict, lines.join("; ")))
}

#[derive(Default)]
struct Group {
    all: usize,
    ready: usize,
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_are_grouped_by_build_and_revision() {
        let pod = |image: &str, revision: &str, ready: &str| {
            json!({
                "metadata": {"labels": {"controller-revision-hash": revision}},
                "spec": {"containers": [{"image": image}]},
                "status": {"conditions": [{"type": "Ready", "status": ready}]},
            })
        };
        assert_eq!(found(&[]), None);
        let pods = [
            pod("a:1", "x", "True"),
            pod("a:2", "y", "True"),
            pod("a:1", "x", "True"),
        ];
        assert_eq!(
            found(&pods),
            Some((
                Verdict::Good,
                "a:1 (revision x) ready on 2 of 2 nodes; a:2 (revision y) ready on 1 of 1 nodes"
                    .to_owned()
            ))
        );
        let bad = found(&[pod("a:1", "x", "False"), json!(7)]);
        assert_eq!(bad.unwrap().0, Verdict::Bad);
    }
}
