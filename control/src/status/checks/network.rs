//! Whether each Node has a network for pods: its kubelet says so (a CNI plugin that is not
//! there keeps the Node from being ready).

use super::{Finding, Verdict, few};
use crate::observed::Observed;

pub(super) fn check(observed: &Observed) -> Finding {
    let nodes = &observed.nodes;
    let without: Vec<String> = nodes
        .iter()
        .filter_map(|(name, node)| {
            let why = node.network_trouble.as_ref()?;
            Some(format!("{name} ({why})"))
        })
        .collect();
    let ready = nodes.values().filter(|node| node.ready).count();
    if !without.is_empty() {
        let names: Vec<&str> = without.iter().map(String::as_str).collect();
        return (Verdict::Bad, format!("not ready on {}", few(&names)));
    }
    if ready == 0 {
        return (Verdict::Open, "no Node is ready".to_owned());
    }
    let all = nodes.len();
    (
        Verdict::Good,
        format!("ready on {ready} of {all} Nodes; the others do not complain of it"),
    )
}
