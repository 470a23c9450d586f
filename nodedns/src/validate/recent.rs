//! The signatures that a key was found to have made, the latest ones: each denial of a zone
//! comes with the SOA and the proof of what lies above, signed as in the one before, and to
//! verify a signature costs more than all else. What was found once holds for ever; whether
//! the signature is in time is not asked here.

use std::sync::{Mutex, PoisonError};

use hickory_proto::dnssec::DigestType;
use hickory_proto::dnssec::crypto::Digest;

/// A memory of one key, [`MOST`] times 16 bytes at most. It is no part of what the key is:
/// all are equal, and a clone begins anew.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Vec<Mark>>);

/// The beginning of a SHA-256 of a signature and what it was made over: nobody finds another
/// pair with the same.
type Mark = [u8; 16];

impl Recent {
    /// Whether `signature` was made over `signed`: as is known, or as `verify` finds out now.
    pub(super) fn or_verified(
        &self,
        signed: &[u8],
        signature: &[u8],
        verify: impl FnOnce() -> bool,
    ) -> bool {
        let Some(mark) = mark(signed, signature) else {
            return verify();
        };
        if self.has(&mark) {
            return true;
        }
        let is_good = verify();
        if is_good {
            self.add(mark);
        }
        is_good
    }

    fn has(&self, mark: &Mark) -> bool {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = marks.iter().position(|one| one == mark);
        if let Some(at) = found {
            // What is met again stays longest.
            marks[at..].rotate_left(1);
        }
        found.is_some()
    }

    fn add(&self, mark: Mark) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.len() == MOST {
            marks.remove(0);
        }
        marks.push(mark);
    }
}

impl Clone for Recent {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Recent {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Recent {}

fn mark(signed: &[u8], signature: &[u8]) -> Option<Mark> {
    // With its length first, no byte of one can pass for one of the other.
    let length = u32::try_from(signature.len()).ok()?.to_be_bytes();
    let digest = Digest::from_iter([&length[..], signature, signed], DigestType::SHA256).ok()?;
    digest.as_ref().first_chunk().copied()
}

/// More than the signatures of one denial.
const MOST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn knows(recent: &Recent, signed: &[u8], signature: &[u8]) -> bool {
        recent.or_verified(signed, signature, || false)
    }

    #[test]
    fn what_was_good_is_known_and_nothing_else() {
        let recent = Recent::default();
        assert!(!recent.or_verified(b"data", b"signature", || false));
        assert!(!knows(&recent, b"data", b"signature"), "it was not good");
        assert!(recent.or_verified(b"data", b"signature", || true));
        assert!(knows(&recent, b"data", b"signature"));
        assert!(!knows(&recent, b"datas", b"ignature"));
        assert!(!knows(&recent, b"dat", b"asignature"));
        assert!(!knows(&recent, b"other", b"signature"));
        assert!(!knows(&recent, b"data", b""));
    }

    #[test]
    fn what_comes_again_outlasts_what_came_once() {
        let recent = Recent::default();
        let again = |recent: &Recent| recent.or_verified(b"soa", b"", || true);
        assert!(again(&recent));
        for number in 0..10 * MOST as u32 {
            assert!(recent.or_verified(&number.to_be_bytes(), b"", || true));
            assert!(knows(&recent, b"soa", b""));
        }
        assert!(!knows(&recent, &0_u32.to_be_bytes(), b""));
        assert_eq!(recent.0.lock().unwrap().len(), MOST);
    }
}
