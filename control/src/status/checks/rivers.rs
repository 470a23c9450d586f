//! Which nodes run which rivers: over SSH where that is asked for, and as pods of its DaemonSet.

use std::collections::BTreeSet;

use super::{Finding, Nodes, Verdict, few, pods};
use crate::client::Server;
use crate::cluster::Node;
use crate::installed::{Found, builds, sum};
use crate::observe::hosts::Seen;

pub(super) async fn check(server: &Server, nodes: &Nodes<'_>) -> Finding {
    let pods = match pods::of(server, "app.kubernetes.io%2Fname%3Drivers").await {
        Ok(pods) => pods,
        Err(why) => return (Verdict::Open, why),
    };
    let in_pods: BTreeSet<&str> = pods
        .iter()
        .filter_map(|pod| pod["spec"]["nodeName"].as_str())
        .collect();
    let sums = [false, true].map(|is_control_plane| {
        let wanted = nodes.wanted[usize::from(is_control_plane)].as_ref();
        wanted.map_or_else(String::new, |file| sum(file.text.as_bytes()))
    });
    let mut logins = Logins::default();
    for (node, seen) in nodes.iter() {
        match seen {
            // It is a pod's there.
            Some(Ok(seen)) if seen.rivers.is_nothing() && in_pods.contains(&*node.name) => {}
            Some(Ok(seen)) => logins.seen.push((node, seen)),
            Some(Err(why)) => logins.unreached.push(why),
            None => {}
        }
    }
    // Without keys it is the same of each.
    logins.unreached.dedup();
    let findings = [pods::found(&pods), found(&logins, &sums)];
    let findings: Vec<Finding> = findings.into_iter().flatten().collect();
    let Some(verdict) = findings.iter().map(|(verdict, _)| *verdict).reduce(worse) else {
        let detail =
            "no pod of a DaemonSet rivers is there; with `--hosts ssh` the nodes are looked at";
        return (Verdict::Open, detail.to_owned());
    };
    let details: Vec<String> = findings.into_iter().map(|(_, detail)| detail).collect();
    (verdict, details.join("; "))
}

/// What came of logging in.
#[derive(Default)]
struct Logins<'a> {
    seen: Vec<(&'a Node, &'a Seen)>,
    /// Why, of each of the others.
    unreached: Vec<&'a str>,
}

/// Groups nodes by what runs there; None when nobody has logged in. `sums` are those of the
/// configuration of a worker and of a node of the control plane.
fn found(Logins { seen, unreached }: &Logins<'_>, sums: &[String; 2]) -> Option<Finding> {
    if seen.is_empty() && unreached.is_empty() {
        return None;
    }
    let config = |node: &Node| sums[usize::from(node.control_plane)].as_str();
    let builds = builds(
        seen.iter()
            .map(|(node, seen)| (node.name.as_str(), &seen.rivers, config(node))),
    );
    let mut lines: Vec<String> = builds
        .iter()
        .map(|(build, names)| format!("{build} on {} nodes ({})", names.len(), few(names)))
        .collect();
    if !unreached.is_empty() {
        lines.push(format!("not reached: {}", few(unreached)));
    }
    let is_right = |(node, seen): &(&Node, &Seen)| is_right(&seen.rivers, config(node));
    let verdict = if !seen.iter().all(is_right) {
        Verdict::Bad
    } else if seen.is_empty() {
        Verdict::Open
    } else {
        Verdict::Good
    };
    Some((verdict, lines.join("; ")))
}

/// Whether what is installed runs, as cluster.yml has it configured.
fn is_right(found: &Found, config: &str) -> bool {
    found.is_steady() && found.config == config
}

/// The one that matters more.
const fn worse(a: Verdict, b: Verdict) -> Verdict {
    match (a, b) {
        (Verdict::Bad, _) | (_, Verdict::Bad) => Verdict::Bad,
        (Verdict::Good, _) | (_, Verdict::Good) => Verdict::Good,
        (Verdict::Open, Verdict::Open) => Verdict::Open,
    }
}
