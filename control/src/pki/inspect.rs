//! What is wrong with a certificate of a webhook server, judged as an API server would.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, RootCertStore};

use super::Trust;
use super::certificate::Certificate;

/// What a Secret has for a webhook server, in PEM; empty where it has nothing.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    /// `tls.crt`.
    pub certificate: &'a [u8],
    /// `tls.key`.
    pub key: &'a [u8],
}

/// Why a certificate is to be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Defect {
    /// There is none.
    Missing,
    /// It is no certificate.
    Malformed,
    /// There is no key that could be read.
    BadKey,
    /// The key is another certificate's.
    KeyMismatch,
    /// Another authority has signed it.
    ForeignIssuer {
        /// Who, as the certificate says.
        issuer: String,
    },
    /// The authority that signed it is being replaced.
    RetiringIssuer,
    /// It is not for all of the names.
    WrongNames {
        /// One that it is not for.
        missing: String,
    },
    /// Its time is over.
    Expired {
        /// Since when.
        at: Timestamp,
    },
    /// Its time has not come.
    NotYetValid {
        /// When it does.
        from: Timestamp,
    },
    /// Two thirds of its life are over.
    Due {
        /// When it expires.
        expires: Timestamp,
    },
    /// It is for something else, or is not built as it should be.
    Unusable,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is none"),
            Self::Malformed => f.write_str("tls.crt is no certificate"),
            Self::BadKey => f.write_str("tls.key is missing or no key"),
            Self::KeyMismatch => f.write_str("tls.key does not belong to tls.crt"),
            Self::ForeignIssuer { issuer } => {
                write!(f, "issued by another authority ({issuer})")
            }
            Self::RetiringIssuer => f.write_str("issued by the authority that is being replaced"),
            Self::WrongNames { missing } => write!(f, "not for the name {missing}"),
            Self::Expired { at } => write!(f, "expired at {at}"),
            Self::NotYetValid { from } => write!(f, "not valid before {from}"),
            Self::Due { expires } => {
                write!(f, "expires at {expires}, two thirds of its life are over")
            }
            Self::Unusable => f.write_str("not a certificate for servers"),
        }
    }
}

/// The first thing that is wrong with `pair` for a server with these names; None when it is
/// as it should be.
#[must_use]
pub fn defect(
    pair: Pair<'_>,
    names: &[String],
    trust: Option<&Trust>,
    now: Timestamp,
) -> Option<Defect> {
    if pair.certificate.is_empty() {
        return Some(Defect::Missing);
    }
    let Some(chain) = Certificate::all_in(pair.certificate).filter(|chain| !chain.is_empty())
    else {
        return Some(Defect::Malformed);
    };
    let judged = key(pair.key, &chain)
        .and_then(|()| chain_of_trust(&chain, names, trust, now))
        .and_then(|()| life(&chain[0], now));
    judged.err()
}

fn key(pem: &[u8], chain: &[Certificate]) -> Result<(), Defect> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| Defect::BadKey)?;
    let chain = chain.iter().map(|one| one.der().clone()).collect();
    match CertifiedKey::from_der(chain, key, &provider()) {
        Ok(_) => Ok(()),
        Err(Error::InconsistentKeys(_)) => Err(Defect::KeyMismatch),
        Err(_) => Err(Defect::BadKey),
    }
}

fn chain_of_trust(
    chain: &[Certificate],
    names: &[String],
    trust: Option<&Trust>,
    now: Timestamp,
) -> Result<(), Defect> {
    let said = &chain[0].said;
    let foreign = || Defect::ForeignIssuer {
        issuer: said.issuer.clone(),
    };
    let trust = trust.ok_or_else(foreign)?;
    for name in names {
        let by_issuer = verify(chain, name, [&trust.issuer], now);
        if by_issuer.is_ok() {
            continue;
        }
        return Err(match verify(chain, name, trust.all(), now) {
            Ok(()) => Defect::RetiringIssuer,
            Err(Error::InvalidCertificate(error)) => match error {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    Defect::Expired { at: said.not_after }
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Defect::NotYetValid {
                        from: said.not_before,
                    }
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Defect::WrongNames {
                    missing: name.clone(),
                },
                CertificateError::UnknownIssuer | CertificateError::BadSignature => foreign(),
                _ => Defect::Unusable,
            },
            Err(_) => Defect::Unusable,
        });
    }
    Ok(())
}

fn verify<'a>(
    chain: &[Certificate],
    name: &str,
    authorities: impl IntoIterator<Item = &'a Certificate>,
    now: Timestamp,
) -> Result<(), Error> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.der().clone())?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
    let name = ServerName::try_from(name)
        .map_err(|_| Error::InvalidCertificate(CertificateError::NotValidForName))?;
    let since_epoch = Duration::from_secs(now.as_second().max(0).unsigned_abs());
    let intermediates: Vec<_> = chain[1..].iter().map(|one| one.der().clone()).collect();
    verifier
        .verify_server_cert(
            chain[0].der(),
            &intermediates,
            &name,
            &[],
            UnixTime::since_unix_epoch(since_epoch),
        )
        .map(drop)
}

/// Renewal at two thirds of life leaves a third for what may go wrong.
fn life(certificate: &Certificate, now: Timestamp) -> Result<(), Defect> {
    if is_due(certificate, now) {
        return Err(Defect::Due {
            expires: certificate.said.not_after,
        });
    }
    Ok(())
}

/// Whether two thirds of its life are over.
#[must_use]
pub fn is_due(certificate: &Certificate, now: Timestamp) -> bool {
    let [from, until, now] = [certificate.said.not_before, certificate.said.not_after, now]
        .map(|time| i128::from(time.as_second()));
    3 * (now - from) >= 2 * (until - from)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests;
