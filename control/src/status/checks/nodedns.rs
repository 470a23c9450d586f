//! Which nodes run which nodedns.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Finding, Verdict};
use crate::client::Server;

pub(super) async fn check(server: &Server) -> Finding {
    let pods =
        "/api/v1/namespaces/kube-system/pods?labelSelector=cke.cybozu.com%2Fappname%3Dnode-dns";
    let pods = match server.items("list Pods of node-dns", pods).await {
        Ok(pods) => pods,
        Err(error) => return (Verdict::Open, error.to_string()),
    };
    found(&pods)
}

/// Groups pods by build (image) and revision of their template.
fn found(pods: &[Value]) -> Finding {
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
        return (
            Verdict::Open,
            "no pod of DaemonSet node-dns is there".to_owned(),
        );
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
    (verdict, lines.join("; "))
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
        assert_eq!(found(&[]).0, Verdict::Open);
        let pods = [
            pod("a:1", "x", "True"),
            pod("a:2", "y", "True"),
            pod("a:1", "x", "True"),
        ];
        assert_eq!(
            found(&pods),
            (
                Verdict::Good,
                "a:1 (revision x) ready on 2 of 2 nodes; a:2 (revision y) ready on 1 of 1 nodes"
                    .to_owned()
            )
        );
        assert_eq!(found(&[pod("a:1", "x", "False"), json!(7)]).0, Verdict::Bad);
    }
}
