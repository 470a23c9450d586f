//! An X.509 certificate (RFC 5280) as it stands in PEM, and what it says of itself.

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// A certificate that could be parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: CertificateDer<'static>,
    /// What the certificate says of itself; nothing of it is verified.
    pub said: Said,
}

/// The fields of a certificate that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// As `CN=webhook`.
    pub subject: String,
    /// As `CN=webhook CA`.
    pub issuer: String,
    /// The first moment at which it is valid.
    pub not_before: Timestamp,
    /// The last one.
    pub not_after: Timestamp,
    /// Its DNS names.
    pub names: Vec<String>,
}

impl Certificate {
    /// All certificates in a PEM text; None when one is none, or there are more than a
    /// bundle ever has.
    #[must_use]
    pub fn all_in(pem: &[u8]) -> Option<Vec<Self>> {
        let parsed = CertificateDer::pem_slice_iter(pem)
            .take(MAX_IN_BUNDLE + 1)
            .map(|der| Self::from_der(der.ok()?))
            .collect::<Option<Vec<_>>>()?;
        (parsed.len() <= MAX_IN_BUNDLE).then_some(parsed)
    }

    /// The first certificate in a PEM text.
    #[must_use]
    pub fn first_in(pem: &[u8]) -> Option<Self> {
        Self::all_in(pem)?.into_iter().next()
    }

    fn from_der(der: CertificateDer<'static>) -> Option<Self> {
        let (rest, parsed) = X509Certificate::from_der(&der).ok()?;
        let time = |seconds| Timestamp::from_second(seconds).ok();
        let said = Said {
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            not_before: time(parsed.validity().not_before.timestamp())?,
            not_after: time(parsed.validity().not_after.timestamp())?,
            names: names(&parsed)?,
        };
        rest.is_empty().then_some(())?;
        Some(Self { der, said })
    }

    /// In the one form that we write.
    #[must_use]
    pub fn pem(&self) -> String {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(&self.der);
        let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
        for line in text.as_bytes().chunks(64) {
            pem.extend(line.iter().map(|&byte| char::from(byte)));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        pem
    }

    /// As it goes over the wire.
    #[must_use]
    pub const fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// SHA-256 of all of it, as tools show it: `AB:CD:…`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest = rustls_digest(&self.der);
        let bytes: Vec<_> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        bytes.join(":")
    }
}

fn rustls_digest(bytes: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes)
        .as_ref()
        .to_vec()
}

fn names(parsed: &X509Certificate<'_>) -> Option<Vec<String>> {
    let Some(extension) = parsed.subject_alternative_name().ok()? else {
        return Some(Vec::new());
    };
    let names = extension.value.general_names.iter();
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    Some(names.collect())
}

/// No overlap of authorities has more; a text with thousands of them is an attack.
const MAX_IN_BUNDLE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::ca;

    #[test]
    fn what_is_written_is_read_back() {
        let now = Timestamp::from_second(1_000_000_000).unwrap();
        let authority = ca::authority(now).unwrap();
        let pem = authority.certificate.pem();
        assert_eq!(
            Certificate::first_in(pem.as_bytes()),
            Some(authority.certificate)
        );
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        for text in [
            "",
            "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\n",
            "\u{0}",
        ] {
            assert_eq!(Certificate::first_in(text.as_bytes()), None, "{text:?}");
        }
        let now = Timestamp::from_second(1_000_000_000).unwrap();
        let pem = ca::authority(now).unwrap().certificate.pem();
        assert_eq!(Certificate::all_in(pem.repeat(33).as_bytes()), None);
        assert_eq!(
            Certificate::all_in(pem.repeat(32).as_bytes())
                .unwrap()
                .len(),
            32
        );
    }
}
