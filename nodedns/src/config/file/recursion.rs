//! How zones without servers are resolved, as the file says it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::text::{as_texts, subnets};
use super::{Mistake, mistake};
use crate::config::{self, Subnet, root_hints, subnet};

/// Recursion: the way from the root's servers down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recursion {
    /// A file with the addresses of the root's servers, as a zone file (IANA's
    /// `named.root`). Default: those that the world uses, which are built in; a
    /// root of one's own needs its own, and its own trust anchor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_hints: Option<PathBuf>,
    /// Subnets in which no name server is asked that a zone names: or else whoever
    /// owns a zone has us ask whom he likes behind our firewall. Hints may be
    /// anywhere. Default: all that are private, local, or no server's; with a root
    /// of one's own in a private network, name fewer, or none.
    #[serde(deserialize_with = "subnets", serialize_with = "as_texts")]
    pub deny: Vec<Subnet>,
}

impl Default for Recursion {
    fn default() -> Self {
        Self {
            root_hints: None,
            deny: subnet::not_of_the_world(),
        }
    }
}

impl Recursion {
    /// Whether nobody wrote anything else.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What nodedns runs on.
    pub(super) fn into_config(self) -> Result<config::Recursion, Mistake> {
        let root_hints = match &self.root_hints {
            None => root_hints::built_in(),
            Some(path) => root_hints::read(path)
                .map_err(|message| mistake("recursion.root_hints", message))?,
        };
        Ok(config::Recursion {
            root_hints,
            deny: self.deny,
        })
    }
}
