//! Our own programs, as the test's user would start them.

use std::path::PathBuf;

use crate::binaries;
use crate::launch::Launch;
use crate::place::Place;

/// `rivers`, without arguments yet.
///
/// # Panics
///
/// When it has not been built.
#[must_use]
#[track_caller]
pub fn rivers(place: &Place) -> Launch {
    Launch::new(place, "rivers", &binaries::ours("rivers"))
}

/// The file of a program of ours, for a test that starts it in a way of its own.
///
/// # Panics
///
/// When it has not been built.
#[must_use]
#[track_caller]
pub fn path(name: &str) -> PathBuf {
    binaries::ours(name)
}

/// A folder for the sockets of a `rivers` of this place, as its flag: what another test runs under the same
/// address in another place must not be found there.
#[must_use]
pub fn run_dir(place: &Place) -> String {
    format!("--run-dir={}", place.folder().join("run").display())
}

/// `nodedns`, with folders of this place for what is its own, and without other arguments yet: what another
/// test runs must not be found there.
///
/// # Panics
///
/// When it has not been built.
#[must_use]
#[track_caller]
pub fn nodedns(place: &Place) -> Launch {
    let folder = |name: &str| place.folder().join(name).display().to_string();
    Launch::new(place, "nodedns", &binaries::ours("nodedns")).args([
        format!("--run-dir={}", folder("run")),
        format!("--state-dir={}", folder("state")),
    ])
}

/// `control`, without arguments yet.
///
/// # Panics
///
/// When it has not been built.
#[must_use]
#[track_caller]
pub fn control(place: &Place) -> Launch {
    Launch::new(place, "control", &binaries::ours("control"))
}
