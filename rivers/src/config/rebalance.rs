//! How fast connections drift to an upstream that has come back.

use super::Invalid;

/// The share of a listener's connections that is moved in a time: 1 % to 600 % a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    percent_a_minute: u16,
}

impl Pace {
    pub(super) fn from_file(
        is_wanted: bool,
        percent_a_minute: u16,
        at: &str,
    ) -> Result<Option<Self>, Invalid> {
        if !(1..=600).contains(&percent_a_minute) {
            let message = "must be between 1 and 600, percent of the connections in a minute";
            return Err(Invalid::new(format!("{at}.rebalance_pace"), message));
        }
        Ok(is_wanted.then_some(Self { percent_a_minute }))
    }

    /// The share of the connections that is moved in a second.
    #[must_use]
    pub fn a_second(self) -> f64 {
        f64::from(self.percent_a_minute) / 100.0 / 60.0
    }
}

impl Default for Pace {
    /// A third of the connections, which is what one of three servers is owed, takes eight minutes; in a
    /// cluster of a thousand nodes no ten seconds see as much as one in a hundred closed, chance included.
    fn default() -> Self {
        Self {
            percent_a_minute: DEFAULT,
        }
    }
}

/// In a file.
pub(super) const DEFAULT: u16 = 4;
