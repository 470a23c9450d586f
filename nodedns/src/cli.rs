//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use daemon::{duration, logging};
use hickory_proto::rr::RecordType;

use crate::config::Name;

/// Node-local caching DNS resolver.
///
/// Listens on the node for its pods, answers from its cache, and asks the servers
/// of the zones in its configuration for the rest: CoreDNS for the cluster's
/// names, other resolvers for all others.
///
/// Answers are validated (DNSSEC) from the root's keys down. A zone without servers
/// is resolved from the root's servers down; names in no zone are refused.
#[derive(Debug, Parser)]
#[command(name = "nodedns", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) config: ConfigFile,
    #[command(flatten)]
    pub(crate) folders: Folders,
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
    /// Resolve one name as the server would, and say what the answer is worth.
    ///
    /// Asks in its own process, with the configuration of the server but an empty
    /// cache. Exit code 0: answered, be it that there is no such name; 1: failed, and
    /// the reason is said; 2: the command line or the configuration is wrong.
    #[command(after_help = QUERY_EXAMPLES)]
    Query {
        /// The name, as in `www.example.com`.
        #[arg(value_parser = asked_name)]
        name: Name,
        /// The type of records: a word, as in `AAAA`, or `TYPE65`.
        #[arg(default_value = "A", value_parser = record_type)]
        rtype: RecordType,
        /// Show the way to the answer: zones, each question to a server, referrals,
        /// and each link of the chain of trust.
        #[arg(long)]
        trace: bool,
        /// How to print it. JSON has the way always.
        #[arg(
            short = 'o',
            long = "output",
            value_name = "FORM",
            value_enum,
            default_value_t
        )]
        output: Form,
    },
    /// Say how the running nodedns is: what it is asked, what it knows, how its servers are, who
    /// asks most, what fails and why.
    ///
    /// Exit code 0: said; 1: nodedns does not run; 2: the command line is wrong.
    Status {
        #[command(flatten)]
        output: Output,
    },
    /// Print the nodedns.yml that does what an unbound.conf does.
    ///
    /// Lines without a counterpart are comments at its top, with a word about each. Exit code 0:
    /// printed; 2: the file is no unbound.conf.
    #[command(after_help = IMPORT_EXAMPLES)]
    ImportUnbound {
        /// The unbound.conf.
        file: PathBuf,
    },
    /// What the running nodedns keeps: how much, what, and to have it forgotten.
    ///
    /// Exit code 0: done; 1: nodedns does not run, or refuses; 2: the command line is
    /// wrong.
    #[command(after_help = CACHE_EXAMPLES)]
    Cache {
        #[command(subcommand)]
        what: Cache,
        #[command(flatten)]
        output: Output,
    },
    /// Names that the running nodedns does not validate for a while (RFC 7646).
    ///
    /// For a zone whose owner broke its signatures: its names resolve, unvalidated,
    /// until he has mended them. Exit code 0: done; 1: nodedns does not run, or
    /// refuses; 2: the command line is wrong.
    NegativeAnchor {
        #[command(subcommand)]
        what: NegativeAnchor,
        #[command(flatten)]
        output: Output,
    },
    /// Say whether the running nodedns is ready, for the probe of a pod.
    ///
    /// Asks the very one of --run-dir, and has it ask at its own addresses until the answer
    /// is its own: the one before it may still answer there. Exit code 0: ready; 1: not,
    /// and why.
    Health,
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// What to do with the cache.
#[derive(Debug, Subcommand)]
pub(crate) enum Cache {
    /// Say how full it is.
    Stats,
    /// Forget the answers for a name and all names below it, and those whose aliases
    /// lead there.
    Flush {
        /// The name, as in `example.com`; `.` for everything.
        #[arg(value_parser = Name::from_text)]
        name: Name,
    },
    /// Show the answers for a name and all names below it that may still be used.
    Dump {
        /// The name.
        #[arg(default_value = ".", value_parser = Name::from_text)]
        name: Name,
    },
}

/// What to do with negative anchors.
#[derive(Debug, Subcommand)]
pub(crate) enum NegativeAnchor {
    /// Validate nothing at and below a name, for a time.
    Add {
        /// The name, as in `broken.example`.
        #[arg(value_parser = Name::from_text)]
        name: Name,
        /// For how long: `1d`, `12h`, `90m`; a week at most.
        #[arg(long = "for", value_name = "TIME", value_parser = lifetime)]
        lifetime: Duration,
        /// Why, for those who find it later.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Show all that were set by hand, and when each ends.
    List,
    /// Validate at and below a name again.
    Remove {
        /// The name.
        #[arg(value_parser = Name::from_text)]
        name: Name,
    },
}

/// How what came of a command is printed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Output {
    /// How to print what came of it.
    #[arg(
        short = 'o',
        long = "output",
        value_name = "FORM",
        value_enum,
        default_value_t,
        global = true
    )]
    pub(crate) form: Form,
}

/// How something is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Form {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// A name; what people paste instead is told from one.
fn asked_name(text: &str) -> Result<Name, String> {
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split(['/', ':', '?', '#']).next().unwrap_or(rest);
        return Err(format!(
            "`{text}` is a URL; ask for its host alone: `{host}`"
        ));
    }
    if text.contains(char::is_whitespace) {
        return Err(format!(
            "`{text}` has a space in it; write one name, as in `www.example.com`, and the type after it"
        ));
    }
    Name::from_text(text).map_err(|error| error.to_string())
}

fn record_type(text: &str) -> Result<RecordType, String> {
    let upper = text.to_ascii_uppercase();
    let number = upper
        .strip_prefix("TYPE")
        .and_then(|number| number.parse().ok());
    number
        .map(|number: u16| RecordType::from(number))
        .or_else(|| upper.parse().ok())
        .ok_or_else(|| {
            let hint = if text.contains('.') {
                " (the name comes first, then the type)"
            } else {
                ""
            };
            format!("`{text}` is no type of records{hint}; write one as in `AAAA`, or its number as in `TYPE65`")
        })
}

/// Whole days (`1d`), or as everywhere (`36h`).
fn lifetime(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse().ok());
    match days {
        Some(days) => Ok(DAY.saturating_mul(days)),
        None => duration::parse(text).map_err(|error| error.to_string()),
    }
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Where nodedns keeps what is its own.
#[derive(Debug, Args)]
pub(crate) struct Folders {
    /// The folder of the socket over which commands reach the nodedns that runs.
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "/run/nodedns",
        global = true
    )]
    pub(crate) run_dir: PathBuf,
    /// The folder of what outlives a restart: keys learned, negative trust anchors.
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "/var/lib/nodedns",
        global = true
    )]
    pub(crate) state_dir: PathBuf,
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

const QUERY_EXAMPLES: &str = "\
Examples:

  nodedns query kubernetes.default.svc.cluster.local
  nodedns query www.example.com AAAA --trace    why is it slow, insecure, bogus?
  nodedns query example.com MX -o json | jq .verdict";

const IMPORT_EXAMPLES: &str = "\
Examples:

  nodedns import-unbound unbound.conf > nodedns.yml && nodedns check --config nodedns.yml
  kubectl -n kube-system get configmap node-dns -o 'jsonpath={.data.unbound\\.conf}' > unbound.conf";

const CACHE_EXAMPLES: &str = "\
Examples:

  nodedns cache stats
  nodedns cache dump example.com -o json
  nodedns cache flush www.example.com    its owner has mended it, and it is wanted now";

const EXAMPLES: &str = "\
The least configuration, with CoreDNS behind 10.96.0.10:

  zones:
  - {name: cluster.local., forward: [\"tcp://10.96.0.10\"]}
  - {name: ., forward: [\"192.0.2.53\", \"192.0.2.54\"]}

Examples:

  nodedns check --config nodedns.yml    is it right, and does everybody answer?
  nodedns --config nodedns.yml          serve, until SIGTERM
  nodedns query www.example.com --trace how is a name resolved, and why so?
  nodedns status                        how is it, who asks most, what fails?
  nodedns cache flush example.com       ask for its names anew
  nodedns negative-anchor add broken.example --for 1d --reason \"ticket 4711\"
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

    #[test]
    fn a_question_is_a_name_and_a_type() {
        let parse = |arguments: &[&str]| {
            let line = ["nodedns", "query"].iter().chain(arguments);
            Cli::try_parse_from(line).map_err(|error| error.to_string())
        };
        for (arguments, expected) in [
            (
                &["www.example.com"][..],
                ("www.example.com.", RecordType::A),
            ),
            (&["EXAMPLE.", "mx"], ("example.", RecordType::MX)),
            (&[".", "TYPE48"], (".", RecordType::DNSKEY)),
        ] {
            let cli = parse(arguments).unwrap();
            let Some(Command::Query { name, rtype, .. }) = cli.command else {
                panic!("{cli:?}")
            };
            assert_eq!((name.to_string().as_str(), rtype), expected);
        }
        for (arguments, part) in [
            (&["www example.com"][..], "has a space in it"),
            (
                &["https://www.example.com:443/a"],
                "its host alone: `www.example.com`",
            ),
            (&["www..example.com"], "is not a domain name"),
            (
                &["www.example.com", "AAA"],
                "`AAA` is no type of records; write one as in `AAAA`",
            ),
            (&["AAAA", "www.example.com"], "the name comes first"),
            (&["www.example.com", "TYPE70000"], "is no type of records"),
            (&[], "<NAME>"),
        ] {
            let error = parse(arguments).unwrap_err();
            assert!(error.contains(part), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn a_negative_anchor_must_have_an_end_and_a_reason() {
        let parse =
            |line: &str| Cli::try_parse_from(line.split(' ')).map_err(|error| error.to_string());
        let add = "nodedns negative-anchor add broken.example";
        let cli = parse(&format!("{add} --for 2d --reason why -o json")).unwrap();
        let Some(Command::NegativeAnchor { what, output }) = cli.command else {
            panic!("{cli:?}")
        };
        assert_eq!(output.form, Form::Json);
        assert!(
            matches!(what, NegativeAnchor::Add { lifetime, .. } if lifetime == 2 * DAY),
            "{what:?}"
        );
        for (rest, part) in [
            ("--reason why", "--for <TIME>"),
            ("--for 1d", "--reason <TEXT>"),
            ("--for 1w --reason why", "unknown unit `w`"),
            ("--for 1 --reason why", "has no unit"),
        ] {
            let error = parse(&format!("{add} {rest}")).unwrap_err();
            assert!(error.contains(part), "{rest}: {error}");
        }
        let error = parse("nodedns negative-anchor remove a..b").unwrap_err();
        assert!(error.contains("is not a domain name"), "{error}");
    }
}
