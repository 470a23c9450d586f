//! Makes authorities and certificates, for the embedded store. ECDSA P-256 throughout.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use thiserror::Error;

use super::certificate::Certificate;
use crate::secret::Secret;

/// A certificate with its key.
#[derive(Debug, Clone)]
pub struct KeyedCertificate {
    /// The certificate.
    pub certificate: Certificate,
    /// Its private key, PKCS #8 in PEM.
    pub key: Secret,
}

/// Why no certificate could be made.
#[derive(Debug, Error)]
pub enum IssueError {
    /// The authority's own key or certificate cannot be used.
    #[error("the webhook authority's key or certificate in the store is damaged")]
    Authority,
    /// No key could be drawn, or a name is none.
    #[error("no certificate could be made: {0}")]
    Make(rcgen::Error),
}

/// A new authority, valid for [`AUTHORITY_LIFE`].
///
/// # Errors
/// No key could be drawn.
pub fn authority(now: Timestamp) -> Result<KeyedCertificate, IssueError> {
    // Two that overlap have different names, so that people can tell them apart.
    let name = format!("webhook CA of {}", now.strftime("%Y-%m-%d %H:%M:%S"));
    let mut params = authority_params(&name);
    valid(&mut params, now, AUTHORITY_LIFE);
    let key = KeyPair::generate().map_err(IssueError::Make)?;
    let made = CertifiedIssuer::self_signed(params, key).map_err(IssueError::Make)?;
    keyed(&made.pem(), made.key())
}

/// A certificate for a server with these names, valid for [`CERTIFICATE_LIFE`].
///
/// # Errors
/// See [`IssueError`].
pub fn issue(
    authority: &KeyedCertificate,
    names: &[String],
    now: Timestamp,
) -> Result<KeyedCertificate, IssueError> {
    let key = KeyPair::from_pem(authority.key.expose()).map_err(|_| IssueError::Authority)?;
    let name = authority.certificate.said.subject.strip_prefix("CN=");
    let issuer = Issuer::new(authority_params(name.ok_or(IssueError::Authority)?), key);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(name) = names.last() {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    for name in names {
        let name = name.as_str().try_into().map_err(IssueError::Make)?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    valid(&mut params, now, CERTIFICATE_LIFE);
    let key = KeyPair::generate().map_err(IssueError::Make)?;
    let made = params.signed_by(&key, &issuer).map_err(IssueError::Make)?;
    keyed(&made.pem(), &key)
}

/// As [`authority`] writes them; of these a certificate that is issued has the name, and the
/// identifier of the key.
fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn keyed(pem: &str, key: &KeyPair) -> Result<KeyedCertificate, IssueError> {
    Ok(KeyedCertificate {
        certificate: Certificate::first_in(pem.as_bytes()).ok_or(IssueError::Authority)?,
        key: Secret::from(key.serialize_pem()),
    })
}

fn valid(params: &mut CertificateParams, now: Timestamp, life: Duration) {
    let now = Duration::from_secs(now.as_second().max(0).unsigned_abs());
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    // An API server whose clock is late must not refuse it.
    params.not_before = epoch + now.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + now + life;
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long an authority lives.
pub const AUTHORITY_LIFE: Duration = Duration::from_secs(3650 * DAY.as_secs());
/// How long a server's certificate lives.
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(365 * DAY.as_secs());
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);
