//! Finds what a test starts: the peers, and our own programs. A peer that is not there skips the
//! test loudly; a program of ours that is not there is an error.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Finds a peer that `tests/peers/build` builds.
///
/// `None` when it is not there; the skip has then been reported, and the test returns.
pub fn built(name: &str) -> Option<PathBuf> {
    let folders = [
        env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from),
        built_peers(),
    ];
    find(name, folders.into_iter().flatten(), "run tests/peers/build")
}

/// Finds a peer that `tests/peers/packages` installs.
///
/// `None` when it is not there; the skip has then been reported, and the test returns.
pub fn packaged(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Daemons are in /usr/sbin, which is not in the PATH of every user.
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    find(name, folders, "run tests/peers/packages")
}

/// Finds a program of this workspace, where cargo puts it for the profile of this test.
///
/// # Panics
///
/// When it has not been built.
#[track_caller]
pub(crate) fn ours(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a running program has a path");
    // target/PROFILE/deps/TEST-HASH
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("cargo puts tests three levels deep");
    let program = profile.join(name);
    assert!(
        is_executable(&program),
        "{} is missing: run `cargo build --workspace --bins` first",
        program.display()
    );
    program
}

/// Says that the running test cannot do its work here: on standard error, past the capture of the
/// test runner, and in the file that `TESTS_SKIPPED` names, from where `tests/run` takes it.
///
/// `name` is what is missing, one word; `why` says how to get it, or that this machine cannot.
pub fn skip(name: &str, why: &str) {
    // A report that cannot be written must not pass for a test that ran.
    writeln!(std::io::stderr(), "skipped: {name}: {why}").expect("standard error takes a line");
    let Some(file) = env::var_os("TESTS_SKIPPED") else {
        return;
    };
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(&file)
        .and_then(|mut file| file.write_all(format!("{name}: {why}\n").as_bytes()))
        .unwrap_or_else(|error| panic!("TESTS_SKIPPED={}: {error}", file.display()));
}

fn find(name: &str, folders: impl Iterator<Item = PathBuf>, remedy: &str) -> Option<PathBuf> {
    let found = folders
        .map(|folder| folder.join(name))
        .find(|path| is_executable(path));
    if found.is_none() {
        skip(name, &format!("not found; {remedy}"));
    }
    found
}

/// Where `tests/peers/build` leaves its results.
fn built_peers() -> Option<PathBuf> {
    let cache = env::var_os("PEERS_CACHE").map(PathBuf::from).or_else(|| {
        let caches = env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(env::home_dir()?.join(".cache")))?;
        Some(caches.join("node-dataplane/peers"))
    })?;
    Some(cache.join("bin"))
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
