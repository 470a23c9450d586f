//! A line in the log that is worth one and not a thousand: at most one in a while,
//! with the number of those that were left out. Pure: the time is an argument.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// One kind of line.
#[derive(Debug)]
pub(super) struct Sampled {
    every: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    left_out: u64,
}

impl Sampled {
    /// A line in that time.
    pub(super) const fn every(every: Duration) -> Self {
        Self {
            every,
            state: Mutex::new(State {
                last: None,
                left_out: 0,
            }),
        }
    }

    /// Whether there is something to be written at `now`: then how many lines were
    /// left out since the last.
    pub(super) fn take(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| now < last + self.every) {
            state.left_out += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_many_is_written_and_tells_of_the_others() {
        let sampled = Sampled::every(Duration::from_secs(1));
        let now = Instant::now();
        let at = |millis| sampled.take(now + Duration::from_millis(millis));
        assert_eq!(at(0), Some(0));
        assert_eq!([at(1), at(500), at(999)], [None; 3]);
        assert_eq!(at(1_000), Some(3));
        assert_eq!(at(2_500), Some(0));
    }
}
