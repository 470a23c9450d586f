//! Images without a registry: archives that containerd imports.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::binaries;
use crate::place::Place;
use crate::program;

/// What holds a pod's namespaces.
pub const PAUSE: &str = "localhost/pause:1";

/// A program that waits, and programs that ask for names as any program does.
pub const CLIENT: &str = "localhost/client:1";

/// The image of CoreDNS, under the name that control gives it.
///
/// `None` when there is no CoreDNS on this machine; the skip has then been reported.
///
/// # Panics
///
/// When it cannot be made.
#[must_use]
pub fn coredns(place: &Place, name: &str) -> Option<PathBuf> {
    let program = binaries::built("coredns")?;
    Some(archive(place, name, &[("/coredns", &program)], &[]))
}

/// The image of the process that holds a pod's namespaces.
///
/// `None` when there is no C compiler; the skip has then been reported.
///
/// # Panics
///
/// When it cannot be made.
#[must_use]
pub fn pause(place: &Place) -> Option<PathBuf> {
    let compiler = binaries::packaged("gcc")?;
    let source = place.folder().join("pause.c");
    fs::write(&source, PAUSE_C).expect("a test can write to its folder");
    let program = place.folder().join("pause");
    run(Command::new(compiler)
        .args(["-static", "-O1", "-o"])
        .arg(&program)
        .arg(&source));
    Some(archive(place, PAUSE, &[("/pause", &program)], &[]))
}

/// The image of a client: `sleep`, and `getent` and `dig` with the libraries of this machine.
///
/// `None` when one is missing; the skip has then been reported.
///
/// # Panics
///
/// When it cannot be made.
#[must_use]
pub fn client(place: &Place) -> Option<PathBuf> {
    packaged(place, CLIENT, &["sleep", "getent", "dig"], &[], &[])
}

/// An image of programs of this machine, and of further files, with the libraries that they are linked to; it
/// starts the first program. `flags` are those of `deploy/image/archive.py`.
///
/// `None` when a program is missing; the skip has then been reported.
///
/// # Panics
///
/// When it cannot be made.
#[must_use]
pub fn packaged(
    place: &Place,
    name: &str,
    programs: &[&str],
    further: &[&str],
    flags: &[&str],
) -> Option<PathBuf> {
    let mut files = Vec::new();
    for program in programs {
        files.push(binaries::packaged(program)?);
    }
    files.extend(further.iter().map(PathBuf::from));
    let linked: BTreeSet<PathBuf> = files.iter().flat_map(|file| libraries(file)).collect();
    files.extend(linked);
    let files: Vec<(&str, &Path)> = files
        .iter()
        .map(|file| {
            (
                file.to_str().expect("Debian's paths are ASCII"),
                file.as_path(),
            )
        })
        .collect();
    Some(archive(place, name, &files, flags))
}

/// The images of our programs, as `deploy/images` makes them, of what the tests run.
///
/// # Panics
///
/// When they cannot be made.
#[must_use]
pub fn ours(place: &Place, names: &[&str]) -> Vec<PathBuf> {
    let output = place.folder().join("images");
    let programs = program::path("rivers");
    run(Command::new(root().join("deploy/images"))
        .arg("--programs")
        .arg(programs.parent().expect("a program is in a folder"))
        .arg("--output")
        .arg(&output)
        .args(names));
    names
        .iter()
        .map(|name| output.join(format!("{name}.tar")))
        .collect()
}

/// The folder of the project.
///
/// # Panics
///
/// Never: this crate is in it.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate is a folder of the project")
}

/// An archive of an image with these files, the first of which it starts.
fn archive(place: &Place, name: &str, files: &[(&str, &Path)], flags: &[&str]) -> PathBuf {
    let file = name.replace(['/', ':'], "-");
    let output = place.folder().join(format!("{file}.tar"));
    run(Command::new(root().join("deploy/image/archive.py"))
        .args(["--name", name, "--output"])
        .arg(&output)
        .args(flags)
        .args(
            files
                .iter()
                .map(|(path, file)| format!("{path}={}", file.display())),
        ));
    output
}

/// The files that a program or a library is linked to; none of what is neither.
fn libraries(file: &Path) -> Vec<PathBuf> {
    let said = Command::new("ldd").arg(file).output();
    let said = said.expect("every Debian has ldd").stdout;
    String::from_utf8_lossy(&said)
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect()
}

fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const PAUSE_C: &str = r"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int signal) { _exit(0); }
static void reap(int signal) { while (waitpid(-1, 0, WNOHANG) > 0); }

int main(void) {
  signal(SIGINT, end);
  signal(SIGTERM, end);
  signal(SIGCHLD, reap);
  for (;;) pause();
}
";
