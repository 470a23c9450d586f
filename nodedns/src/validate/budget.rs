//! What one question may cost. A zone can be made so that its validation takes
//! minutes: many keys with one tag and many signatures (KeyTrap, CVE-2023-50387),
//! many names to hash (CVE-2023-50868), endless delegations. Honest zones stay
//! far below.

/// What is left for one question, its whole chain of aliases included.
#[derive(Debug)]
pub(crate) struct Budget {
    signatures: u32,
    failures: u32,
    hashes: u32,
    questions: u32,
}

/// What a question did cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Work {
    /// Signatures verified.
    pub(crate) signatures: u32,
    /// Names hashed for NSEC3.
    pub(crate) hashes: u32,
    /// Questions of the chain of trust asked.
    pub(crate) questions: u32,
}

/// Nothing is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exhausted;

impl Budget {
    pub(crate) const fn new() -> Self {
        Self {
            signatures: SIGNATURES,
            failures: FAILURES,
            hashes: HASHES,
            questions: QUESTIONS,
        }
    }

    /// What was spent of it.
    pub(crate) const fn spent(&self) -> Work {
        Work {
            signatures: SIGNATURES - self.signatures,
            hashes: HASHES - self.hashes,
            questions: QUESTIONS - self.questions,
        }
    }

    /// A signature is going to be verified.
    pub(super) fn signature(&mut self) -> Result<(), Exhausted> {
        if self.failures == 0 {
            return Err(Exhausted);
        }
        take(&mut self.signatures)
    }

    /// That signature was wrong.
    pub(super) const fn failure(&mut self) {
        self.failures = self.failures.saturating_sub(1);
    }

    /// A name is going to be hashed for NSEC3.
    pub(super) fn hash(&mut self) -> Result<(), Exhausted> {
        take(&mut self.hashes)
    }

    /// A question is going to be asked.
    pub(super) fn question(&mut self) -> Result<(), Exhausted> {
        take(&mut self.questions)
    }
}

fn take(left: &mut u32) -> Result<(), Exhausted> {
    *left = left.checked_sub(1).ok_or(Exhausted)?;
    Ok(())
}

/// Keys with the tag of a signature that are tried: two are a coincidence.
pub(super) const KEYS_PER_SIGNATURE: usize = 2;
/// Signatures of one RRset that are tried: two algorithms during a rollover, and
/// a key more of each.
pub(super) const SIGNATURES_PER_SET: usize = 4;
/// Aliases in one response.
pub(super) const ALIASES: usize = 12;
/// Denial records of one zone that are looked at: a chain of wildcards has two a link.
pub(super) const DENIALS: usize = 24;

/// Some 10 ms of P-256.
const SIGNATURES: u32 = 128;
const FAILURES: u32 = 16;
/// A name has 127 labels at most; each but those of its zone is hashed once.
const HASHES: u32 = 160;
/// An IPv6 address in `ip6.arpa.` has 34 labels, and each may be a zone.
const QUESTIONS: u32 = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_signatures_are_what_is_bounded_tightest() {
        let mut budget = Budget::new();
        let mut tried = 0;
        while budget.signature().is_ok() {
            budget.failure();
            tried += 1;
        }
        assert_eq!(tried, FAILURES);
        let mut budget = Budget::new();
        assert_eq!(
            (0..).take_while(|_| budget.signature().is_ok()).count(),
            128
        );
        assert_eq!(budget.spent().signatures, 128);
        assert_eq!((0..).take_while(|_| budget.hash().is_ok()).count(), 160);
        assert_eq!((0..).take_while(|_| budget.question().is_ok()).count(), 48);
    }
}
