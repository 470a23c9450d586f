//! How rivers is on nodes, asked over SSH, many at a time.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use crate::cluster::Node;
use crate::installed::Found;
use crate::ssh::{Script, Ssh, SshError};

/// What each node has, in their order.
pub(crate) async fn rivers(ssh: &Ssh, nodes: &[&Node]) -> Vec<Result<Found, SshError>> {
    let looks = nodes.iter().map(|node| async move {
        let host = ssh.connect(node.address, &node.user).await?;
        let said = host.run(&LOOK, &[], &[]).await;
        host.close().await;
        said.map(|said| Found::parse(&said))
    });
    stream::iter(looks).buffered(AT_ONCE).collect().await
}

/// What one host has.
pub(crate) const LOOK: Script = Script {
    doing: "look at rivers",
    text: include_str!("../../scripts/rivers-look.sh"),
    within: Duration::from_secs(60),
};
/// Each is a process of ssh here, and hardly any work there.
const AT_ONCE: usize = 16;
