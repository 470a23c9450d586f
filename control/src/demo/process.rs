//! The demo's child processes: started with a log file, watched, stopped, never left behind.
//!
//! Every child is this program's own executable under the hidden command `demo-part`
//! ([`super::part`]), which either is a stand-in or turns into rivers or nodedns. Either way the kernel
//! kills it when control goes, even by SIGKILL. Ctrl-C reaches control alone, since each child has a
//! process group of its own: control decides what stops when.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Starts children with their logs in one folder.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    executable: PathBuf,
    logs: PathBuf,
}

/// A running child. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

/// What a stand-in writes on its standard output, as one line of JSON, once it listens.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// A signed zone's key, as a line of a trust anchor file.
    pub(crate) trust_anchor: Option<String>,
}

impl Launcher {
    /// A launcher of `executable`'s parts, which has to be called from the process's main thread:
    /// the kernel takes the end of the thread that started a child for the end of its parent.
    pub(crate) fn new(executable: PathBuf, logs: &Path) -> Self {
        Self {
            executable,
            logs: logs.to_owned(),
        }
    }

    /// Starts `program`, a real binary, as `name`.
    pub(crate) fn program<A: AsRef<OsStr>>(
        &self,
        name: &str,
        program: &Path,
        arguments: &[A],
    ) -> anyhow::Result<Process> {
        let mut command = self.part(name, "program")?;
        command.arg("--").arg(program).args(arguments);
        self.spawn(name, command.stdout(self.log(name)?))
    }

    /// Starts the stand-in that `arguments` describe as `name`, and waits until it listens.
    pub(crate) async fn stand_in<A: AsRef<OsStr>>(
        &self,
        name: &str,
        kind: &str,
        arguments: &[A],
    ) -> anyhow::Result<(Process, Ready)> {
        let mut command = self.part(name, kind)?;
        command.args(arguments).stdout(Stdio::piped());
        let mut process = self.spawn(name, &mut command)?;
        let stdout = process.child.stdout.take().context("stdout is piped")?;
        let mut line = String::new();
        let mut reader = BufReader::new(stdout.take(READY_LINE_LIMIT));
        tokio::time::timeout(START_PATIENCE, reader.read_line(&mut line))
            .await
            .with_context(|| format!("the stand-in {name} does not start"))??;
        match serde_json::from_str(&line) {
            Ok(ready) => Ok((process, ready)),
            Err(_) => bail!(
                "the stand-in {name} does not start: {}",
                process.last_lines(1).join(" ")
            ),
        }
    }

    fn part(&self, name: &str, kind: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(&self.executable);
        command
            .args(["demo-part", "--parent", &std::process::id().to_string()])
            .arg(kind)
            .stdin(Stdio::null())
            .stderr(self.log(name)?)
            .process_group(0)
            .kill_on_drop(true);
        Ok(command)
    }

    fn spawn(&self, name: &str, command: &mut Command) -> anyhow::Result<Process> {
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", self.executable.display()))?;
        Ok(Process {
            name: name.to_owned(),
            log: self.log_path(name),
            child,
        })
    }

    fn log(&self, name: &str) -> anyhow::Result<File> {
        let path = self.log_path(name);
        File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn log_path(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }
}

impl Process {
    /// The name it was started under.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How it ended, if it has.
    pub(crate) fn exited(&mut self) -> std::io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// SIGKILL; returns when the process is gone.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.child
            .kill()
            .await
            .with_context(|| format!("cannot kill {}", self.name))
    }

    /// SIGTERM; gives how the process ended. One that has not ended after `patience` is an error.
    pub(crate) async fn terminate(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let pid = self
            .child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()))
            .with_context(|| format!("{} has ended before", self.name))?;
        kill_process(pid, Signal::TERM)
            .with_context(|| format!("cannot send SIGTERM to {}", self.name))?;
        match tokio::time::timeout(patience, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!(
                "{} still runs {} s after SIGTERM",
                self.name,
                patience.as_secs()
            ),
        }
    }

    /// The last lines of its log, at most `count`; none if it cannot be read.
    pub(crate) fn last_lines(&self, count: usize) -> Vec<String> {
        let tail = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
            let mut tail = Vec::new();
            file.take(LOG_TAIL).read_to_end(&mut tail)?;
            Ok(tail)
        };
        let tail = tail().unwrap_or_default();
        let text = String::from_utf8_lossy(&tail);
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines[lines.len().saturating_sub(count)..].to_vec()
    }
}

/// How much of each log is shown after a failure.
pub(crate) const LOG_LINES: usize = 5;
const START_PATIENCE: Duration = Duration::from_secs(10);
const READY_LINE_LIMIT: u64 = 4096;
const LOG_TAIL: u64 = 8192;
