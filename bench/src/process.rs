//! A program that runs beside others, and what it has used.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

/// A process. Dropping it kills it.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Takes it over.
    #[must_use]
    pub const fn of(child: Child) -> Self {
        Self(child)
    }

    /// The CPU time that it has used so far, user and system, all its threads together.
    ///
    /// # Errors
    /// It is gone.
    pub fn cpu(&self) -> io::Result<Duration> {
        let mut total = 0;
        for thread in fs::read_dir(self.file("task"))? {
            // proc-schedstat: nanoseconds on a CPU first. Finer than the ticks in `stat`.
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            let nanoseconds = text
                .split(' ')
                .next()
                .and_then(|word| word.parse::<u64>().ok());
            total += nanoseconds.ok_or_else(|| io::Error::other("no schedstat"))?;
        }
        Ok(Duration::from_nanos(total))
    }

    /// Its resident memory, in bytes.
    ///
    /// # Errors
    /// It is gone.
    pub fn memory(&self) -> io::Result<u64> {
        let status = fs::read_to_string(self.file("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        Ok(kilobytes.unwrap_or(0) * 1024)
    }

    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0.id()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended by itself if not.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
