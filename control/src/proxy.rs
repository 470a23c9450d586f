//! `control kube-proxy`: kube-proxy's file on the nodes, over SSH.
//!
//! A node whose kernel cannot do what the file asks for keeps what it has. Whoever starts kube-proxy
//! restarts it, too: it reads the file when it begins.

use crate::cluster::{Cluster, Node, ProxyMode};
use crate::desired::{KUBE_PROXY_FILE, node_config};
use crate::hosts;
use crate::observe;
use crate::secret::Secret;
use crate::ssh::{Host, Ssh, SshError};

/// What became of a node, or how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It has the right file.
    Right,
    /// It has another one, or none.
    Wrong,
    /// It has the right one now.
    Delivered,
    /// Its kernel cannot do that.
    Refused { why: String },
    /// It could not be reached, or written.
    Unreached { why: String },
}

impl Fate {
    pub(crate) const fn is_right(&self) -> bool {
        matches!(self, Self::Right | Self::Delivered)
    }

    /// The word that stands for it, the same in every version, and why.
    pub(crate) fn word(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Right => ("right", None),
            Self::Wrong => ("wrong", None),
            Self::Delivered => ("delivered", None),
            Self::Refused { why } => ("refused", Some(why)),
            Self::Unreached { why } => ("not_reached", Some(why)),
        }
    }
}

/// Looks at the file of each node, in their order, and delivers it where it is asked for.
pub(crate) async fn files(
    ssh: &Ssh,
    cluster: &Cluster,
    nodes: &[&Node],
    deliver: bool,
) -> Vec<Fate> {
    let mode = cluster.options.kube_proxy.mode;
    let one = async |node: &Node, host: &Host| {
        let text = text(cluster, node);
        let found = hosts::read(host, KUBE_PROXY_FILE).await?;
        let is_same = |found: &hosts::Found| found.text.expose() == text.expose();
        if found.as_ref().is_some_and(is_same) {
            return Ok(Fate::Right);
        }
        let facts = host.run(&FACTS, &[], &[]).await?;
        if let Some(why) = lacks(mode, &facts) {
            return Ok(Fate::Refused { why });
        }
        if !deliver {
            return Ok(Fate::Wrong);
        }
        hosts::write(host, KUBE_PROXY_FILE, &text, found.as_ref()).await?;
        Ok(Fate::Delivered)
    };
    let fates = observe::hosts::each(ssh, nodes, one).await.into_iter();
    let unreached = |error: SshError| Fate::Unreached {
        why: error.to_string(),
    };
    fates.map(|fate| fate.unwrap_or_else(unreached)).collect()
}

/// The file; it names its author, since people look there, too.
fn text(cluster: &Cluster, node: &Node) -> Secret {
    let config = node_config(cluster, node).kube_proxy;
    let yaml = daemon::config_file::to_yaml(&config).expect("its keys are words");
    Secret::from(format!(
        "# Written by control from cluster.yml; kube-proxy reads it when it starts.\n{yaml}"
    ))
}

/// What a host lacks for this mode, if anything is.
fn lacks(mode: ProxyMode, facts: &str) -> Option<String> {
    let fact = |name: &str| {
        let mut lines = facts.lines().filter_map(|line| line.split_once('='));
        lines
            .find(|(fact, _)| *fact == name)
            .map(|(_, value)| value)
    };
    match mode {
        ProxyMode::Ipvs if fact("ip_vs") != Some("yes") => Some(
            "its kernel has no module ip_vs, which mode ipvs needs; \
             `options.kube-proxy.config.mode: nftables` does not"
                .to_owned(),
        ),
        ProxyMode::Nftables => {
            let kernel = fact("kernel").unwrap_or_default();
            (version(kernel) < NFTABLES)
                .then(|| format!("its kernel is {kernel}, and mode nftables needs 5.13 or later"))
        }
        _ => None,
    }
}

/// The first two numbers of a kernel's release.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    (next(), next())
}

const NFTABLES: (u32, u32) = (5, 13);
const FACTS: crate::ssh::Script = crate::ssh::Script {
    doing: "look at the kernel",
    text: include_str!("../scripts/proxy-facts.sh"),
    within: std::time::Duration::from_secs(30),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_needs_its_kernel() {
        let old = "kernel=5.10.0-28-amd64\nip_vs=yes\n";
        let new = "kernel=6.1.0+\nip_vs=no\n";
        assert_eq!(lacks(ProxyMode::Ipvs, old), None);
        assert!(lacks(ProxyMode::Ipvs, new).unwrap().contains("ip_vs"));
        assert!(lacks(ProxyMode::Ipvs, "").is_some());
        assert_eq!(lacks(ProxyMode::Nftables, new), None);
        assert!(
            lacks(ProxyMode::Nftables, old)
                .unwrap()
                .contains("5.10.0-28")
        );
        assert!(lacks(ProxyMode::Nftables, "kernel=x").is_some());
        assert_eq!(lacks(ProxyMode::Iptables, old), None);
    }

    #[test]
    fn a_release_is_compared_by_its_numbers() {
        assert_eq!(version("5.13.0"), (5, 13));
        assert_eq!(version("6.6-rc1"), (6, 6));
        assert_eq!(version(""), (0, 0));
    }
}
