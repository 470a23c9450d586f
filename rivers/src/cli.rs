//! The command line: CKE's flags and the subcommands, into a [`Command`].
//!
//! CKE's rivers is written in Go, whose flags may begin with one dash or two; so may these.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::anyhow;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use daemon::{
    config_file::ConfigError,
    exit::{self, Failure},
    logging::{Format, Level},
};

use crate::config::{
    Balance, Config, Invalid, Mode, Replay,
    address::Address,
    file::{self, AdminAddress, DEFAULT_ADMIN},
    handover::{Generation, Handover, WhenReplaced},
    listen::ListenAddress,
};
use crate::status::Form;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Carry connections; the file that it was read from is read again when it changes.
    Run(Config, Option<Box<Source>>),
    /// Dial every upstream once.
    Check(Config),
    /// Print what the rivers that runs says of its upstreams.
    Status {
        /// Where its admin endpoint is.
        admin: SocketAddr,
        /// How to print it.
        form: Form,
    },
    /// Print why the connection of a client is where it is.
    Explain {
        /// Its address.
        client: SocketAddr,
        /// Where the admin endpoint of the rivers that runs is.
        admin: SocketAddr,
        /// How to print it.
        form: Form,
    },
    /// Print a completion script.
    Completions(Shell),
}

impl Command {
    /// Reads the command line, and the file that it names.
    ///
    /// # Errors
    /// The inner one is what `main` returns: a request for help, or a mistake.
    pub(crate) fn parse(
        args: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, Result<ExitCode, Failure>> {
        let cli: Cli = exit::parse(args.into_iter().map(with_two_dashes))?;
        match cli.subcommand {
            None => {
                let (config, source) = cli.options.config().map_err(Err)?;
                Ok(Self::Run(config, source))
            }
            Some(Sub::Check(options)) => Ok(Self::Check(options.config().map_err(Err)?.0)),
            Some(Sub::Status(asked)) => Ok(Self::Status {
                admin: asked.admin,
                form: asked.output,
            }),
            Some(Sub::Explain { client, asked }) => Ok(Self::Explain {
                client,
                admin: asked.admin,
                form: asked.output,
            }),
            Some(Sub::Completions { shell }) => Ok(Self::Completions(shell)),
        }
    }
}

/// A file, and the flags that go before it.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    flags: Options,
}

impl Source {
    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What file and flags say now.
    ///
    /// # Errors
    /// The file cannot be read, or something in it is wrong.
    pub(crate) fn load(&self) -> Result<Config, ConfigError> {
        let mut config = Config::load(&self.path)?;
        self.flags.go_before(&mut config);
        Ok(config)
    }
}

/// Prints the completion script of `shell`.
pub(crate) fn print_completions(shell: Shell) {
    clap_complete::generate(shell, &mut Cli::command(), "rivers", &mut std::io::stdout());
}

/// `-flag` and `-flag=value` become `--flag` and `--flag=value`. The only short flags are of one letter.
fn with_two_dashes(argument: OsString) -> OsString {
    match argument.to_str().and_then(|text| text.strip_prefix('-')) {
        Some(rest) if rest.len() > 1 && rest.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            format!("--{rest}").into()
        }
        _ => argument,
    }
}

/// TCP load-balancer on each node, in front of the API servers and of etcd.
///
/// Clients on this node connect to --listen; each connection is carried to one of the --upstreams that
/// accepts it. An upstream that is down, slow or gone costs a client a quarter of a second at most while
/// another one answers.
#[derive(Debug, Parser)]
#[command(
    name = "rivers",
    version,
    args_conflicts_with_subcommands = true,
    max_term_width = 100,
    after_help = EXAMPLES
)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    subcommand: Option<Sub>,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Validate the configuration and dial every upstream once; exit code 1 if one cannot be reached
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Box<Options>),
    /// Show the upstreams of the rivers that runs here, what is believed of each and why, and what happened
    /// lately
    #[command(after_help = STATUS_EXAMPLES)]
    Status(Asked),
    /// Tell why the connection of a client is where it is
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain {
        /// The client's own address, IP:PORT, as `ss -tn` shows it
        #[arg(value_name = "CLIENT_ADDR")]
        client: SocketAddr,
        #[command(flatten)]
        asked: Asked,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Which rivers is asked, and how its answer is printed.
#[derive(Debug, Args)]
struct Asked {
    /// Address of the admin endpoint of the rivers that is asked
    #[arg(long, value_name = "ADDR", default_value_t = DEFAULT_ADMIN)]
    admin: SocketAddr,
    /// How to print it
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

#[derive(Debug, Args)]
struct Options {
    /// Configuration file, with one listener or several
    ///
    /// Default: /etc/rivers/rivers.yml when neither --listen nor --upstreams is given.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = [
            "listen", "upstreams", "check_interval", "ca_file", "health_mode", "dial_timeout", "dial_keep_alive", "kubeconfig",
            "replay", "rebalance"
        ]
    )]
    config: Option<PathBuf>,
    /// Where clients connect to: IP:PORT, or :PORT for every address of this host
    #[arg(long, value_name = "ADDR")]
    listen: Option<ListenAddress>,
    /// The servers, as HOST:PORT, separated by commas
    #[arg(long, value_name = "ADDR,…", value_parser = addresses)]
    upstreams: Option<Addresses>,
    /// Kubeconfig with which further API servers are found: the EndpointSlices of the Service `kubernetes`
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Time from one question at /readyz to the next, 100ms to 5m [default: 10s, and a sign of life each 1s]
    #[arg(long, value_name = "TIME", value_parser = daemon::duration::parse)]
    check_interval: Option<Duration>,
    /// PEM file of CA certificates; upstreams whose certificate does not verify get no client
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// What a probe asks an upstream [default: auto]
    #[arg(long, value_name = "MODE", value_enum)]
    health_mode: Option<Mode>,
    /// How long a client waits for some upstream to accept, 50ms to 5m [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = daemon::duration::parse)]
    dial_timeout: Option<Duration>,
    /// Silence after which a peer is asked for a sign of life, 1s to 1h [default: 15s]
    #[arg(long, value_name = "TIME", value_parser = daemon::duration::parse)]
    dial_keep_alive: Option<Duration>,
    /// What is sent again to the next server, when one hung up before it had sent a byte [default: tls]
    #[arg(long, value_name = "WHAT", value_enum)]
    replay: Option<Replay>,
    /// Move quiet connections, slowly, to a server that has come back [default: they stay where they are]
    #[arg(long)]
    rebalance: bool,
    /// How long connections may go on after SIGTERM; 0: as long as they like [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = daemon::duration::parse)]
    shutdown_timeout: Option<Duration>,
    /// Folder of the sockets on which a new process asks this one for all that it serves [default: /run/rivers]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Number of the roll-out; a process never takes over from one with a greater number [default: 0]
    ///
    /// From the pod template's revision or the unit's; it has to grow with a roll-back, too.
    #[arg(long, value_name = "N")]
    generation: Option<u64>,
    /// What to do once a new process has taken over; `wait` is for pods [default: exit]
    #[arg(long, value_enum, value_name = "WHAT")]
    when_replaced: Option<WhenReplaced>,
    /// Address of the status page, /metrics, /healthz and /readyz, or `off` [default: 127.0.0.1:16480]
    #[arg(long, value_name = "ADDR|off")]
    admin: Option<AdminAddress>,
    /// Folder for what outlives the process: the upstreams that were found [default: /var/lib/rivers]
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// File to append the log to [default: standard error]
    #[arg(long, value_name = "FILE")]
    logfile: Option<PathBuf>,
    /// The least important messages that are logged; `debug` has a line for each connection [default: info]
    #[arg(long, value_name = "LEVEL", value_enum, hide_possible_values = false)]
    loglevel: Option<Level>,
    /// The form of log lines [default: plain]
    #[arg(long, value_name = "FORMAT", value_enum)]
    logformat: Option<Format>,
}

impl Options {
    /// The configuration that these flags, or the file that they name, describe.
    fn config(self) -> Result<(Config, Option<Box<Source>>), Failure> {
        let by_flags = self.listen.is_some()
            || self.upstreams.is_some()
            || self.check_interval.is_some()
            || self.ca_file.is_some()
            || self.health_mode.is_some()
            || self.dial_timeout.is_some()
            || self.dial_keep_alive.is_some()
            || self.kubeconfig.is_some()
            || self.replay.is_some()
            || self.rebalance;
        if by_flags {
            return Ok((self.one_listener()?, None));
        }
        let path = match &self.config {
            Some(path) => path.clone(),
            None if PathBuf::from(DEFAULT_FILE).exists() => DEFAULT_FILE.into(),
            None => {
                return Err(Failure::usage(anyhow!(
                    "--listen and --upstreams are missing, and there is no {DEFAULT_FILE}; {EXAMPLE}"
                )));
            }
        };
        let source = Box::new(Source { path, flags: self });
        Ok((source.load()?, Some(source)))
    }

    /// What was given as a flag goes before what a file says.
    fn go_before(&self, config: &mut Config) {
        if let Some(timeout) = self.shutdown_timeout {
            config.shutdown_timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
        }
        if let Some(address) = self.admin {
            config.admin = address.required();
        }
        if let Some(folder) = &self.state_dir {
            config.state_dir.clone_from(folder);
        }
        config.handover = self.handover();
        let log = &mut config.log;
        log.level = self.loglevel.unwrap_or(log.level);
        log.format = self.logformat.unwrap_or(log.format);
        log.file = self.logfile.clone().or_else(|| log.file.take());
    }

    fn handover(&self) -> Handover {
        let default = Handover::default();
        Handover {
            run_dir: self.run_dir.clone().unwrap_or(default.run_dir),
            generation: self.generation.map_or(default.generation, Generation),
            when_replaced: self.when_replaced.unwrap_or(default.when_replaced),
        }
    }

    /// One listener, as CKE starts it. The same validation as for a file, in the words of flags.
    fn one_listener(self) -> Result<Config, Failure> {
        let missing = |flag| Failure::usage(anyhow!("{flag} is missing; {EXAMPLE}"));
        let handover = self.handover();
        let listener = file::Listener {
            name: None,
            health: self.health(),
            listen: self.listen.ok_or_else(|| missing("--listen"))?,
            upstreams: self.upstreams.ok_or_else(|| missing("--upstreams"))?.0,
            discovery: self
                .kubeconfig
                .map(|kubeconfig| file::Discovery { kubeconfig }),
            balance: Balance::default(),
            replay: self.replay.unwrap_or_default(),
            rebalance: self.rebalance,
            rebalance_pace: file::default_rebalance_pace(),
            dial_timeout: self.dial_timeout.unwrap_or_else(file::default_dial_timeout),
            dial_keep_alive: self
                .dial_keep_alive
                .unwrap_or_else(file::default_dial_keep_alive),
        };
        let file = file::File {
            listeners: vec![listener],
            admin: self.admin.unwrap_or_default(),
            workers: None,
            max_connections: None,
            shutdown_timeout: self
                .shutdown_timeout
                .unwrap_or_else(file::default_shutdown_timeout),
            log: file::Log {
                level: self.loglevel.unwrap_or_default(),
                format: self.logformat.unwrap_or_default(),
                file: self.logfile,
            },
        };
        let mut config = Config::try_from(file).map_err(|invalid| in_flags(&invalid))?;
        config.handover = handover;
        // CKE runs a second rivers, for etcd, on the same node with flags that know no admin port.
        if let Some(admin) = &mut config.admin {
            admin.required = false;
        }
        if let Some(folder) = self.state_dir {
            config.state_dir = folder;
        }
        Ok(config)
    }
}

impl Options {
    /// CKE's `check-interval` is the one interval of all probes.
    fn health(&self) -> file::Health {
        let mut health = file::Health {
            ca_file: self.ca_file.clone(),
            mode: self.health_mode.unwrap_or_default(),
            ..file::Health::default()
        };
        if let Some(interval) = self.check_interval {
            health.interval = interval;
            health.readyz_interval = interval;
        }
        health
    }
}

/// `listeners[0].dial_timeout` was given as `--dial-timeout`.
fn in_flags(invalid: &Invalid) -> Failure {
    let field = invalid.field.trim_start_matches("listeners[0].");
    let flag = match field {
        "health.interval" | "health.readyz_interval" => "check-interval".to_owned(),
        "health.ca_file" => "ca-file".to_owned(),
        "health.mode" => "health-mode".to_owned(),
        field if field.starts_with("upstreams") => "upstreams".to_owned(),
        field => field.replace('_', "-"),
    };
    Failure::usage(anyhow!("--{flag}: {}", invalid.message))
}

/// A newtype, since clap has its own idea of a `Vec`.
#[derive(Clone, Debug)]
struct Addresses(Vec<Address>);

fn addresses(text: &str) -> Result<Addresses, String> {
    text.split(',')
        .map(|part| part.trim().parse().map_err(|error| format!("{error}")))
        .collect::<Result<_, _>>()
        .map(Addresses)
}

const DEFAULT_FILE: &str = "/etc/rivers/rivers.yml";

const EXAMPLE: &str =
    "for example: rivers --listen 127.0.0.1:16443 --upstreams 10.0.0.1:6443,10.0.0.2:6443";

const EXAMPLES: &str = "\
Times are written as in Go: 250ms, 10s, 1m30s. Flags may begin with one dash or two.

Examples:
  rivers --listen 127.0.0.1:16443 --upstreams 10.0.0.1:6443,10.0.0.2:6443,10.0.0.3:6443
  rivers --config /etc/rivers/rivers.yml --loglevel debug
  rivers check --listen 127.0.0.1:16443 --upstreams 10.0.0.1:6443

Exit codes: 0 stopped by a signal, 1 it could not run, 2 a flag or the file is wrong.";

const CHECK_EXAMPLES: &str = "\
Examples:
  rivers check
  rivers check --config rivers.yml
  rivers check --listen :16443 --upstreams 10.0.0.1:6443,10.0.0.2:6443";

const STATUS_EXAMPLES: &str = "\
The same is at http://127.0.0.1:16480/ for a browser.

Examples:
  rivers status
  rivers status --admin 127.0.0.1:16481
  rivers status -o json

Exit codes: 0 it was shown, 1 nobody answers, 2 a flag is wrong.";

const EXPLAIN_EXAMPLES: &str = "\
Those that live are known, and the last 32 that have ended on each listener and worker.

Examples:
  ss -tnp dst 127.0.0.1:16443
  rivers explain 127.0.0.1:45678
  rivers explain 127.0.0.1:45678 -o json

Exit codes: 0 it was explained, 1 there is no such connection or nobody answers, 2 a flag is wrong.";

#[cfg(test)]
mod tests;
