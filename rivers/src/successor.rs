//! Another version of the program, which this process starts in its own place: it takes over as any other
//! would (`handover`). A service manager need not know how; to it the service was reloaded.

use std::{
    env, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use tracing::{error, info};

/// The file that this process was started from.
#[derive(Debug)]
pub(crate) struct Program {
    path: PathBuf,
    /// What lay there then.
    identity: (u64, u64),
}

impl Program {
    /// To be called early: the name is forgotten by the kernel once something else is there.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub(crate) fn of_this_process() -> io::Result<Self> {
        let path = env::current_exe()?;
        let identity = identity(Path::new("/proc/self/exe"))?;
        Ok(Self { path, identity })
    }

    /// Starts what lies there, with our own arguments, if it is another file than the one that runs. Gives
    /// whether it did: the rest is up to the new process, and until it has taken over this one goes on.
    pub(crate) fn start_if_changed(&self) -> bool {
        // While it is being replaced there may be nothing.
        if identity(&self.path).map_or(true, |now| now == self.identity) {
            return false;
        }
        let program = self.path.display().to_string();
        match self.start() {
            Ok(pid) => info!(program, pid, "started the program that lies there now"),
            Err(error) => {
                error!(program, %error, "the new program cannot be started; this process goes on");
            }
        }
        true
    }

    fn start(&self) -> io::Result<u32> {
        let mut command = Command::new(&self.path);
        command.args(env::args_os().skip(1));
        // They name this process; what else they say holds for the next one, too.
        for variable in ["LISTEN_PID", "LISTEN_FDS", "WATCHDOG_PID"] {
            command.env_remove(variable);
        }
        let mut child = command.spawn()?;
        let pid = child.id();
        // A successor ends after this process; one that ends before has not become one.
        let wait = move || {
            if let Ok(status) = child.wait() {
                let status = status.to_string();
                error!(status, "the program that was started has ended");
            }
        };
        thread::Builder::new()
            .name("successor".to_owned())
            .spawn(wait)?;
        Ok(pid)
    }
}

/// What tells one file from another.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_of_the_same_name_is_another_program() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        fs::write(&path, "one").unwrap();
        let before = identity(&path).unwrap();
        fs::write(folder.path().join("other"), "two").unwrap();
        fs::rename(folder.path().join("other"), &path).unwrap();
        assert_ne!(identity(&path).unwrap(), before);
    }

    #[test]
    fn the_same_file_is_not_started_again() {
        assert!(!Program::of_this_process().unwrap().start_if_changed());
    }
}
