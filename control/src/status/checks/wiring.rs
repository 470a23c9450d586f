//! Whether pods ask the nodedns of their own node: kubelet tells them, and tells us by its
//! `configz`.

use futures_util::stream::{self, StreamExt};
use serde_json::Value;

use super::{Finding, Verdict, few};
use crate::client::Server;
use crate::cluster::Cluster;
use crate::observed::Observed;

pub(super) async fn check(server: &Server, cluster: &Cluster, observed: &Observed) -> Finding {
    let ready = cluster.nodes.iter().filter(|node| {
        let seen = observed.nodes.get(&node.name);
        seen.is_some_and(|seen| seen.ready)
    });
    let asked: Vec<(&str, Option<bool>)> = stream::iter(ready)
        .map(|node| async move {
            let config = server.kubelet_config(&node.name).await.ok();
            let is_right = config.map(|config| asks(&config, &node.address.to_string()));
            (node.name.as_str(), is_right)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    found(asked)
}

fn found(mut asked: Vec<(&str, Option<bool>)>) -> Finding {
    asked.sort_unstable();
    let of = |verdict: Option<bool>| -> Vec<&str> {
        let those = asked.iter().filter(|(_, is_right)| *is_right == verdict);
        those.map(|(name, _)| *name).collect()
    };
    let (right, wrong, silent) = (of(Some(true)), of(Some(false)), of(None));
    if !wrong.is_empty() {
        let detail = format!(
            "pods do not ask nodedns on {}; `control node-config` shows what kubelet must say",
            few(&wrong)
        );
        return (Verdict::Bad, detail);
    }
    if right.is_empty() {
        return (
            Verdict::Open,
            format!("no kubelet tells; asked {}", silent.len()),
        );
    }
    let mut detail = format!(
        "pods ask the nodedns of their node on {} nodes",
        right.len()
    );
    if !silent.is_empty() {
        detail.push_str(&format!(
            "; no answer from the kubelets of {}",
            few(&silent)
        ));
    }
    (Verdict::Good, detail)
}

/// Whether a kubelet has pods ask this address and no other.
fn asks(configz: &Value, address: &str) -> bool {
    let servers = configz["kubeletconfig"]["clusterDNS"].as_array();
    servers.is_some_and(|servers| servers.iter().eq([address]))
}

/// Each is a connection from an API server to a kubelet.
const AT_ONCE: usize = 16;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_kubelet_must_name_its_own_node_alone() {
        let configz = |servers: Value| json!({"kubeletconfig": {"clusterDNS": servers}});
        assert!(asks(&configz(json!(["10.0.0.1"])), "10.0.0.1"));
        for wrong in [
            json!(["10.0.0.2"]),
            json!(["10.0.0.1", "10.0.0.2"]),
            json!([]),
            json!(7),
        ] {
            assert!(!asks(&configz(wrong.clone()), "10.0.0.1"), "{wrong}");
        }
    }

    #[test]
    fn those_that_bypass_nodedns_are_named() {
        assert_eq!(found(vec![("b", None)]).0, Verdict::Open);
        let (verdict, detail) = found(vec![("b", Some(true)), ("a", None)]);
        assert_eq!(verdict, Verdict::Good);
        assert!(detail.contains("kubelets of a"), "{detail}");
        let (verdict, detail) = found(vec![("b", Some(true)), ("c", Some(false))]);
        assert_eq!(verdict, Verdict::Bad);
        assert!(detail.contains("on c;"), "{detail}");
    }
}
