//! Which addresses names of the public may not have, as the file says it.

use serde::{Deserialize, Serialize};

use super::access::{Networks, subnets_of};
use super::text::{as_texts, names};
use crate::config::{self, Name};

/// Names of the public, those of the zone `.`, that lead into networks of one's own (DNS rebinding).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rebinding {
    /// Subnets whose addresses are in no answer for such a name, `private` for all private, shared
    /// and local ones: the answer is SERVFAIL (EDE 15). Default: none, for many have names of
    /// their own in public zones.
    pub deny: Vec<Networks>,
    /// Names at and below which answers are as they come. Default: none.
    #[serde(deserialize_with = "names", serialize_with = "as_texts")]
    pub exempt: Vec<Name>,
}

impl Rebinding {
    /// Whether nobody wrote anything else.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What nodedns runs on.
    pub(super) fn into_config(self) -> config::Rebinding {
        config::Rebinding {
            deny: subnets_of(self.deny),
            exempt: self.exempt,
        }
    }
}
