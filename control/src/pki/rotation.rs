//! Replaces the webhook authority while admission calls go on: pure, and resumable at
//! every step.
//!
//! ```text
//!          rotate                both are in every caBundle     every Secret has a certificate
//!                                for as long as API servers     of the new one for as long as
//!                                take to see it                 servers take to load it
//!  Settled ──────► Introducing ───────────────────────► Retiring ─────────────────────► Settled
//!  trusts old      trusts old, new                      trusts new, old                trusts new
//!  old issues      old issues                           new issues                     new issues
//! ```
//!
//! Whatever certificate a server shows at any time, every API server trusts its authority.
//! What has been reached is read from the cluster each time, never remembered.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Trust;
use super::ca::KeyedCertificate;
use super::certificate::Certificate;

/// The authorities of the embedded store.
#[derive(Debug, Clone)]
pub struct Authorities {
    /// The one that issues.
    pub issuer: KeyedCertificate,
    /// Whether it is being replaced, or has just replaced another one.
    pub step: Step,
}

/// Where a replacement stands.
#[derive(Debug, Clone)]
pub enum Step {
    /// There is one authority.
    Settled,
    /// Trust in the next one is being spread.
    Introducing {
        /// The next one.
        next: KeyedCertificate,
        /// How it goes.
        pace: Pace,
    },
    /// The old one is trusted until no certificate of it can be in use any more.
    Retiring {
        /// The old one.
        old: Certificate,
        /// How it goes.
        pace: Pace,
    },
}

/// The time that a step takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// How long a server of webhooks may take to load a new certificate.
    #[serde(with = "daemon::duration::serde")]
    pub overlap: Duration,
    /// Since when the cluster has been as this step wants it.
    pub reached: Option<Timestamp>,
}

/// What the cluster shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Every annotated webhook trusts all authorities.
    pub trusted: bool,
    /// Every annotated Secret has a certificate of the authority that issues.
    pub issued: bool,
}

/// A replacement is under way already.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "the webhook authority is being replaced already ({0}); let `control sync` or `control run` \
     finish that first"
)]
pub struct UnderWay(&'static str);

impl Authorities {
    /// One authority.
    #[must_use]
    pub const fn new(issuer: KeyedCertificate) -> Self {
        Self {
            issuer,
            step: Step::Settled,
        }
    }

    /// Begins to replace the authority by `next`.
    ///
    /// # Errors
    /// [`UnderWay`].
    pub fn rotate(&mut self, next: KeyedCertificate, overlap: Duration) -> Result<(), UnderWay> {
        if let Some(step) = self.step.word() {
            return Err(UnderWay(step));
        }
        let reached = None;
        self.step = Step::Introducing {
            next,
            pace: Pace { overlap, reached },
        };
        Ok(())
    }

    /// Goes on as far as `progress` and the time allow; whether anything has changed.
    pub fn advance(&mut self, progress: Progress, now: Timestamp) -> bool {
        match &mut self.step {
            Step::Settled => false,
            Step::Introducing { next, pace } => {
                let wait = pace.overlap.min(SEEN_BY_API_SERVERS);
                if !pace.passes(progress.trusted, wait, now) {
                    return pace.note(progress.trusted, now);
                }
                let next = next.clone();
                let pace = Pace {
                    reached: None,
                    ..*pace
                };
                let old = std::mem::replace(&mut self.issuer, next).certificate;
                self.step = Step::Retiring { old, pace };
                true
            }
            Step::Retiring { pace, .. } => {
                let reached = progress.trusted && progress.issued;
                if !pace.passes(reached, pace.overlap, now) {
                    return pace.note(reached, now);
                }
                self.step = Step::Settled;
                true
            }
        }
    }

    /// What API servers are to trust.
    #[must_use]
    pub fn trust(&self) -> Trust {
        let others = match &self.step {
            Step::Settled => Vec::new(),
            Step::Introducing { next, .. } => vec![next.certificate.clone()],
            Step::Retiring { old, .. } => vec![old.clone()],
        };
        Trust {
            issuer: self.issuer.certificate.clone(),
            others,
            rotation: self.step.word(),
        }
    }
}

impl Step {
    /// What happens in this step, for people; None when nothing does.
    #[must_use]
    pub const fn word(&self) -> Option<&'static str> {
        match self {
            Self::Settled => None,
            Self::Introducing { .. } => Some("API servers learn to trust the new one"),
            Self::Retiring { .. } => Some("certificates are issued anew, the old one goes last"),
        }
    }
}

impl Pace {
    /// Whether the cluster has been as it should for long enough.
    fn passes(&self, reached: bool, wait: Duration, now: Timestamp) -> bool {
        let since = self.reached.filter(|_| reached);
        since.is_some_and(|since| now.duration_since(since).unsigned_abs() >= wait && now >= since)
    }

    /// Begins to count, or anew; whether that is a change.
    fn note(&mut self, reached: bool, now: Timestamp) -> bool {
        let before = self.reached;
        // A clock that was set back must not make the wait endless.
        let counted = self.reached.filter(|&since| since <= now);
        self.reached = reached.then(|| counted.unwrap_or(now));
        self.reached != before
    }
}

/// API servers follow webhook configurations by a watch; one that lags more than this is
/// not well.
const SEEN_BY_API_SERVERS: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::ca;

    const DONE: Progress = Progress {
        trusted: true,
        issued: true,
    };
    const OVERLAP: Duration = Duration::from_secs(3600);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn rotating() -> (Authorities, Certificate, Certificate) {
        let (old, new) = (ca::authority(at(0)).unwrap(), ca::authority(at(1)).unwrap());
        let certificates = (old.certificate.clone(), new.certificate.clone());
        let mut authorities = Authorities::new(old);
        authorities.rotate(new, OVERLAP).unwrap();
        (authorities, certificates.0, certificates.1)
    }

    #[test]
    fn trust_comes_first_then_certificates_and_the_old_authority_goes_last() {
        let (mut authorities, old, new) = rotating();
        assert_eq!(authorities.trust().issuer, old);
        assert!(authorities.trust().is_within(&[old.clone(), new.clone()]));

        assert!(authorities.advance(DONE, at(10)), "the wait begins");
        assert!(!authorities.advance(DONE, at(69)));
        assert_eq!(authorities.trust().issuer, old);
        assert!(authorities.advance(DONE, at(70)));
        assert_eq!(authorities.trust().issuer, new);
        assert_eq!(authorities.trust().others, [old]);

        let unissued = Progress {
            issued: false,
            ..DONE
        };
        assert!(!authorities.advance(unissued, at(9_000)));
        assert!(authorities.advance(DONE, at(9_001)));
        assert!(!authorities.advance(DONE, at(12_600)));
        assert!(authorities.advance(DONE, at(12_601)));
        assert_eq!(authorities.trust(), Trust::in_one(new));
        assert!(!authorities.advance(DONE, at(99_999)));
    }

    #[test]
    fn a_cluster_that_falls_back_is_waited_for_anew() {
        let (mut authorities, old, _) = rotating();
        let untrusted = Progress {
            trusted: false,
            ..DONE
        };
        authorities.advance(DONE, at(10));
        assert!(authorities.advance(untrusted, at(65)));
        assert!(authorities.advance(DONE, at(71)));
        assert!(!authorities.advance(DONE, at(130)));
        assert_eq!(authorities.trust().issuer, old);
        assert!(authorities.advance(DONE, at(131)));
    }

    #[test]
    fn a_clock_that_was_set_back_neither_ends_nor_prolongs_the_wait() {
        let (mut authorities, old, _) = rotating();
        authorities.advance(DONE, at(100_000));
        assert!(authorities.advance(DONE, at(10)));
        assert_eq!(authorities.trust().issuer, old);
        assert!(authorities.advance(DONE, at(70)));
        assert_ne!(authorities.trust().issuer, old);
    }

    #[test]
    fn a_second_rotation_waits_for_the_first() {
        let (mut authorities, ..) = rotating();
        let before = authorities.trust();
        let refused = authorities.rotate(ca::authority(at(2)).unwrap(), OVERLAP);
        assert!(refused.is_err());
        assert_eq!(authorities.trust(), before);
    }
}
