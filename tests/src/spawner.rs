//! Starts all processes of the harness, from one thread that lives as long as the test process.
//!
//! The kernel is asked to kill a child when the *thread* that started it ends. From a test's own
//! thread that would be too early for what several tests share or a helper thread starts. From this
//! one it means the end of the process, however it comes: return, panic, signal.

use std::io;
use std::path::Path;
use std::process::{self, Child, Command};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, LazyLock};
use std::thread;

use crate::netns::Namespace;

/// A command that runs a program, to be started by [`spawn`].
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    // We may have been killed before setpriv asked the kernel: then the parent is another by now.
    command.args([
        "--pdeathsig",
        "KILL",
        "--",
        "sh",
        "-c",
        r#"[ "$PPID" = "$0" ] && exec "$@""#,
    ]);
    command.arg(process::id().to_string()).arg(program);
    command
}

/// Starts a [`command`] inside a namespace.
pub(crate) fn spawn(command: Command, namespace: Arc<Namespace>) -> io::Result<Child> {
    let (answer, answered) = sync_channel(1);
    SPAWNER
        .send(Request {
            command,
            namespace,
            answer,
        })
        .expect("the spawner runs for ever");
    answered.recv().expect("the spawner answers each request")
}

struct Request {
    command: Command,
    namespace: Arc<Namespace>,
    answer: SyncSender<io::Result<Child>>,
}

static SPAWNER: LazyLock<SyncSender<Request>> = LazyLock::new(|| {
    let (sender, requests) = sync_channel::<Request>(16);
    thread::Builder::new()
        .name("spawner".to_owned())
        .spawn(move || {
            for Request {
                mut command,
                namespace,
                answer,
            } in requests
            {
                let child = namespace.enter().and_then(|_inside| command.spawn());
                // One who does not wait for the answer has panicked; the child goes with the process.
                let _ = answer.send(child);
            }
        })
        .expect("a thread can be started");
    sender
});
