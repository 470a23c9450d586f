//! What a response must pass before it may be kept.
//!
//! Nothing is validated yet: every zone is insecure by configuration
//! (`validate: false`), AD is never set, and there is one way to a [`Judged`].
//! The type stands here already because the cache takes nothing else: when
//! signatures are checked, no path around the check can be left over.

use crate::wire::response::Response;

/// A response, judged: the only thing that the cache takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judged(Response);

impl Judged {
    /// Judges a response of a zone with `validate: false`: it is taken as it is.
    pub(crate) const fn insecure_by_configuration(response: Response) -> Self {
        Self(response)
    }

    /// The response.
    pub(crate) const fn response(&self) -> &Response {
        &self.0
    }

    /// The response, given away.
    pub(crate) fn into_response(self) -> Response {
        self.0
    }
}
