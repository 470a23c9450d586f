//! `control node-config`: what programs on a node must be told. Asks no server.

use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::anyhow;
use daemon::exit::Failure;

use super::read_cluster;
use crate::cli::{Flags, Format, NodeConfig, Part};
use crate::desired::node_config;
use crate::output::{self, json, text};

pub(super) fn run(flags: &Flags, options: &NodeConfig) -> Result<ExitCode, Failure> {
    let cluster = read_cluster(flags)?;
    let node = cluster.nodes.iter().find(|node| {
        let address = options.node.parse::<IpAddr>();
        node.name == options.node || address.is_ok_and(|address| node.address == address)
    });
    let Some(node) = node else {
        let message = format!(
            "{}: no node has the hostname or address `{}`",
            flags.cluster.display(),
            options.node
        );
        return Err(Failure::usage(anyhow!(message)));
    };
    let config = node_config(&cluster, node);
    if options.part == Some(Part::KubeProxy) && config.kube_proxy.is_none() {
        return Err(Failure::failed(anyhow!(
            "there is none: options.kube-proxy.disable is set"
        )));
    }
    let said = match flags.output {
        Format::Text => text::node_config(&config, options.part),
        Format::Json => json::node_config(&config),
    };
    output::print(&said).map_err(Failure::failed)?;
    Ok(ExitCode::SUCCESS)
}
