//! Our own programs, as the test's user would start them.

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

/// A folder for the sockets of a `rivers` of this place, as its flag: what another test runs under the same
/// address in another place must not be found there.
#[must_use]
pub fn run_dir(place: &Place) -> String {
    format!("--run-dir={}", place.folder().join("run").display())
}

/// `nodedns`, without arguments yet.
///
/// # Panics
///
/// When it has not been built.
#[must_use]
#[track_caller]
pub fn nodedns(place: &Place) -> Launch {
    Launch::new(place, "nodedns", &binaries::ours("nodedns"))
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
