//! Waits for a condition, with a deadline; tests never sleep.

use std::fmt::Display;
use std::future::Future;
use std::panic::Location;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

/// Tries until an attempt succeeds, and gives its value. An attempt that hangs counts as failed at
/// the deadline.
///
/// # Panics
///
/// When none has within that time: with the caller's line, `what` and the last error.
#[track_caller]
pub fn until<T, E: Display>(
    what: &str,
    within: Duration,
    attempt: impl AsyncFnMut() -> Result<T, E>,
) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move {
        match attempts(within, attempt).await {
            Ok(value) => value,
            Err(error) => panic!("{caller}: {what}: not within {within:?}: {error}"),
        }
    }
}

/// [`until`], with the last error instead of a panic.
pub(crate) async fn attempts<T, E: Display>(
    within: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, String> {
    let start = Instant::now();
    let mut last = "the first attempt still waits".to_owned();
    let mut pause = FIRST_PAUSE;
    loop {
        let left = within.saturating_sub(start.elapsed());
        match timeout(left, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => return Err(last),
        }
        if start.elapsed() + pause >= within {
            return Err(last);
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Between the first attempts, doubled each time: most conditions hold within milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// Between later attempts, so that waiting does not slow what is waited for.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_value_of_the_first_success_is_given() {
        let mut attempts = 0;
        let value = until("the third attempt", Duration::from_secs(5), async || {
            attempts += 1;
            if attempts == 3 {
                Ok(attempts)
            } else {
                Err("not yet")
            }
        })
        .await;
        assert_eq!(value, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "a miracle: not within 20ms: still none")]
    async fn the_deadline_ends_it_with_the_last_error() {
        let never = async || Err::<(), _>("still none");
        until("a miracle", Duration::from_millis(20), never).await;
    }

    #[tokio::test]
    #[should_panic(expected = "still waits")]
    async fn a_hanging_attempt_does_not_outlive_the_deadline() {
        let hangs = async || std::future::pending::<Result<(), String>>().await;
        until("a sign of life", Duration::from_millis(20), hangs).await;
    }
}
