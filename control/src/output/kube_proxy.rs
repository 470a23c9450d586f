//! `control kube-proxy`: what became of each node, for people and as JSON.

use std::fmt::Write;
use std::net::IpAddr;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::printable;
use crate::cluster::Node;
use crate::proxy::Fate;

/// A line for each node.
pub(crate) fn text(nodes: &[&Node], fates: &[Fate]) -> String {
    let mut text = String::new();
    for (node, fate) in nodes.iter().zip(fates) {
        let style = if fate.is_right() { GREEN } else { RED };
        let (word, why) = fate.word();
        let (name, word) = (&node.name, word.replace('_', " "));
        let why = why.map_or_else(String::new, |why| format!(": {}", printable(why)));
        let _ = writeln!(text, "{name}: {style}{word}{style:#}{why}");
    }
    text
}

/// One document.
pub(crate) fn json(nodes: &[&Node], fates: &[Fate]) -> String {
    #[derive(Serialize)]
    struct Document<'a> {
        nodes: Vec<Shown<'a>>,
    }
    #[derive(Serialize)]
    struct Shown<'a> {
        node: &'a str,
        address: IpAddr,
        result: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
    }
    let nodes = nodes.iter().zip(fates).map(|(node, fate)| {
        let (result, error) = fate.word();
        Shown {
            node: &node.name,
            address: node.address,
            result,
            error,
        }
    });
    super::json::render(&Document {
        nodes: nodes.collect(),
    })
}

const RED: Style = AnsiColor::Red.on_default();
const GREEN: Style = AnsiColor::Green.on_default();
