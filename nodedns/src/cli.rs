//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use daemon::logging;

/// Node-local caching DNS resolver.
///
/// Listens on the node for its pods, answers from its cache, and asks the servers
/// of the zones in its configuration for the rest: CoreDNS for the cluster's
/// names, other resolvers for all others.
///
/// Answers are not validated (DNSSEC) yet, and names in no zone are refused.
#[derive(Debug, Parser)]
#[command(name = "nodedns", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) config: ConfigFile,
    #[command(flatten)]
    pub(crate) log: Log,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check the configuration, and ask each of its servers once.
    ///
    /// Exit code 0: each zone has a server that answers; 1: one has none; 2: the
    /// configuration is wrong, and the line and column say where.
    Check,
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// The configuration.
    #[arg(
        long = "config",
        value_name = "FILE",
        default_value = "/etc/nodedns/nodedns.yml",
        global = true
    )]
    pub(crate) path: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Log {
    /// The least important lines that are written; `debug` has one for each
    /// question that the cache did not know.
    #[arg(long = "log-level", value_name = "LEVEL", value_enum, default_value_t)]
    level: logging::Level,
    /// How lines are written.
    #[arg(
        long = "log-format",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    format: logging::Format,
    /// Append to this file instead of writing to standard error.
    #[arg(long = "log-file", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Log {
    /// What the log is set up with.
    pub(crate) fn options(&self) -> logging::Options {
        logging::Options {
            level: self.level,
            format: self.format,
            file: self.file.clone(),
        }
    }
}

const EXAMPLES: &str = "\
The least configuration, with CoreDNS behind 10.96.0.10:

  zones:
  - {name: cluster.local., forward: [\"tcp://10.96.0.10\"]}
  - {name: ., forward: [\"192.0.2.53\", \"192.0.2.54\"]}

Examples:

  nodedns check --config nodedns.yml    is it right, and does everybody answer?
  nodedns --config nodedns.yml          serve, until SIGTERM
  dig @127.0.0.1 kubernetes.default.svc.cluster.local
  curl http://127.0.0.1:9253/metrics    what it does";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn config_may_stand_before_and_after_the_command() {
        for args in [
            ["nodedns", "--config", "f", "check"],
            ["nodedns", "check", "--config", "f"],
        ] {
            let cli = Cli::try_parse_from(args).unwrap();
            assert_eq!(cli.config.path, PathBuf::from("f"));
        }
    }
}
