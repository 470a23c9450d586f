//! How rivers is on nodes, and who goes through it, asked over SSH, many at a time.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use crate::cluster::Node;
use crate::installed::Found;
use crate::ssh::{Host, Script, Ssh, SshError};

/// What a login to a node shows.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) rivers: Found,
    /// The servers that its kubelet's kubeconfig names; none when there is no kubelet.
    pub(crate) kubelet: Vec<String>,
}

/// What each node has of rivers, in their order.
pub(crate) async fn rivers(ssh: &Ssh, nodes: &[&Node]) -> Vec<Result<Found, SshError>> {
    each(ssh, nodes, async |_: &Node, host: &Host| look(host).await).await
}

/// The same, and whom each node's kubelet asks.
pub(crate) async fn seen(ssh: &Ssh, nodes: &[&Node]) -> Vec<Result<Seen, SshError>> {
    let both = async |_: &Node, host: &Host| {
        let rivers = look(host).await?;
        let kubelet = host.run(&KUBELET, &[], &[]).await?;
        let kubelet = kubelet.lines().map(str::to_owned).collect();
        Ok(Seen { rivers, kubelet })
    };
    each(ssh, nodes, both).await
}

/// How rivers is on this host.
pub(crate) async fn look(host: &Host) -> Result<Found, SshError> {
    let said = host.run(&LOOK, &[], &[]).await?;
    Ok(Found::parse(&said))
}

/// Logs in to each node and asks, many at a time; gives the answers in their order.
pub(crate) async fn each<T>(
    ssh: &Ssh,
    nodes: &[&Node],
    ask: impl AsyncFn(&Node, &Host) -> Result<T, SshError>,
) -> Vec<Result<T, SshError>> {
    let ask = &ask;
    let looks = nodes.iter().map(|node| async move {
        let host = ssh.connect(node.address, &node.user).await?;
        let said = ask(node, &host).await;
        host.close().await;
        said
    });
    stream::iter(looks).buffered(AT_ONCE).collect().await
}

const LOOK: Script = Script {
    doing: "look at rivers",
    text: include_str!("../../scripts/rivers-look.sh"),
    within: Duration::from_secs(60),
};
const KUBELET: Script = Script {
    doing: "look at kubelet",
    text: include_str!("../../scripts/kubelet-look.sh"),
    within: Duration::from_secs(30),
};
/// Each is a process of ssh here, and hardly any work there.
const AT_ONCE: usize = 16;
