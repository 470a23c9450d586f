//! What to start, and with what; a test starts it as a [`Peer`], or runs it to its end.

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fmt};

use crate::netns::Namespace;
use crate::peer::Peer;
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
    stdin: Option<Arc<OwnedFd>>,
    site: Arc<Site>,
    /// Where it is started, if not where the place is.
    namespace: Option<Arc<Namespace>>,
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
            stdin: None,
            site: Arc::clone(place.site()),
            namespace: None,
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

    /// Makes a descriptor of the test its standard input, also when it is started again.
    #[must_use]
    pub fn stdin(mut self, descriptor: impl Into<OwnedFd>) -> Self {
        self.stdin = Some(Arc::new(descriptor.into()));
        self
    }

    /// Has it started on another machine than the place.
    #[must_use]
    pub(crate) fn inside(mut self, namespace: Arc<Namespace>) -> Self {
        self.namespace = Some(namespace);
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
        let log = self.file("log");
        Peer::start(self, log.clone(), log)
    }

    /// Runs it to its end.
    ///
    /// # Panics
    ///
    /// When it cannot be started, or has not ended [`RUN_DEADLINE`] later.
    pub async fn run(self) -> Output {
        self.run_within(RUN_DEADLINE).await
    }

    /// [`Self::run`] of what takes longer than most.
    ///
    /// # Panics
    ///
    /// When it cannot be started, or has not ended `deadline` later.
    pub async fn run_within(self, deadline: Duration) -> Output {
        let command = self.to_string();
        let [stdout, stderr] = ["stdout", "stderr"].map(|kind| self.file(kind));
        let mut peer = Peer::start(self, stdout.clone(), stderr.clone());
        let in_time = peer.exited(deadline).await.is_some();
        let [stdout, stderr] = [stdout, stderr].map(|file| read(&file));
        let output = Output {
            command,
            status: peer.kill(),
            stdout,
            stderr,
        };
        assert!(in_time, "no end within {deadline:?}: {output}");
        output
    }

    /// A new file of the place's folder, named after this program.
    fn file(&self, kind: &str) -> PathBuf {
        let file = format!("{}-{}.{kind}", self.site.next_number(), self.name);
        self.site.folder().join(file)
    }

    /// Starts it with its outputs appended to files.
    #[track_caller]
    pub(crate) fn spawn(&self, stdout: &Path, stderr: &Path) -> Child {
        let open = |file: &Path| {
            let opened = OpenOptions::new().create(true).append(true).open(file);
            opened.expect("a test can write to its folder")
        };
        let stdin = self.stdin.as_ref().map_or_else(Stdio::null, |descriptor| {
            let own = descriptor.try_clone();
            own.expect("a test has descriptors left").into()
        });
        let mut command = spawner::command(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.site.folder())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.site.folder())
            .stdin(stdin)
            .stdout(open(stdout))
            .stderr(open(stderr));
        let namespace = self.namespace.clone();
        spawner::spawn(command, namespace.unwrap_or_else(|| self.site.namespace()))
            .unwrap_or_else(|error| panic!("cannot start {self}: {error}"))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
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

/// What a program wrote to a file.
pub(crate) fn read(file: &Path) -> String {
    let text = fs::read(file).expect("a test can read its folder");
    String::from_utf8_lossy(&text).into_owned()
}

/// How long a program that is run to its end may take.
pub const RUN_DEADLINE: Duration = Duration::from_secs(60);
