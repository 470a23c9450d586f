//! How much one client may ask for, as the file says it.

use serde::{Deserialize, Serialize};

use super::text::{as_texts, subnets};
use super::{Mistake, mistake};
use crate::config::{self, Subnet};

/// How much one client may ask for: an IPv4 address, or the /64 of an IPv6 address. No pod
/// that is well meets the defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Questions of one client a second, 1 to 10000000; a second's worth may come at once.
    /// Beyond, over UDP every fourth is answered with TC set, which has an honest client come
    /// back over TCP, and the others are not; over TCP reading waits. Default: 20000, an
    /// eighth of what a core answers from the cache.
    pub queries_per_second: u32,
    /// Questions of one client that are looked for at the same time, 1 to 16384. Those beyond
    /// wait for the client's own. Default: 100, with which thousands a second can be asked for.
    pub questions: usize,
    /// Questions of one client that are looked for or wait, 1 to 16384. Those beyond get
    /// SERVFAIL. Default: 4096.
    pub waiting: usize,
    /// TCP connections of one client to one address, 1 to 4096; those beyond are closed.
    /// Default: 256.
    pub connections: usize,
    /// Subnets of clients that have none of these limits. Default: loopback, the node's own
    /// processes.
    #[serde(deserialize_with = "subnets", serialize_with = "as_texts")]
    pub exempt: Vec<Subnet>,
}

impl Limits {
    /// Whether nobody wrote anything else.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether all of it is within its range.
    pub(super) fn check(&self) -> Result<(), Mistake> {
        for (field, value, most) in [
            (
                "queries_per_second",
                self.queries_per_second as usize,
                MAX_RATE,
            ),
            ("questions", self.questions, MAX_QUESTIONS),
            ("waiting", self.waiting, MAX_QUESTIONS),
            ("connections", self.connections, MAX_CONNECTIONS),
        ] {
            if !(1..=most).contains(&value) {
                let message = format!("must be from 1 to {most}");
                return Err(mistake(format!("limits.{field}"), message));
            }
        }
        if self.waiting < self.questions {
            let message = "must be at least limits.questions, which it includes";
            return Err(mistake("limits.waiting", message));
        }
        Ok(())
    }

    /// What nodedns runs on.
    pub(super) fn into_config(self) -> config::Limits {
        config::Limits {
            queries_per_second: self.queries_per_second,
            questions: self.questions,
            waiting: self.waiting,
            connections: self.connections,
            exempt: self.exempt,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let loopback = ["127.0.0.0/8", "::1"].map(str::parse);
        Self {
            queries_per_second: 20_000,
            questions: 100,
            waiting: 4_096,
            connections: 256,
            exempt: loopback.into_iter().flatten().collect(),
        }
    }
}

/// Tokens are counted in nanoseconds.
const MAX_RATE: usize = 10_000_000;
/// What one worker has room for.
const MAX_QUESTIONS: usize = 16_384;
const MAX_CONNECTIONS: usize = 4_096;
