//! Which questions the log tells of, as the file says it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Mistake, mistake};
use crate::config;

/// Questions of which the log has a line each, at level info and with the target `access`: a hundred a
/// second at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueryLog {
    /// One of so many, 1 to 1000000000; 1 is all of them. Default: 0, none.
    pub one_in: u32,
    /// Those whose answer took at least so long, 1ms to 1m. Default: `0s`, none.
    #[serde(with = "daemon::duration::serde")]
    pub slow: Duration,
    /// Whether those that failed, with the reason. Default: `false`.
    pub failed: bool,
}

impl QueryLog {
    /// Whether nobody wrote anything else.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether all of it is within its range.
    pub(super) fn check(&self) -> Result<(), Mistake> {
        if self.one_in > MAX_ONE_IN {
            let message = format!("must be from 1 to {MAX_ONE_IN}, or 0 for none");
            return Err(mistake("query_log.one_in", message));
        }
        if !self.slow.is_zero() && !(SHORTEST..=LONGEST).contains(&self.slow) {
            let message = "must be from 1ms to 1m, or 0s for none";
            return Err(mistake("query_log.slow", message));
        }
        Ok(())
    }

    /// What nodedns runs on.
    pub(super) fn into_config(self) -> config::QueryLog {
        config::QueryLog {
            one_in: self.one_in,
            slow: (!self.slow.is_zero()).then_some(self.slow),
            failed: self.failed,
        }
    }
}

const MAX_ONE_IN: u32 = 1_000_000_000;
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(60);
