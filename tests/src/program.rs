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
