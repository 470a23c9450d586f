//! Where a zone's answers come from: servers that the configuration names, or
//! those that the world names, from the root down.

use std::sync::Arc;

use tokio::time::Instant;

use crate::cache::key::Key;
use crate::errand::Errand;
use crate::recurse::Recursor;
use crate::upstream::Upstream;
use crate::upstream::failure::Failure;
use crate::upstream::pool::Server;
use crate::wire::name::Name;
use crate::wire::response::Response;

/// Who is asked.
#[derive(Debug)]
pub(crate) enum Source {
    Servers(Upstream),
    Recursion(Arc<Recursor>),
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) response: Response,
    /// Whose it is.
    pub(crate) server: Arc<Server>,
    /// Whoever said it speaks for names at and below this one only; none: for all
    /// of the zone.
    pub(crate) within: Option<Name>,
}

impl Source {
    /// Asks until there is a usable answer; not the server that is `disbelieved`.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) async fn ask(
        &self,
        key: &Key,
        deadline: Instant,
        disbelieved: Option<&Arc<Server>>,
        errand: &mut Errand<'_>,
    ) -> Result<Reply, Failure> {
        match self {
            Self::Servers(upstream) => {
                let answer = upstream.ask(key, deadline, disbelieved, errand).await?;
                Ok(Reply {
                    response: answer.response,
                    server: answer.server,
                    within: None,
                })
            }
            Self::Recursion(recursor) => {
                let found = recursor.ask(key, deadline, disbelieved, errand).await?;
                Ok(Reply {
                    response: found.response,
                    server: found.server,
                    within: Some(found.zone),
                })
            }
        }
    }

    /// Whether nobody answers, as far as is known. Of the world that is never known.
    pub(crate) fn is_dead(&self) -> bool {
        match self {
            Self::Servers(upstream) => upstream.is_dead(),
            Self::Recursion(_) => false,
        }
    }

    /// Whether a question for which nobody waits is to be asked now.
    pub(crate) fn take_turn(&self) -> bool {
        match self {
            Self::Servers(upstream) => upstream.take_turn(),
            Self::Recursion(_) => true,
        }
    }

    /// Whether there may be somebody to contradict a server. Of most zones of the
    /// world there is.
    pub(crate) const fn has_others(&self) -> bool {
        match self {
            Self::Servers(upstream) => upstream.has_others(),
            Self::Recursion(_) => true,
        }
    }
}
