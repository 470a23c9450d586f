//! What must hold in a cluster beside what a plan writes, each asked of the cluster itself.

use futures_util::future::join;

use crate::client::Server;
use crate::cluster::{Cluster, Node, RiversFile};
use crate::observe::hosts::{self, Seen};
use crate::observed::Observed;
use crate::ssh::Ssh;
use crate::wish::Wish;

mod access;
mod aggregation;
mod dns;
mod encryption;
mod network;
mod pods;
mod rivers;
mod wiring;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) subject: &'static str,
    pub(crate) verdict: Verdict,
    /// In a sentence; parts may be the cluster's own words.
    pub(crate) detail: String,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    Bad,
    /// It could not be looked at from here, or nobody asks for it.
    Open,
}

impl Verdict {
    /// The word that stands for it, the same in every version.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Open => "open",
        }
    }
}

type Finding = (Verdict, String);

/// All of them; with SSH the nodes themselves are looked at, too.
pub(crate) async fn all(
    server: &Server,
    wish: &Wish,
    observed: &Observed,
    ssh: Option<&Result<Ssh, String>>,
) -> Vec<Check> {
    let cluster = &wish.cluster;
    let (access, encryption) = join(access::check(server), encryption::check(wish)).await;
    let (dns, aggregation) = join(
        dns::check(server, cluster, observed),
        aggregation::check(server),
    )
    .await;
    let nodes = Nodes {
        cluster,
        observed,
        wanted: [false, true].map(|is_control_plane| wanted(cluster, is_control_plane)),
        seen: look(ssh, cluster).await,
    };
    let (nodedns, rivers) = join(pods::nodedns(server), rivers::check(server, &nodes)).await;
    let (dns_wiring, api_wiring) =
        join(wiring::dns(server, &nodes), wiring::api(server, &nodes)).await;
    let check = |subject, (verdict, detail)| Check {
        subject,
        verdict,
        detail,
    };
    vec![
        check("RBAC", access),
        check("Secrets at rest", encryption),
        check("CoreDNS", dns),
        check("nodedns", nodedns),
        check("rivers", rivers),
        check("aggregation layer", aggregation),
        check("pod network", network::check(observed)),
        check("kubelets' DNS", dns_wiring),
        check("kubelets' API server", api_wiring),
    ]
}

/// The nodes of cluster.yml, and what is known of them.
struct Nodes<'a> {
    cluster: &'a Cluster,
    observed: &'a Observed,
    /// rivers' file of a worker, and of a node of the control plane.
    wanted: [Option<RiversFile>; 2],
    /// In their order, what SSH shows; none without it.
    seen: Vec<Result<Seen, String>>,
}

impl Nodes<'_> {
    /// rivers' file of this node.
    fn wanted(&self, node: &Node) -> Option<&RiversFile> {
        self.wanted[usize::from(node.control_plane)].as_ref()
    }

    /// Each with what SSH shows of it.
    fn iter(&self) -> impl Iterator<Item = (&Node, Option<&Result<Seen, String>>)> {
        let nodes = self.cluster.nodes.iter().enumerate();
        nodes.map(|(number, node)| (node, self.seen.get(number)))
    }
}

fn wanted(cluster: &Cluster, is_control_plane: bool) -> Option<RiversFile> {
    let mut nodes = cluster.nodes.iter();
    let node = nodes.find(|node| node.control_plane == is_control_plane)?;
    cluster.rivers_file(node).ok()
}

async fn look(ssh: Option<&Result<Ssh, String>>, cluster: &Cluster) -> Vec<Result<Seen, String>> {
    let nodes: Vec<&Node> = cluster.nodes.iter().collect();
    let ssh = match ssh {
        None => return Vec::new(),
        Some(Ok(ssh)) => ssh,
        Some(Err(why)) => return nodes.iter().map(|_| Err(why.clone())).collect(),
    };
    let seen = hosts::seen(ssh, &nodes).await.into_iter();
    seen.map(|seen| seen.map_err(|error| error.to_string()))
        .collect()
}

/// The first of many, for a line.
fn few(names: &[&str]) -> String {
    let mut text = names[..names.len().min(SHOWN)].join(", ");
    if let Some(more @ 1..) = names.len().checked_sub(SHOWN) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

const SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_few() {
        assert_eq!(few(&["a", "b"]), "a, b");
        assert_eq!(few(&["a"; 5]), "a, a, a, a, a");
        assert_eq!(few(&["a"; 7]), "a, a, a, a, a and 2 more");
    }
}
