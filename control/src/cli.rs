//! The command line: flags and commands, defined once for parsing, `--help` and
//! completions.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::demo::PartArgs;
use crate::encryption::Provider;

/// Makes a cluster as its cluster.yml says.
#[derive(Debug, Parser)]
#[command(name = "control", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) flags: Flags,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// What the cluster should be, in CKE's format
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "cluster.yml"
    )]
    pub(crate) cluster: PathBuf,

    /// Credentials and CA for the API servers; their addresses come from cluster.yml, unless this
    /// file names a server on this machine (rivers) [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// Your own resources: all YAML files below this directory, applied as they are
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) resources: Option<PathBuf>,

    /// Where secrets live: a directory, which only its owner may read, or the URL of Vault or
    /// OpenBao [default: control-store beside cluster.yml]
    #[arg(long, global = true, value_name = "DIR|URL")]
    pub(crate) store: Option<String>,

    /// The AppRole for Vault: CKE's JSON file, with role-id, secret-id and ca-cert
    #[arg(long, global = true, value_name = "FILE", requires = "store")]
    pub(crate) vault_config: Option<PathBuf>,

    /// How files get onto the control plane's hosts: `ssh`, or a directory, in which DIR/ADDRESS stands
    /// for the `/` of a host. With it the encryption of Secrets at rest is kept, once `encryption-key
    /// rotate` began it
    #[arg(long, global = true, value_name = "ssh|DIR")]
    pub(crate) hosts: Option<OnHosts>,

    /// Keys of the hosts that are reached by SSH; one that is not known is refused
    /// [default: ~/.ssh/known_hosts]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) known_hosts: Option<PathBuf>,

    /// CA of etcd: its members are then asked for their health (with --etcd-cert, --etcd-key)
    #[arg(long, global = true, value_name = "FILE", requires_all = ["etcd_cert", "etcd_key"])]
    pub(crate) etcd_ca: Option<PathBuf>,

    /// Certificate of a client of etcd
    #[arg(long, global = true, value_name = "FILE", requires = "etcd_ca")]
    pub(crate) etcd_cert: Option<PathBuf>,

    /// Key of that certificate
    #[arg(long, global = true, value_name = "FILE", requires = "etcd_ca")]
    pub(crate) etcd_key: Option<PathBuf>,

    /// How results are printed
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub(crate) output: Format,
}

/// How files get onto hosts.
#[derive(Debug, Clone)]
pub(crate) enum OnHosts {
    /// By SSH.
    Ssh,
    /// Into a directory that stands for them.
    Below(PathBuf),
}

impl From<OsString> for OnHosts {
    fn from(text: OsString) -> Self {
        if text == "ssh" {
            return Self::Ssh;
        }
        Self::Below(text.into())
    }
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Lines for people
    Text,
    /// One JSON document, its form stable
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check cluster.yml and the directory of resources; asks no server
    #[command(
        after_long_help = "Example:\n  control validate --cluster cluster.yml --resources resources/"
    )]
    Validate,

    /// Show what `sync` would do; writes nothing
    ///
    /// Exit codes: 0 nothing to do, 1 there are changes, 2 a flag or file is wrong, 3 failure.
    #[command(
        after_long_help = "Example:\n  control plan --resources resources/ -o json | jq .operations"
    )]
    Plan(Plan),

    /// Make the cluster as cluster.yml says, once
    ///
    /// Exit codes: 0 done, or nothing to do, 1 something failed, 2 a flag or file is wrong.
    #[command(
        after_long_help = "Example:\n  control sync --cluster cluster.yml --resources resources/"
    )]
    Sync(Limits),

    /// Keep the cluster as the files say, until a signal; of several instances one writes
    ///
    /// The writer holds the Lease kube-system/cke-control; another one takes over within 15 s.
    /// Files are read again at each round. /metrics, /healthz and /readyz are on --metrics-addr.
    #[command(after_long_help = "Example:\n  control run --resources resources/ --interval 1m")]
    Run(Run),

    /// Show who keeps the cluster, how it is, and what was done last
    ///
    /// With `--hosts ssh` every node is looked at, too: its rivers, and whom its kubelet asks.
    ///
    /// Exit codes: 0 as wanted, 1 not, 2 a flag or file is wrong, 3 failure.
    #[command(after_long_help = "Example:\n  control status --records 50")]
    Status(Status),

    /// Look at, or replace, the authority that vouches for admission webhooks
    #[command(subcommand)]
    Ca(Ca),

    /// Look at, or replace, the key that encrypts Secrets at rest
    #[command(subcommand)]
    EncryptionKey(EncryptionKey),

    /// Edit the directory of resources, which is their only source; asks no server
    #[command(subcommand)]
    Resource(Resource),

    /// Install, update and look at rivers on the nodes, over SSH
    #[command(subcommand)]
    Rivers(Rivers),

    /// Bring kube-proxy's configuration to the nodes, or compare it, over SSH
    #[command(subcommand)]
    KubeProxy(KubeProxy),

    /// Write a commented cluster.yml to begin with
    #[command(after_long_help = "Example:\n  control init --cluster cluster.yml")]
    Init,

    /// Print what programs on a node must be told: kube-proxy's configuration, kubelet's DNS
    ///
    /// Asks no server, and touches no host.
    #[command(
        after_long_help = "Example:\n  control node-config worker-1 kube-proxy > /etc/kubernetes/proxy/config.yml"
    )]
    NodeConfig(NodeConfig),

    /// Show rivers and nodedns at work on this machine, without root and without a cluster
    ///
    /// API servers and name servers are stand-ins; rivers and nodedns are the programs beside this
    /// one. Exit codes: 0 all is well, 1 something failed, 2 a flag is wrong.
    #[command(after_long_help = "Example:\n  control demo --stay")]
    Demo(Demo),

    /// A part of the demo, started by it
    #[command(hide = true)]
    DemoPart(PartArgs),

    /// Print completions for a shell
    #[command(
        after_long_help = "Example:\n  control completions bash > /etc/bash_completion.d/control"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Flags of `plan`.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// Show objects that would be created in full, too
    #[arg(short, long)]
    pub(crate) verbose: bool,

    #[command(flatten)]
    pub(crate) limits: Limits,
}

/// How far `plan` and `sync` may go in taking things away.
#[derive(Debug, Default, Args)]
pub(crate) struct Limits {
    /// Delete objects that left the directory of resources
    #[arg(long, requires = "resources")]
    pub(crate) prune: bool,

    /// Delete at most N of them [default: a tenth of all, at least one]
    #[arg(long, value_name = "N", requires = "prune")]
    pub(crate) prune_limit: Option<usize>,

    /// Remove at most N Nodes that left cluster.yml [default: a tenth of all, at least one]
    #[arg(long, value_name = "N")]
    pub(crate) remove_nodes: Option<usize>,

    /// Evict the pods of a Node before it is removed
    #[arg(long)]
    pub(crate) drain: bool,
}

impl From<&Limits> for crate::plan::Limits {
    fn from(limits: &Limits) -> Self {
        Self {
            prune: limits.prune,
            prune_limit: limits.prune_limit,
            remove_nodes: limits.remove_nodes,
            drain: limits.drain,
        }
    }
}

/// Flags of `run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Time between two rounds; a change of the control plane's health is not waited for
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = daemon::duration::parse)]
    pub(crate) interval: Duration,

    /// Where /metrics, /healthz and /readyz are
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:9254")]
    pub(crate) metrics_addr: SocketAddr,

    #[command(flatten)]
    pub(crate) limits: Limits,
}

/// Flags of `status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Show at most N of the last operations
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) records: usize,
}

/// What `ca` does.
#[derive(Debug, Subcommand)]
pub(crate) enum Ca {
    /// Show whom API servers trust for webhooks; never a key
    #[command(after_long_help = "Example:\n  control ca show -o json")]
    Show,

    /// Begin to replace the authority of the embedded store; no admission call fails
    ///
    /// `control run`, or `control sync` from time to time, does the rest: it has all webhooks
    /// trust both authorities, issues all certificates anew, and takes the old one out last.
    #[command(after_long_help = "Example:\n  control ca rotate --overlap 2h")]
    Rotate {
        /// How long servers of webhooks may take to load a new certificate; the old authority is
        /// trusted for as long after the last one was issued
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = daemon::duration::parse)]
        overlap: Duration,
    },
}

/// What `encryption-key` does.
#[derive(Debug, Subcommand)]
pub(crate) enum EncryptionKey {
    /// Show which keys there are, and how far a rotation is; never a key itself
    #[command(after_long_help = "Example:\n  control encryption-key show -o json")]
    Show,

    /// Begin to replace the key, or to encrypt at all; no Secret is unreadable meanwhile
    ///
    /// `control run --hosts ssh`, or `control sync --hosts ssh` again and again, does the rest: all
    /// API servers learn to read with the new key, then to write with it, all Secrets are written
    /// anew, and the old key goes last. What an API server has loaded is read from its metrics (1.34
    /// or later); start it with --encryption-provider-config=/etc/kubernetes/apiserver/encryption.yml
    /// and --encryption-provider-config-automatic-reload, or restart it at each step; control does that
    /// where cluster.yml says how (options.encryption.restart_command). A backup of etcd can be read only with the keys of its time: keep a copy of the store with it.
    #[command(after_long_help = "Example:\n  control encryption-key rotate --provider secretbox")]
    Rotate {
        /// Who encrypts with the new key
        #[arg(long, default_value = "aescbc")]
        provider: Provider,
    },

    /// Vouch for API servers that cannot say what they have loaded: all are restarted
    ///
    /// API servers before 1.34, or without --encryption-provider-config, do not say it, and a rotation
    /// waits. Restart each after its file was delivered, then run this: once a step. It is refused while
    /// a file is not delivered, or while an API server says that it has another one. What is vouched for
    /// wrongly can leave Secrets that an API server cannot read.
    #[command(after_long_help = "Example:\n  control encryption-key loaded --hosts ssh")]
    Loaded,
}

/// What `resource` does.
#[derive(Debug, Subcommand)]
pub(crate) enum Resource {
    /// List the objects, and where each is written
    #[command(after_long_help = "Example:\n  control resource list --resources resources/")]
    List,

    /// Add or replace the objects of a file
    #[command(after_long_help = "Example:\n  control resource set app.yml --resources resources/")]
    Set {
        /// A YAML file of one or more objects
        file: PathBuf,
    },

    /// Take an object out of the directory; in the cluster it stays
    #[command(
        after_long_help = "Example:\n  control resource delete ConfigMap/team/app --resources resources/"
    )]
    Delete {
        /// The object, as KIND/NAMESPACE/NAME or KIND/NAME
        object: String,
    },
}

/// What `rivers` does.
#[derive(Debug, Subcommand)]
pub(crate) enum Rivers {
    /// Bring binary, unit and configuration to each node; no connection through rivers is closed
    ///
    /// One node goes first, the canary. Each is verified by a dial through its rivers to an API
    /// server, and goes back to what it had where that fails; then no further node is begun. A node
    /// that cannot be reached keeps nobody else waiting. A run that was killed is started again: it
    /// goes on where it stopped.
    ///
    /// Logs in as `user` of cluster.yml, with the key of the store's secret `ssh` or those of ssh
    /// itself, and becomes root by `sudo -n`. Exit codes: 0 all nodes are as wanted, 1 some are not, 2 a
    /// flag or file is wrong.
    #[command(
        after_long_help = "Example:\n  control rivers deploy --binary target/release/rivers --canary worker-1"
    )]
    Deploy(Deploy),

    /// Show which node runs which rivers, and what differs from what is wanted
    ///
    /// Exit codes: 0 all nodes are as wanted, 1 some are not, 2 a flag or file is wrong.
    #[command(after_long_help = "Example:\n  control rivers status -o json")]
    Status(OnNodes),
}

/// Flags of `rivers deploy`.
#[derive(Debug, Args)]
pub(crate) struct Deploy {
    #[command(flatten)]
    pub(crate) on: OnNodes,

    /// The node that goes first [default: the first worker that is to be updated, or none where
    /// another one runs this version, verified]
    #[arg(long, value_name = "NODE")]
    pub(crate) canary: Option<String>,

    /// Update at most N nodes at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = at_once)]
    pub(crate) at_once: usize,
}

/// What is wanted on which nodes.
#[derive(Debug, Args)]
pub(crate) struct OnNodes {
    /// The program for the nodes [default: `rivers` beside this one]
    #[arg(long, value_name = "FILE")]
    pub(crate) binary: Option<PathBuf>,

    /// Only this node of cluster.yml; may be given again
    #[arg(long = "node", value_name = "NODE")]
    pub(crate) nodes: Vec<String>,
}

fn at_once(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=64).contains(number));
    number.ok_or_else(|| "must be from 1 to 64".to_owned())
}

/// What `kube-proxy` does.
#[derive(Debug, Subcommand)]
pub(crate) enum KubeProxy {
    /// Write /etc/kubernetes/proxy/config.yml on each node where it differs
    ///
    /// A node whose kernel cannot do what the mode needs (ip_vs; 5.13 for nftables) is left as it is.
    /// kube-proxy reads the file when it starts: restart it, node by node.
    #[command(after_long_help = "Example:\n  control kube-proxy deploy --node worker-1")]
    Deploy {
        /// Only this node; may be given more than once [default: all]
        #[arg(long = "node", value_name = "NAME")]
        nodes: Vec<String>,
    },

    /// Compare the file of each node; writes nothing
    #[command(after_long_help = "Example:\n  control kube-proxy status -o json")]
    Status {
        /// Only this node; may be given more than once [default: all]
        #[arg(long = "node", value_name = "NAME")]
        nodes: Vec<String>,
    },
}

/// Flags of `node-config`.
#[derive(Debug, Args)]
pub(crate) struct NodeConfig {
    /// The node's hostname or address in cluster.yml
    pub(crate) node: String,

    /// Only the file of this program
    pub(crate) part: Option<Part>,
}

/// A program on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// /etc/kubernetes/proxy/config.yml
    KubeProxy,
    /// What kubelet's own configuration must say
    Kubelet,
}

/// Flags of `demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Leave everything running after the checks, to try it by hand, until Ctrl-C
    #[arg(long)]
    pub(crate) stay: bool,

    /// Use the real etcd, kube-apiserver and CoreDNS in this folder in place of stand-ins; by default those in
    /// the folder that KUBEBUILDER_ASSETS names, if it has all three
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) assets: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn help(command: &str) -> String {
        let mut cli = Cli::command().term_width(100);
        cli.build();
        let found = if command.is_empty() {
            &mut cli
        } else {
            cli.find_subcommand_mut(command).unwrap()
        };
        found.render_long_help().to_string()
    }

    #[test]
    fn flags_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        fn look(command: &clap::Command, lacking: &mut Vec<String>) {
            if command.is_hide_set() {
                return;
            }
            let mut below = command.get_subcommands().peekable();
            if below.peek().is_none() {
                let help = command.get_after_long_help();
                let has_example = help.is_some_and(|help| help.to_string().contains("Example"));
                if !has_example {
                    lacking.push(command.get_name().to_owned());
                }
            }
            below.for_each(|command| look(command, lacking));
        }
        let mut lacking = Vec::new();
        look(&Cli::command(), &mut lacking);
        assert!(lacking.is_empty(), "{lacking:?}");
    }

    #[test]
    fn help_is_as_written() {
        insta::assert_snapshot!("help", help(""));
        insta::assert_snapshot!("help_plan", help("plan"));
        insta::assert_snapshot!("help_run", help("run"));
        insta::assert_snapshot!("help_demo", help("demo"));
    }
}
