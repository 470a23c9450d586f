//! `control rivers`: rivers on the nodes, over SSH.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use daemon::exit::Failure;

use super::{block_on, named_nodes, open_ssh, open_store, read_cluster};
use crate::cli::{self, Flags, Format, OnNodes};
use crate::client::through::Through;
use crate::cluster::Cluster;
use crate::deploy::{self, Deployment, Target};
use crate::output::{self, rivers};

pub(super) fn run(flags: &Flags, command: &cli::Rivers) -> Result<ExitCode, Failure> {
    let cluster = read_cluster(flags)?;
    match command {
        cli::Rivers::Deploy(options) => deploy(flags, options, &cluster),
        cli::Rivers::Status(on) => status(flags, on, &cluster),
    }
}

fn deploy(flags: &Flags, options: &cli::Deploy, cluster: &Cluster) -> Result<ExitCode, Failure> {
    let targets = targets(&options.on, cluster)?;
    let canary = options.canary.as_deref();
    let canary = canary.map(|name| position(&targets, name)).transpose()?;
    let fates = block_on(async {
        let through = Through::new(flags.kubeconfig.as_deref())
            .await
            .map_err(Failure::usage)?;
        let ssh = open_ssh(flags, &open_store(flags)?).await?;
        let deployment = Deployment {
            targets: &targets,
            ssh: &ssh,
            through: &through,
            canary,
            at_once: options.at_once,
        };
        let mut progress = rivers::Progress::new(&targets);
        let told = |event: deploy::Event<'_>| match flags.output {
            Format::Text => output::print(&progress.line(&event)),
            Format::Json => Ok(()),
        };
        deploy::deploy(&deployment, told)
            .await
            .map_err(Failure::failed)
    })?;
    let said = match flags.output {
        Format::Text => rivers::end(&targets, &fates),
        Format::Json => rivers::fates(&targets, &fates),
    };
    output::print(&said).map_err(Failure::failed)?;
    if fates.iter().all(deploy::Fate::is_right) {
        Ok(ExitCode::SUCCESS)
    } else {
        // Each has been named in its line.
        Err(Failure::reported(1))
    }
}

fn status(flags: &Flags, on: &OnNodes, cluster: &Cluster) -> Result<ExitCode, Failure> {
    let targets = targets(on, cluster)?;
    let found = block_on(async {
        let ssh = open_ssh(flags, &open_store(flags)?).await?;
        Ok(deploy::look(&ssh, &targets).await)
    })?;
    let said = match flags.output {
        Format::Text => rivers::status(&targets, &found),
        Format::Json => rivers::status_json(&targets, &found),
    };
    output::print(&said).map_err(Failure::failed)?;
    let is_right = targets.iter().zip(&found).all(|(target, found)| {
        let found = found.as_ref();
        found.is_ok_and(|found| deploy::differs(found, &target.parcel).is_empty())
    });
    Ok(if is_right {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

fn targets<'a>(on: &OnNodes, cluster: &'a Cluster) -> Result<Vec<Target<'a>>, Failure> {
    let binary = match &on.binary {
        Some(binary) => binary.clone(),
        None => beside_this_program().map_err(Failure::failed)?,
    };
    let nodes = named_nodes(cluster, &on.nodes)?;
    deploy::targets(cluster, &nodes, &binary).map_err(Failure::usage)
}

fn position(targets: &[Target<'_>], name: &str) -> Result<usize, Failure> {
    let found = targets.iter().position(|target| target.node.name == name);
    found.ok_or_else(|| {
        Failure::usage(anyhow!(
            "--canary: `{name}` is not among the nodes of this deployment"
        ))
    })
}

fn beside_this_program() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe().context("cannot tell where this program is")?;
    Ok(this.with_file_name("rivers"))
}
