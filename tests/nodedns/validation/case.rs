//! One case: a question, what has to come back, and the RFC that says so.

use hickory_proto::op::ResponseCode::{self, NXDomain, NoError, ServFail};
use tests::dns::{Question, RecordType};

/// A question and its answer, written down before it was first asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) kind: RecordType,
    pub(crate) expected: Expected,
    /// The RFC and the section.
    pub(crate) rfc: &'static str,
}

/// What comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) code: ResponseCode,
    /// AD.
    pub(crate) authentic: bool,
    /// The info code of the extended error (RFC 8914), if there is to be one.
    pub(crate) error: Option<u16>,
}

/// Validated data.
pub(crate) const SECURE: Expected = of(NoError, true, None);
/// A validated "no such name".
pub(crate) const SECURE_NX: Expected = of(NXDomain, true, None);
/// Data that need not be signed.
pub(crate) const INSECURE: Expected = of(NoError, false, None);
/// A "no such name" that need not be signed.
pub(crate) const INSECURE_NX: Expected = of(NXDomain, false, None);

/// Refused with this extended error.
pub(crate) const fn bogus(error: u16) -> Expected {
    of(ServFail, false, Some(error))
}

const fn of(code: ResponseCode, authentic: bool, error: Option<u16>) -> Expected {
    Expected {
        code,
        authentic,
        error,
    }
}

impl Expected {
    /// The same without AD.
    pub(crate) const fn unvalidated(self) -> Self {
        Self {
            authentic: false,
            ..self
        }
    }

    /// The same with an extended error.
    pub(crate) const fn with_error(self, error: u16) -> Self {
        Self {
            error: Some(error),
            ..self
        }
    }
}

impl Case {
    pub(crate) fn new(
        name: impl Into<String>,
        kind: RecordType,
        expected: Expected,
        rfc: &'static str,
    ) -> Self {
        Self {
            name: name.into(),
            kind,
            expected,
            rfc,
        }
    }

    /// The question, as a client that wants to see signatures asks it.
    pub(crate) fn question(&self) -> Question {
        Question::new(&self.name, self.kind).dnssec_ok()
    }
}
