//! The log of a program: one line an event, a phrase and fields, to standard
//! error or a file, in one of three formats.
//!
//! Levels: `error` a person must act, `warn` a person may have to, `info` the
//! state changed, `debug` one connection or query.

mod line;

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use line::{Line, Style};

/// How much is said. CKE's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Only what a person must act upon; CKE's name for `error`.
    Critical,
    /// What a person must act upon.
    Error,
    /// What a person may have to act upon, too.
    #[serde(alias = "warning")]
    #[value(alias = "warning")]
    Warn,
    /// Changes of state, too.
    #[default]
    Info,
    /// Each connection or query, too.
    Debug,
}

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// For people: time, level, phrase, fields.
    #[default]
    Plain,
    /// `ts=… level=… msg="…" key=value`.
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// Where the log goes and what it says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The least important level that is written.
    pub level: Level,
    /// The form of each line.
    pub format: Format,
    /// A file to append to; standard error when absent.
    pub file: Option<PathBuf>,
}

/// The installed log.
#[derive(Debug)]
pub struct Log(reload::Handle<Targets, Registry>);

impl Log {
    /// From now on this is the least important level that is written.
    pub fn set_level(&self, level: Level) {
        // It fails once the log is gone, which outlives the program.
        let _ = self.0.reload(filter(level));
    }
}

/// Installs the log of this process. Only composition roots call it.
///
/// Dependencies are heard from `warn` on only.
///
/// # Errors
/// The file cannot be opened, or a log is installed already.
pub fn init(options: &Options) -> anyhow::Result<Log> {
    let writer = match &options.file {
        None => BoxMakeWriter::new(std::io::stderr),
        Some(path) => BoxMakeWriter::new(Arc::new(open(path)?)),
    };
    let (filter, level) = reload::Layer::new(filter(options.level));
    tracing_subscriber::registry()
        .with(filter)
        .with(layer(options.format, writer))
        .try_init()
        .context("the log is installed already")?;
    Ok(Log(level))
}

fn layer<S, W>(format: Format, writer: W) -> Box<dyn tracing_subscriber::Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        Format::Plain => Box::new(layer.event_format(Line(Style::Plain))),
        Format::Logfmt => Box::new(layer.event_format(Line(Style::Logfmt))),
        Format::Json => Box::new(layer.json().flatten_event(true).with_current_span(false)),
    }
}

fn filter(level: Level) -> Targets {
    let ours = match level {
        Level::Critical | Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    let theirs = ours.min(LevelFilter::WARN);
    Targets::new()
        .with_default(theirs)
        .with_targets(OURS.map(|target| (target, ours)))
}

fn open(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| {
            format!(
                "cannot open the log file {}: name a file in a folder that exists and is writable",
                path.display()
            )
        })
}

/// Crates of this workspace, and the target of access lines.
const OURS: [&str; 5] = ["daemon", "rivers", "nodedns", "control", "access"];

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines(format: Format, level: Level) -> Vec<String> {
        let captured = Captured::default();
        let writer = captured.clone();
        let subscriber = tracing_subscriber::registry()
            .with(filter(level))
            .with(layer(format, move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "rivers", upstream = "10.9.0.2:6443", why = "no \"answer\"\n", "upstream is down");
            tracing::debug!(target: "rivers", "detail");
            tracing::info!(target: "hyper", "noise");
        });
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes)
            .unwrap()
            .lines()
            .map(ToOwned::to_owned)
            .collect()
    }

    #[test]
    fn plain_lines_have_time_level_phrase_and_fields() {
        let lines = lines(Format::Plain, Level::Info);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let (time, rest) = lines[0].split_once(' ').unwrap();
        assert!(time.ends_with('Z'), "{time}");
        assert_eq!(
            rest,
            r#"info upstream is down upstream=10.9.0.2:6443 why="no \"answer\"\n""#
        );
    }

    #[test]
    fn logfmt_lines_are_pairs() {
        let lines = lines(Format::Logfmt, Level::Info);
        assert!(
            lines[0].ends_with(
                r#" level=info msg="upstream is down" upstream=10.9.0.2:6443 why="no \"answer\"\n""#
            ),
            "{}",
            lines[0]
        );
    }

    #[test]
    fn json_lines_are_objects() {
        let lines = lines(Format::Json, Level::Info);
        assert!(lines[0].starts_with('{') && lines[0].ends_with('}'));
        assert!(
            lines[0].contains(r#""upstream":"10.9.0.2:6443""#),
            "{}",
            lines[0]
        );
    }

    #[test]
    fn debug_adds_our_detail_but_not_that_of_dependencies() {
        assert_eq!(lines(Format::Plain, Level::Debug).len(), 2);
    }

    #[test]
    fn an_unwritable_log_file_is_named() {
        let error = init(&Options {
            file: Some(PathBuf::from("/nonexistent/rivers.log")),
            ..Options::default()
        })
        .unwrap_err();
        assert!(error.to_string().contains("/nonexistent/rivers.log"));
    }
}
