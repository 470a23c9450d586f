//! `control kube-proxy`: kube-proxy's file on the nodes, over SSH.

use std::process::ExitCode;

use anyhow::anyhow;
use daemon::exit::Failure;

use super::{block_on, named_nodes, open_ssh, open_store, read_cluster};
use crate::cli::{self, Flags, Format};
use crate::output::{self, kube_proxy};
use crate::proxy::{self, Fate};

pub(super) fn run(flags: &Flags, command: &cli::KubeProxy) -> Result<ExitCode, Failure> {
    let cluster = read_cluster(flags)?;
    if cluster.options.kube_proxy.disabled {
        return Err(Failure::usage(anyhow!(
            "there is no file: options.kube-proxy.disable is set"
        )));
    }
    let (names, deliver) = match command {
        cli::KubeProxy::Deploy { nodes } => (nodes, true),
        cli::KubeProxy::Status { nodes } => (nodes, false),
    };
    let nodes = named_nodes(&cluster, names)?;
    let fates = block_on(async {
        let ssh = open_ssh(flags, &open_store(flags)?).await?;
        Ok(proxy::files(&ssh, &cluster, &nodes, deliver).await)
    })?;
    let said = match flags.output {
        Format::Text => kube_proxy::text(&nodes, &fates),
        Format::Json => kube_proxy::json(&nodes, &fates),
    };
    output::print(&said).map_err(Failure::failed)?;
    if fates.iter().all(Fate::is_right) {
        Ok(ExitCode::SUCCESS)
    } else {
        // Each has been named in its line.
        Err(Failure::reported(1))
    }
}
