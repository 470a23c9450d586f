//! What to start, and with what; a test starts it as a [`Peer`], or runs it to its end.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fmt};

use crate::peer::{self, Peer};
use crate::place::{Place, Site};
use crate::spawner;

/// A program with its arguments and environment, to be started in a place.
///
/// Of the harness's own environment only `PATH` is passed on; `HOME` is the place's folder, and so
/// is the working directory.
#[derive(Debug, Clone)]
pub struct Launch {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    site: Arc<Site>,
}

impl Launch {
    /// Prepares a program. The name is the one in messages and of its log file.
    #[must_use]
    pub fn new(place: &Place, name: &str, program: &Path) -> Self {
        Self {
            name: name.to_owned(),
            program: program.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            site: Arc::clone(place.site()),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(
            arguments
                .into_iter()
                .map(|argument| argument.as_ref().to_owned()),
        );
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Starts it, with standard output and error in one log file. It runs until it is stopped or
    /// killed, or the peer is dropped.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use = "a peer ends when it is dropped"]
    #[track_caller]
    pub fn start(self) -> Peer {
        Peer::start(self)
    }

    /// Runs it to its end.
    ///
    /// # Panics
    ///
    /// When it cannot be started, or has not ended [`RUN_DEADLINE`] later.
    pub async fn run(self) -> Output {
        let base = self
            .site
            .folder()
            .join(format!("{}-{}", self.site.next_number(), self.name));
        let (stdout, stderr) = (
            base.with_added_extension("stdout"),
            base.with_added_extension("stderr"),
        );
        let create = |path: &Path| File::create_new(path).expect("a test can write to its folder");
        let mut child = self.spawn(create(&stdout), create(&stderr));
        let status = peer::exit_of(&mut child, RUN_DEADLINE).await;
        if status.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let read = |path: &Path| fs::read(path).expect("a test can read its folder");
        let output = Output {
            command: self.to_string(),
            status: status.unwrap_or_default(),
            stdout: String::from_utf8_lossy(&read(&stdout)).into_owned(),
            stderr: String::from_utf8_lossy(&read(&stderr)).into_owned(),
        };
        assert!(status.is_some(), "no end within {RUN_DEADLINE:?}: {output}");
        output
    }

    #[track_caller]
    pub(crate) fn spawn(&self, stdout: File, stderr: File) -> Child {
        let mut command = spawner::command(self.program.as_os_str());
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.site.folder())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.site.folder())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr);
        spawner::spawn(command, self.site.namespace())
            .unwrap_or_else(|error: io::Error| panic!("cannot start {self}: {error}"))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn site(&self) -> &Site {
        &self.site
    }
}

/// The command line.
impl fmt::Display for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.program.display())?;
        self.arguments
            .iter()
            .try_for_each(|argument| write!(f, " {}", argument.display()))
    }
}

/// How a program ended, and what it said.
#[derive(Debug, Clone)]
pub struct Output {
    command: String,
    status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// The exit code.
    ///
    /// # Panics
    ///
    /// When a signal ended it.
    #[must_use]
    #[track_caller]
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| panic!("ended by a signal: {self}"))
    }

    /// Asserts success and gives standard output.
    ///
    /// # Panics
    ///
    /// When it failed; the message shows all it said.
    #[track_caller]
    pub fn success(self) -> String {
        assert!(self.status.success(), "{self}");
        self.stdout
    }
}

/// All that is known, for the message of an assertion.
impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            command,
            status,
            stdout,
            stderr,
        } = self;
        write!(
            f,
            "{command}\n{status}\nstandard output:\n{stdout}\nstandard error:\n{stderr}"
        )
    }
}

/// How long a program that is run to its end may take.
pub const RUN_DEADLINE: Duration = Duration::from_secs(60);
