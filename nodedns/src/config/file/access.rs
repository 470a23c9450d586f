//! Who may ask, as the file says it.

use std::fmt;
use std::str::FromStr;

use daemon::config_file::text;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::{Subnet, SubnetError, own_subnets, subnet};

/// Who may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// Subnets of those whose questions are answered, as in `10.0.0.0/8`; `private` stands
    /// for all private, shared and local addresses and the subnets that the node is in when
    /// it reads this. Others get REFUSED. Default: `[private]`; pods with public addresses
    /// need an entry.
    pub allow: Vec<Networks>,
}

/// Some addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Networks {
    /// Those that are nobody else's: private, shared and local addresses, and neighbours.
    Private,
    /// Those of a subnet.
    Subnet(Subnet),
}

impl Access {
    /// Whether nobody wrote anything else.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What nodedns runs on.
    pub(super) fn into_config(self) -> Vec<Subnet> {
        subnets_of(self.allow)
    }
}

/// All subnets of these networks.
pub(super) fn subnets_of(networks: Vec<Networks>) -> Vec<Subnet> {
    let subnets = networks.into_iter().flat_map(|networks| match networks {
        Networks::Private => [subnet::private(), own_subnets::read()].concat(),
        Networks::Subnet(subnet) => vec![subnet],
    });
    subnets.collect()
}

impl Default for Access {
    fn default() -> Self {
        Self {
            allow: vec![Networks::Private],
        }
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private => f.write_str(PRIVATE),
            Self::Subnet(subnet) => subnet.fmt(f),
        }
    }
}

impl FromStr for Networks {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        match text {
            PRIVATE => Ok(Self::Private),
            _ => text.parse().map(Self::Subnet),
        }
    }
}

impl Serialize for Networks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, str::parse)
    }
}

const PRIVATE: &str = "private";
