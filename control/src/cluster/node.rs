//! One node as wanted: address, Node name, and what its Node object must carry.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::document::{ClusterError, Document};

use super::file;
use super::name::{check_key, check_subdomain, check_value};

/// A machine of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it is reached; on control plane nodes the API server listens there.
    pub address: IpAddr,
    /// The name of its Node object: `hostname`, else the address.
    pub name: String,
    /// Who logs in over SSH.
    pub user: String,
    /// Whether it runs the control plane.
    pub control_plane: bool,
    /// Annotations that its Node must have, others are left alone.
    pub annotations: BTreeMap<String, String>,
    /// Labels that its Node must have, others are left alone.
    pub labels: BTreeMap<String, String>,
    /// Taints that its Node must have.
    pub taints: Vec<Taint>,
}

/// A taint as wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    /// Its key, as `example.com/dedicated`.
    pub key: String,
    /// Its value; may be empty.
    pub value: String,
    /// What it does to pods that do not tolerate it.
    pub effect: Effect,
}

/// What a taint does to pods that do not tolerate it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// New pods stay away.
    NoSchedule,
    /// New pods stay away when they can.
    PreferNoSchedule,
    /// New pods stay away, running ones are evicted.
    NoExecute,
}

impl Effect {
    /// The word that the API uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::NoSchedule, Self::PreferNoSchedule, Self::NoExecute]
            .into_iter()
            .find(|effect| effect.as_str() == word)
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Node {
    /// Checks `nodes[index]` of the file.
    pub(super) fn new(
        document: &Document,
        index: usize,
        node: file::Node,
    ) -> Result<Self, ClusterError> {
        let at = |field: &str, message: String| {
            document.error_at(&format!("nodes[{index}].{field}"), message)
        };
        let Ok(address) = node.address.parse::<IpAddr>() else {
            let message = format!("`{}` is not an IP address, as 10.0.0.1", node.address);
            return Err(at("address", message));
        };
        if address.is_unspecified() || address.is_multicast() {
            let message = format!("{address} cannot be the address of one node");
            return Err(at("address", message));
        }
        let name = node_name(address, node.hostname).map_err(|message| at("hostname", message))?;
        if node.user.is_empty() {
            let message = "is empty; give the user that logs in over SSH".to_owned();
            return Err(at("user", message));
        }
        if !is_user(&node.user) {
            let message = format!("`{}` cannot be a user that logs in over SSH", node.user);
            return Err(at("user", message));
        }
        for (field, map) in [("annotations", &node.annotations), ("labels", &node.labels)] {
            for (key, value) in map {
                check_pair(field, key, value).map_err(|message| at(field, message))?;
            }
        }
        let taints = node
            .taints
            .into_iter()
            .enumerate()
            .map(|(taint_index, taint)| {
                Taint::new(taint).map_err(|(field, message)| {
                    at(&format!("taints[{taint_index}].{field}"), message)
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            address,
            name,
            user: node.user,
            control_plane: node.control_plane,
            annotations: node.annotations,
            labels: node.labels,
            taints,
        })
    }
}

impl Taint {
    fn new(taint: file::Taint) -> Result<Self, (&'static str, String)> {
        check_key(&taint.key).map_err(|rule| ("key", format!("`{}` {rule}", taint.key)))?;
        if taint.key == MASTER {
            let message =
                format!("`{MASTER}` is set by `taint_control_plane: true`; remove it here");
            return Err(("key", message));
        }
        check_value(&taint.value).map_err(|rule| ("value", format!("`{}` {rule}", taint.value)))?;
        let Some(effect) = Effect::parse(&taint.effect) else {
            let message = format!(
                "`{}` is not NoSchedule, PreferNoSchedule or NoExecute",
                taint.effect
            );
            return Err(("effect", message));
        };
        Ok(Self {
            key: taint.key,
            value: taint.value,
            effect,
        })
    }
}

/// Whether a text can be a user's name for ssh(1), which reads `-…` as an option.
fn is_user(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@');
    !text.starts_with(['-', '.', '@']) && text.len() <= MAX_USER && text.chars().all(is_plain)
}

fn node_name(address: IpAddr, hostname: String) -> Result<String, String> {
    if hostname.is_empty() {
        return match address {
            IpAddr::V4(address) => Ok(address.to_string()),
            IpAddr::V6(address) => Err(format!(
                "is left out, and {address} cannot be a Node's name; give a hostname"
            )),
        };
    }
    check_subdomain(&hostname).map_err(|rule| format!("`{hostname}` {rule}"))?;
    Ok(hostname)
}

fn check_pair(field: &str, key: &str, value: &str) -> Result<(), String> {
    // The API server takes annotation keys in any case.
    let key_as_checked = if field == "annotations" {
        key.to_ascii_lowercase()
    } else {
        key.to_owned()
    };
    check_key(&key_as_checked).map_err(|rule| format!("key `{key}` {rule}"))?;
    if field == "labels" {
        if key == MASTER {
            return Err(format!(
                "`{MASTER}` is set by `control_plane: true`; remove it here"
            ));
        }
        check_value(value).map_err(|rule| format!("value `{value}` of `{key}` {rule}"))?;
    }
    Ok(())
}

/// The label and taint of control plane nodes, CKE's own.
const MASTER: &str = "cke.cybozu.com/master";
/// Bytes; Linux takes 32, a directory service more.
const MAX_USER: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_never_an_option_nor_a_command() {
        for user in ["cybozu", "a_b-c.d", "me@example.com", "0day"] {
            assert!(is_user(user), "{user}");
        }
        for user in [
            "-oProxyCommand=x",
            "a b",
            "a;b",
            "$(x)",
            "a'b",
            "ä",
            "@a",
            &"a".repeat(129),
        ] {
            assert!(!is_user(user), "{user}");
        }
    }
}
