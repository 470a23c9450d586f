//! A process that a test started and owns: signals, restarts, its log, its end.

use std::fmt::Display;
use std::fs;
use std::future::Future;
use std::panic::Location;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process};

use crate::launch::{Launch, read};
use crate::wait;

pub use rustix::process::Signal;

/// A running process, or one that has ended and can be started again. Dropping it kills it.
#[derive(Debug)]
pub struct Peer {
    launch: Launch,
    /// Standard output goes here, and standard error to `log`, which may be the same.
    stdout: PathBuf,
    log: PathBuf,
    child: Child,
    /// Set once it has ended.
    ended: Option<ExitStatus>,
}

impl Peer {
    #[track_caller]
    pub(crate) fn start(launch: Launch, stdout: PathBuf, log: PathBuf) -> Self {
        let child = launch.spawn(&stdout, &log);
        Self {
            launch,
            stdout,
            log,
            child,
            ended: None,
        }
    }

    /// Waits until `attempt` succeeds.
    ///
    /// # Panics
    ///
    /// When it has not within that time, or the process ends before; the message has the attempt's
    /// last error and the end of the log.
    #[track_caller]
    pub fn ready<T, E: Display>(
        &mut self,
        within: Duration,
        attempt: impl AsyncFnMut() -> Result<T, E>,
    ) -> impl Future<Output = T> {
        let caller = Location::caller();
        async move {
            let name = self.launch.name().to_owned();
            let ended = async {
                let status = exit_of(&mut self.child, Duration::MAX).await;
                self.ended = status;
                status.expect("waited for without end")
            };
            let failure = tokio::select! {
                attempted = wait::attempts(within, attempt) => match attempted {
                    Ok(value) => return value,
                    Err(error) => format!("is not ready within {within:?}: {error}"),
                },
                status = ended => format!("ended before it was ready, {status}"),
            };
            let log = self.log_tail();
            panic!("{caller}: {name} {failure}\n{}\n{log}", self.launch);
        }
    }

    /// Sends a signal; an ended process takes none.
    pub fn signal(&self, signal: Signal) {
        if self.ended.is_none() {
            // Not reaped yet, so the number is still this process's.
            kill_process(self.pid(), signal).expect("a child of ours takes signals from us");
        }
    }

    /// Freezes it: its sockets stay, nothing answers (SIGSTOP). Returns when every thread of it stands.
    ///
    /// # Panics
    ///
    /// When it has not within some seconds.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        let start = Instant::now();
        while self.ended.is_none() && !self.stands() {
            assert!(start.elapsed() < SAYING, "{} goes on", self.launch.name());
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether every thread is stopped (proc(5): the state follows the name in parentheses).
    fn stands(&self) -> bool {
        let tasks = format!("/proc/{}/task", self.pid().as_raw_nonzero());
        let tasks = fs::read_dir(tasks).expect("a child that was not waited for has an entry");
        tasks.flatten().all(|task| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            let state = stat.rsplit(") ").next().unwrap_or_default();
            // A thread that has gone meanwhile, or is not reaped.
            state.is_empty() || state.starts_with(['T', 'Z', 'X'])
        })
    }

    /// Lets a frozen process go on (SIGCONT).
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills it and waits for its end (SIGKILL). How it ended is told if it had before.
    pub fn kill(&mut self) -> ExitStatus {
        *self.ended.get_or_insert_with(|| {
            // An error means that it has ended by itself meanwhile.
            let _ = self.child.kill();
            self.child.wait().expect("a child can be waited for")
        })
    }

    /// Asks it to end (SIGTERM), and kills it if it has not within half a minute.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.exited(STOP_DEADLINE).await;
        self.kill()
    }

    /// Waits until it ends by itself or by a signal sent before; `None` when it has not by then.
    pub async fn exited(&mut self, within: Duration) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = exit_of(&mut self.child, within).await;
        }
        self.ended
    }

    /// Starts it again, the same as before and with the same log; kills it first if it runs.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        self.child = self.launch.spawn(&self.stdout, &self.log);
        self.ended = None;
    }

    /// Whether it runs (or is frozen).
    pub fn is_running(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child can be asked for");
        }
        self.ended.is_none()
    }

    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// All it said so far, on standard output and error, restarts included.
    #[must_use]
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// Waits until it has said this, as part of whatever else it says.
    ///
    /// # Panics
    ///
    /// When it has not within some seconds; with the whole log.
    pub async fn says(&self, text: &str) {
        wait::until(text, SAYING, async || {
            let log = self.log();
            if log.contains(text) { Ok(()) } else { Err(log) }
        })
        .await;
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_TAIL)..];
        format!(
            "end of the log of {}:\n{}",
            self.launch.name(),
            tail.join("\n")
        )
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
    }
}

/// Waits for the end of a child, without blocking the test's thread.
async fn exit_of(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be asked for") {
            return Some(status);
        }
        if start.elapsed() >= within {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How long a process may take to end after SIGTERM.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// For words that follow at once on an idle machine.
const SAYING: Duration = Duration::from_secs(20);

/// Lines of a log that a failed test shows.
const LOG_TAIL: usize = 40;
