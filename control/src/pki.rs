//! Certificates of admission webhooks: who is trusted, what is wrong with one, how one is
//! made, and how the authority is replaced while calls go on.
//!
//! Pure but for the drawing of keys in [`ca`]: the time is an argument. Where authorities
//! and keys are kept is `store`'s.

pub mod ca;
pub mod certificate;
pub mod inspect;
pub mod rotation;

use certificate::Certificate;

/// Whom API servers trust for webhooks, and whose certificates are right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The authority that issues.
    pub issuer: Certificate,
    /// Others that are trusted while one takes the place of the other.
    pub others: Vec<Certificate>,
    /// Where a replacement of the authority stands, for people.
    pub rotation: Option<&'static str>,
}

impl Trust {
    /// Only this authority.
    #[must_use]
    pub const fn in_one(issuer: Certificate) -> Self {
        Self {
            issuer,
            others: Vec::new(),
            rotation: None,
        }
    }

    /// All authorities, the one that issues first.
    pub fn all(&self) -> impl Iterator<Item = &Certificate> {
        [&self.issuer].into_iter().chain(&self.others)
    }

    /// What a `caBundle` holds.
    #[must_use]
    pub fn pem(&self) -> String {
        self.all().map(Certificate::pem).collect()
    }

    /// Whether the certificates in `bundle` are these authorities, in any order and form.
    #[must_use]
    pub fn is(&self, bundle: &[Certificate]) -> bool {
        self.is_within(bundle) && bundle.iter().all(|one| self.all().any(|own| own == one))
    }

    /// Whether all these authorities are in `bundle`.
    #[must_use]
    pub fn is_within(&self, bundle: &[Certificate]) -> bool {
        self.all().all(|own| bundle.contains(own))
    }
}
