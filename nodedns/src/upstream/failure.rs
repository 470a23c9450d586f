//! Why there is no answer: from one attempt, and from all of them.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use crate::wire::Rcode;
use crate::wire::edns::{ErrorCode, ExtendedError};
use crate::wire::name::Name;

/// Why one attempt brought nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Trouble {
    /// The server answered, but with a code that is no answer.
    #[error("answers {0}")]
    Rejected(Rcode),
    /// The server answered, but not what was asked (lame, RFC 8914 §4.23).
    #[error("{0}")]
    Useless(&'static str),
    /// The network said no, or the server could not prove who it is.
    #[error("cannot be asked: {0}")]
    Network(Arc<io::Error>),
    /// The server closed the connection.
    #[error("closed the connection")]
    Closed,
    /// The server said nothing for as long as an attempt lasts.
    #[error("does not answer")]
    Late,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Network(Arc::new(error))
    }
}

/// Why a question has no answer.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// As many questions as the zone may have are on their way.
    TooBusy { zone: Name },
    /// The last server that said anything.
    Server {
        zone: Name,
        server: String,
        trouble: Trouble,
    },
    /// No server said anything.
    NoAnswer { zone: Name },
    /// Nobody knows where the zone's servers are.
    Lost { zone: Name, why: Lost },
}

/// Why nobody knows where the servers of a zone are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    /// None of the names that were tried has an address.
    #[error("its name servers have no address")]
    NoAddress,
    /// Their addresses are not for name servers of the world (`recursion.deny`).
    #[error("its name servers are at {0}, where `recursion.deny` has nobody asked")]
    Denied(IpAddr),
    /// To find them one would have to have found them.
    #[error("the addresses of its name servers are known to themselves only")]
    Circle,
    /// The way there is longer than one question may go.
    #[error("to find its name servers takes more questions than one may cost")]
    TooFar,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooBusy { zone } => {
                write!(
                    f,
                    "zone {zone}: too many questions to its servers are waiting"
                )
            }
            Self::Server {
                zone,
                server,
                trouble,
            } => write!(f, "zone {zone}: {server} {trouble}"),
            Self::NoAnswer { zone } => {
                write!(f, "zone {zone}: no server answered in time")
            }
            Self::Lost { zone, why } => write!(f, "zone {zone}: {why}"),
        }
    }
}

impl Failure {
    /// What the client is told.
    pub(crate) fn extended_error(&self) -> ExtendedError {
        let code = match self {
            Self::TooBusy { .. } => ErrorCode::NotReady,
            Self::NoAnswer { .. } | Self::Lost { .. } => ErrorCode::NoReachableAuthority,
            Self::Server { trouble, .. } => match trouble {
                // RFC 8914 §4.23: "or they potentially refused to reply".
                Trouble::Rejected(Rcode::REFUSED) | Trouble::Useless(_) | Trouble::Late => {
                    ErrorCode::NoReachableAuthority
                }
                Trouble::Rejected(_) => ErrorCode::Other,
                Trouble::Network(_) | Trouble::Closed => ErrorCode::NetworkError,
            },
        };
        ExtendedError::new(code, self.to_string())
    }
}
