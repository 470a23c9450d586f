//! What validation found, why, and the one type that the cache takes.

use std::fmt;

use hickory_proto::rr::RecordType;

use crate::validate::is_of_dnssec;
use crate::wire::edns::{ErrorCode, ExtendedError};
use crate::wire::name::Name;
use crate::wire::response::Response;
use crate::wire::rtype;
use crate::wire::select::select;

/// What is known of a response (RFC 4035 §4.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every part of it is signed, from a trust anchor down.
    Secure,
    /// It is proved that some part of it need not be signed.
    Insecure(Insecure),
    /// No trust anchor covers it.
    Indeterminate,
    /// It must be signed, and is not, or not so that it can be believed.
    Bogus(Fault),
}

/// Why a name need not be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Insecure {
    /// The zone where security ends.
    pub(crate) zone: Name,
    pub(crate) why: Unsigned,
}

/// How security ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsigned {
    /// The parent says that it has no DS.
    Delegation,
    /// The parent leaves out of its denials what it delegates (RFC 5155 §6).
    OptOut,
    /// Its DS are all of key algorithms that are not known here (RFC 4035 §5.2).
    Algorithm,
    /// Its DS are all of digest types that are not known here.
    Digest,
    /// Its NSEC3 hash too often (RFC 9276 §3.2).
    Iterations,
    /// The operator said so (RFC 7646).
    NegativeAnchor,
    /// Signatures have none themselves (RFC 4035 §2.2).
    Signatures,
}

/// What is wrong with a response, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) name: Name,
    pub(crate) rtype: u16,
    pub(crate) kind: FaultKind,
}

/// What is wrong. In the order in which it tells a person more, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FaultKind {
    /// No RRSIG.
    SignatureMissing,
    /// An RRSIG of another zone than the one that has the name.
    Signer,
    /// An RRSIG by a key that the zone does not have.
    KeyUnknown,
    /// An RRSIG by a key without the zone key bit (RFC 4034 §2.1.1).
    KeyNotOfZone,
    /// The RRSIG counts more labels than the name has (RFC 4035 §5.3.1).
    Labels,
    /// The RRSIG is not over this data.
    Signature,
    /// The RRSIG's time has not come.
    SignatureNotYetValid,
    /// The RRSIG's time is over.
    SignatureExpired,
    /// No key of the zone is one that its parent or a trust anchor names.
    KeyMissing,
    /// Nothing proves that the name or the type does not exist.
    DenialMissing,
    /// The response code says otherwise than what is proved.
    Code,
    /// The CNAME is not what the DNAME makes of the name (RFC 6672 §3.1).
    Rewrite,
    /// More aliases than are followed.
    TooManyAliases,
    /// To find out would cost more than one question may.
    TooMuchWork,
}

impl FaultKind {
    /// The fault of this kind in the records of that type at `name`.
    pub(crate) fn of(self, name: &Name, rtype: u16) -> Fault {
        Fault {
            name: name.clone(),
            rtype,
            kind: self,
        }
    }
}

impl Fault {
    /// What the client is told (RFC 8914).
    pub(crate) fn extended_error(&self) -> ExtendedError {
        let code = match self.kind {
            FaultKind::SignatureMissing => ErrorCode::RrsigsMissing,
            FaultKind::SignatureExpired => ErrorCode::SignatureExpired,
            FaultKind::SignatureNotYetValid => ErrorCode::SignatureNotYetValid,
            FaultKind::KeyUnknown | FaultKind::KeyMissing => ErrorCode::DnskeyMissing,
            FaultKind::KeyNotOfZone => ErrorCode::NoZoneKeyBitSet,
            FaultKind::DenialMissing => ErrorCode::NsecMissing,
            FaultKind::Signer
            | FaultKind::Labels
            | FaultKind::Signature
            | FaultKind::Code
            | FaultKind::Rewrite
            | FaultKind::TooManyAliases
            | FaultKind::TooMuchWork => ErrorCode::DnssecBogus,
        };
        ExtendedError::new(code, self.to_string())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            FaultKind::SignatureMissing => "has no signature, and must have one",
            FaultKind::Signer => "is signed by another zone than its own",
            FaultKind::KeyUnknown => "is signed by a key that its zone does not have",
            FaultKind::KeyNotOfZone => "is signed by a key that is no zone key",
            FaultKind::Labels => "has a signature for a longer name",
            FaultKind::Signature => "has a signature that does not match",
            FaultKind::SignatureNotYetValid => "has a signature that is not valid yet",
            FaultKind::SignatureExpired => "has a signature that has expired",
            FaultKind::KeyMissing => "has no key that its parent or a trust anchor names",
            FaultKind::DenialMissing => "is not proved not to exist",
            FaultKind::Code => "is answered with a code that is not what is proved",
            FaultKind::Rewrite => "is an alias that its DNAME does not make",
            FaultKind::TooManyAliases => "begins a chain of too many aliases",
            FaultKind::TooMuchWork => "takes more work to validate than one question may cost",
        };
        write!(f, "{} {} {what}", self.name, RecordType::from(self.rtype))
    }
}

impl fmt::Display for Insecure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            Unsigned::Delegation => "the zone above says that it has no DS",
            Unsigned::OptOut => "the zone above leaves delegations without DS out of its denials",
            Unsigned::Algorithm => "signed with no algorithm that is accepted here",
            Unsigned::Digest => "its DS are of no digest type that is known here",
            Unsigned::Iterations => "its NSEC3 hash too often",
            Unsigned::NegativeAnchor => "a negative trust anchor is set",
            Unsigned::Signatures => "signatures are not signed",
        };
        write!(f, "{}: {why}", self.zone)
    }
}

impl Insecure {
    /// What the client is told, when it is something that the zone's operator
    /// would want to know.
    pub(crate) fn extended_error(&self) -> Option<ExtendedError> {
        let (code, what) = match self.why {
            Unsigned::Algorithm => (
                ErrorCode::UnsupportedDnskeyAlgorithm,
                "is signed with no algorithm that is accepted here",
            ),
            Unsigned::Digest => (
                ErrorCode::UnsupportedDsDigest,
                "has DS of no digest type that is known here",
            ),
            Unsigned::Iterations => (
                ErrorCode::UnsupportedNsec3Iterations,
                "has NSEC3 with too many iterations",
            ),
            Unsigned::Delegation
            | Unsigned::OptOut
            | Unsigned::NegativeAnchor
            | Unsigned::Signatures => return None,
        };
        Some(ExtendedError::new(
            code,
            format!("{} {what}: not validated", self.zone),
        ))
    }
}

impl Verdict {
    /// The worse of two links of a chain, which is what the chain is worth.
    pub(crate) fn worse(self, other: Self) -> Self {
        if other.rank() > self.rank() {
            other
        } else {
            self
        }
    }

    /// Its place in [`VERDICTS`].
    pub(crate) const fn rank(&self) -> usize {
        match self {
            Self::Secure => 0,
            Self::Insecure(_) => 1,
            Self::Indeterminate => 2,
            Self::Bogus(_) => 3,
        }
    }
}

/// The names of the verdicts, the best first.
pub(crate) const VERDICTS: [&str; 4] = ["secure", "insecure", "indeterminate", "bogus"];

/// A response, judged: the only thing that the cache takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judged {
    response: Response,
    is_secure: bool,
    note: Option<ExtendedError>,
}

impl Judged {
    /// A response that is taken as it is: of a zone with `validate: false`, or
    /// for a client that validates itself (CD).
    pub(crate) const fn unchecked(response: Response) -> Self {
        Self {
            response,
            is_secure: false,
            note: None,
        }
    }

    /// A response to a question with DO where the operator has verdicts logged
    /// instead of enforced: as it came, less the DNSSEC records that the client did
    /// not ask for.
    pub(crate) fn as_it_came(response: Response, dnssec_ok: bool) -> Self {
        let (layout, asked) = (response.layout(), response.layout().rtype(response.wire()));
        let wanted = |number: usize| {
            let rtype = layout.records[number].rtype;
            rtype != rtype::OPT && !is_of_dnssec(rtype, asked)
        };
        let without = if dnssec_ok {
            None
        } else {
            select(&response, wanted)
        };
        Self::unchecked(without.unwrap_or(response))
    }

    /// A response of which `verdict` is what was found.
    pub(super) fn new(response: Response, verdict: &Verdict) -> Self {
        Self {
            response,
            is_secure: *verdict == Verdict::Secure,
            note: match verdict {
                Verdict::Insecure(insecure) => insecure.extended_error(),
                Verdict::Secure | Verdict::Indeterminate | Verdict::Bogus(_) => None,
            },
        }
    }

    /// `whole`, put together from `parts`: as secure as the worst of them.
    pub(crate) fn joined(whole: Response, parts: &[Self]) -> Self {
        Self {
            response: whole,
            is_secure: parts.iter().all(|part| part.is_secure),
            note: parts.iter().find_map(|part| part.note.clone()),
        }
    }

    /// A part that was kept, and was `secure` then.
    pub(crate) const fn kept(response: Response, is_secure: bool) -> Self {
        Self {
            response,
            is_secure,
            note: None,
        }
    }

    /// The response.
    pub(crate) const fn response(&self) -> &Response {
        &self.response
    }

    /// Whether AD may be set on it.
    pub(crate) const fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// The response, and what is said with it.
    pub(crate) fn into_parts(self) -> (Response, Option<ExtendedError>) {
        (self.response, self.note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::tests::response;

    #[test]
    fn a_chain_is_worth_as_much_as_its_worst_link() {
        let insecure = Verdict::Insecure(Insecure {
            zone: Name::root(),
            why: Unsigned::Delegation,
        });
        let bogus = Verdict::Bogus(Fault {
            name: Name::root(),
            rtype: 1,
            kind: FaultKind::Signature,
        });
        let worst = |links: [&Verdict; 3]| {
            links
                .into_iter()
                .cloned()
                .fold(Verdict::Secure, Verdict::worse)
        };
        let secure = &Verdict::Secure;
        assert_eq!(worst([secure, secure, secure]), Verdict::Secure);
        assert_eq!(worst([secure, &insecure, secure]), insecure);
        assert_eq!(worst([&insecure, &bogus, secure]), bogus);
    }

    #[test]
    fn a_joined_answer_is_secure_when_every_part_is() {
        let response = || Response::parse(response(|_| ())).unwrap();
        let secure = Judged::new(response(), &Verdict::Secure);
        let unchecked = Judged::unchecked(response());
        let joined = |parts: &[Judged]| Judged::joined(response(), parts).is_secure();
        assert!(joined(&[secure.clone(), secure.clone()]));
        assert!(!joined(&[secure, unchecked]));
    }

    #[test]
    fn a_fault_is_a_sentence_with_the_code_of_rfc_8914() {
        let fault = Fault {
            name: Name::from_text("www.example").unwrap(),
            rtype: 1,
            kind: FaultKind::SignatureExpired,
        };
        let error = fault.extended_error();
        assert_eq!(error.code, ErrorCode::SignatureExpired);
        assert_eq!(
            error.text,
            "www.example. A has a signature that has expired"
        );
    }
}
