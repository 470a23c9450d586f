//! One command each, and what they share: reading the files, asking the cluster.

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use daemon::exit::Failure;

use crate::cli::{Cli, Command, Flags, Limits, OnHosts};
use crate::client::Server;
use crate::cluster::{Cluster, Node};
use crate::etcd::EtcdClient;
use crate::hosts::Hosts;
use crate::resources::Resources;
use crate::ssh::Ssh;
use crate::store::Store;
use crate::wish::Wish;

mod ca;
mod completions;
mod demo;
mod encryption_key;
mod init;
mod kube_proxy;
mod node_config;
mod plan;
mod resource;
mod rivers;
mod run;
mod status;
mod sync;
mod validate;

/// Runs the command that the command line asks for.
pub(crate) fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let Cli { flags, command } = cli;
    match command {
        Command::Validate => validate::run(&flags),
        Command::Plan(plan) => plan::run(&flags, &plan),
        Command::Run(options) => run::run(flags, options),
        Command::Status(options) => status::run(&flags, &options),
        Command::Ca(command) => ca::run(&flags, &command),
        Command::EncryptionKey(command) => encryption_key::run(&flags, &command),
        Command::Resource(command) => resource::run(&flags, command),
        Command::Rivers(command) => rivers::run(&flags, &command),
        Command::Init => init::run(&flags),
        Command::KubeProxy(command) => kube_proxy::run(&flags, &command),
        Command::NodeConfig(options) => node_config::run(&flags, &options),
        Command::Sync(limits) => sync::run(&flags, &limits),
        Command::Demo(args) => demo::run(&flags, &args),
        Command::DemoPart(args) => demo::run_part(args),
        Command::Completions { shell } => completions::run(shell),
    }
}

fn read_cluster(flags: &Flags) -> Result<Cluster, Failure> {
    Cluster::read(&flags.cluster).map_err(Failure::usage)
}

/// The nodes of these names, or all without one.
fn named_nodes<'a>(cluster: &'a Cluster, names: &[String]) -> Result<Vec<&'a Node>, Failure> {
    let named = |node: &&Node| names.is_empty() || names.contains(&node.name);
    let nodes: Vec<&Node> = cluster.nodes.iter().filter(named).collect();
    let is_unknown = |name: &&String| !nodes.iter().any(|node| node.name == **name);
    match names.iter().find(is_unknown) {
        None => Ok(nodes),
        Some(unknown) => Err(Failure::usage(anyhow!(
            "cluster.yml has no node of the name `{unknown}`"
        ))),
    }
}

fn read_resources(flags: &Flags) -> Result<Option<Resources>, Failure> {
    let read = |directory: &PathBuf| Resources::read(directory).map_err(Failure::usage);
    flags.resources.as_ref().map(read).transpose()
}

fn read_etcd(flags: &Flags) -> Result<Option<EtcdClient>, Failure> {
    match (&flags.etcd_ca, &flags.etcd_cert, &flags.etcd_key) {
        (Some(ca), Some(certificate), Some(key)) => EtcdClient::new(ca, certificate, key)
            .map(Some)
            .map_err(Failure::usage),
        // The command line takes all or none.
        _ => Ok(None),
    }
}

fn open_store(flags: &Flags) -> Result<Store, Failure> {
    let vault_config = flags.vault_config.as_deref();
    Store::open(flags.store.as_deref(), vault_config, &flags.cluster).map_err(Failure::usage)
}

/// The way to hosts, with the store's keys where it has some.
async fn open_ssh(flags: &Flags, store: &Store) -> Result<Ssh, Failure> {
    let keys = store.ssh_keys().await.map_err(Failure::failed)?;
    Ssh::new(keys, flags.known_hosts.clone()).map_err(Failure::failed)
}

/// A name for this process, for records and the Lease: no other has it.
fn instance() -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    let id = jiff::Timestamp::now().as_nanosecond() & 0xff_ffff;
    format!("{host}_{}_{id:06x}", std::process::id())
}

fn read_wish(flags: &Flags, limits: &Limits) -> Result<Wish, Failure> {
    let cluster = read_cluster(flags)?;
    let store = Arc::new(open_store(flags)?);
    let hosts = flags.hosts.clone().map(|hosts| match hosts {
        OnHosts::Ssh => Hosts::over_ssh(&cluster, Arc::clone(&store), flags.known_hosts.clone()),
        OnHosts::Below(directory) => Hosts::below(directory),
    });
    Ok(Wish {
        cluster,
        resources: read_resources(flags)?,
        limits: limits.into(),
        etcd: read_etcd(flags)?,
        store,
        hosts,
    })
}

/// The client for `cluster`'s API servers; reaches none of them yet.
async fn connect(flags: &Flags, cluster: &Cluster) -> Result<Server, Failure> {
    Server::connect(cluster, flags.kubeconfig.as_deref())
        .await
        .map_err(Failure::usage)
}

/// Runs a command that talks to servers.
fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .map_err(Failure::failed)?
        .block_on(command)
}
