//! Whether kubelets are told of what runs on their own node: pods ask its nodedns, as `configz`
//! shows, and kubelet itself asks its rivers, as its kubeconfig and its metrics show.

use std::net::{IpAddr, SocketAddr};

use futures_util::stream::{self, StreamExt};
use serde_json::Value;

use super::{Finding, Nodes, Verdict, few};
use crate::client::Server;
use crate::cluster::Node;

/// Whether pods ask the nodedns of their node.
pub(super) async fn dns(server: &Server, nodes: &Nodes<'_>) -> Finding {
    let told = ready(nodes, async |node| {
        let config = server.kubelet_config(&node.name).await.ok();
        config.map_or(Told::Nothing, |config| {
            if asks(&config, &node.address.to_string()) {
                Told::Right
            } else {
                Told::Wrong(node.name.clone())
            }
        })
    });
    found(told.await, &DNS)
}

/// Whether kubelets ask the rivers of their node.
pub(super) async fn api(server: &Server, nodes: &Nodes<'_>) -> Finding {
    let logged_in = nodes.iter().map(|(node, seen)| {
        let servers = seen.and_then(|seen| Some(seen.as_ref().ok()?.kubelet.as_slice()));
        let servers = servers.unwrap_or_default();
        (node.name.as_str(), through_rivers(nodes, node, servers))
    });
    let mut told: Vec<(&str, Told)> = logged_in.collect();
    // A file that was changed is not what a kubelet runs on that was not restarted since.
    let running = ready(nodes, async |node| {
        let asked = server.kubelet_asks(&node.name).await.ok().flatten();
        through_rivers(nodes, node, asked.as_slice())
    });
    told.extend(running.await);
    found(told, &API)
}

/// What the kubelets of Nodes that are ready tell, many asked at a time.
async fn ready<'a>(
    nodes: &'a Nodes<'_>,
    ask: impl AsyncFn(&'a Node) -> Told,
) -> Vec<(&'a str, Told)> {
    let ready = nodes.cluster.nodes.iter().filter(|node| {
        let seen = nodes.observed.nodes.get(&node.name);
        seen.is_some_and(|seen| seen.ready)
    });
    let ask = &ask;
    stream::iter(ready)
        .map(|node| async move { (node.name.as_str(), ask(node).await) })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

/// What is known of one kubelet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    /// It bypasses what is on its node: its name, and where it goes.
    Wrong(String),
    Right,
    Nothing,
}

/// How it is said.
struct Words {
    right: &'static str,
    wrong: &'static str,
}

/// One node may have been asked in two ways, of which the worse one counts.
fn found(mut told: Vec<(&str, Told)>, words: &Words) -> Finding {
    told.sort_unstable();
    told.dedup_by(|(name, _), (before, _)| name == before);
    let wrong: Vec<&str> = told
        .iter()
        .filter_map(|(_, told)| match told {
            Told::Wrong(name) => Some(name.as_str()),
            Told::Right | Told::Nothing => None,
        })
        .collect();
    let of = |wanted: &Told| -> Vec<&str> {
        let those = told.iter().filter(|(_, told)| told == wanted);
        those.map(|(name, _)| *name).collect()
    };
    let (right, silent) = (of(&Told::Right), of(&Told::Nothing));
    if !wrong.is_empty() {
        let detail = format!(
            "{} on {}; `control node-config` shows what kubelet must be told",
            words.wrong,
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
    let mut detail = format!("{} on {} nodes", words.right, right.len());
    if !silent.is_empty() {
        detail.push_str(&format!("; nothing is known of {}", few(&silent)));
    }
    (Verdict::Good, detail)
}

/// Whether all of these servers, if there are any, are the rivers of the node itself.
fn through_rivers(nodes: &Nodes<'_>, node: &Node, servers: &[String]) -> Told {
    let Some(rivers) = nodes.wanted(node) else {
        return Told::Nothing;
    };
    if servers.is_empty() {
        return Told::Nothing;
    }
    let elsewhere = servers.iter().find(|server| !is(server, rivers.api_server));
    elsewhere.map_or(Told::Right, |server| {
        Told::Wrong(format!("{} ({server})", node.name))
    })
}

/// Whether a server, as in `https://localhost:16443` or without the scheme, is at this address of
/// the node itself.
fn is(server: &str, at: SocketAddr) -> bool {
    let bare = server.strip_prefix("https://").unwrap_or(server);
    let Some((host, port)) = bare.trim_end_matches('/').rsplit_once(':') else {
        return false;
    };
    let host = host.trim_matches(['[', ']']);
    let is_here = |ip: IpAddr| ip == at.ip() || ip.is_loopback() && at.ip().is_loopback();
    let is_host = host == "localhost" && at.ip().is_loopback() || host.parse().is_ok_and(is_here);
    is_host && port.parse() == Ok(at.port())
}

/// Whether a kubelet has pods ask this address and no other.
fn asks(configz: &Value, address: &str) -> bool {
    let servers = configz["kubeletconfig"]["clusterDNS"].as_array();
    servers.is_some_and(|servers| servers.iter().eq([address]))
}

/// Each is a connection from an API server to a kubelet.
const AT_ONCE: usize = 16;
const DNS: Words = Words {
    right: "pods ask the nodedns of their node",
    wrong: "pods do not ask nodedns",
};
const API: Words = Words {
    right: "kubelet asks the rivers of its node",
    wrong: "kubelet bypasses rivers",
};

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
    fn those_that_bypass_what_is_on_their_node_are_named() {
        let wrong = |text: &str| Told::Wrong(text.to_owned());
        assert_eq!(found(vec![("b", Told::Nothing)], &DNS).0, Verdict::Open);
        let (verdict, detail) = found(vec![("b", Told::Right), ("a", Told::Nothing)], &DNS);
        assert_eq!(verdict, Verdict::Good);
        assert!(
            detail.contains("on 1 nodes; nothing is known of a"),
            "{detail}"
        );
        let (verdict, detail) = found(vec![("b", Told::Right), ("c", wrong("c"))], &DNS);
        assert_eq!(verdict, Verdict::Bad);
        assert!(detail.contains("on c;"), "{detail}");
    }

    #[test]
    fn of_two_answers_the_worse_one_counts() {
        let wrong = || Told::Wrong("a (x)".to_owned());
        for (one, other, expected) in [
            (Told::Right, Told::Nothing, Verdict::Good),
            (Told::Right, wrong(), Verdict::Bad),
            (Told::Nothing, wrong(), Verdict::Bad),
        ] {
            let told = vec![("a", one), ("a", other)];
            let (verdict, detail) = found(told, &API);
            assert_eq!(verdict, expected);
            assert!(!detail.contains("nothing is known"), "{detail}");
        }
    }

    #[test]
    fn a_server_is_rivers_when_it_is_its_port_of_the_node_itself() {
        let rivers = "127.0.0.1:16443".parse().unwrap();
        for right in [
            "https://localhost:16443",
            "https://127.0.0.1:16443/",
            "localhost:16443",
            "[::1]:16443",
        ] {
            assert!(is(right, rivers), "{right}");
        }
        for wrong in [
            "https://10.9.0.2:6443",
            "https://localhost:6443",
            "https://localhost",
            "https://localhost:16443.example:6443",
            "http://",
            "",
        ] {
            assert!(!is(wrong, rivers), "{wrong}");
        }
        let elsewhere = "10.9.0.7:16443".parse().unwrap();
        assert!(is("https://10.9.0.7:16443", elsewhere));
        assert!(
            !is("https://localhost:16443", elsewhere),
            "nobody listens there"
        );
    }
}
