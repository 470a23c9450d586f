//! The demo's own CA and what it issues: for servers a certificate each, so that a client can tell by it who
//! answered, and for clients of the real ones.
//!
//! Made anew for each run and thrown away with the demo's folder; nothing else ever trusts this CA.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};

use super::folder::write;

/// The CA of one run, and where its files lie, all PEM.
pub(crate) struct Certificates {
    /// The CA's certificate: what clients trust.
    pub(crate) ca: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Its own mode keeps others out: keys are in it.
    folder: PathBuf,
}

/// What was issued to one party.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    /// The certificate.
    pub(crate) certificate: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
}

impl Certificates {
    /// Makes a CA with its files in `folder`, whose own mode must keep others out.
    pub(crate) fn create(folder: &Path) -> anyhow::Result<Self> {
        let issuer = CertifiedIssuer::self_signed(ca_params()?, KeyPair::generate()?)?;
        let ca = folder.join("ca.crt");
        write(&ca, &issuer.pem())?;
        Ok(Self {
            ca,
            issuer,
            folder: folder.to_owned(),
        })
    }

    /// Issues a certificate for a server that is called `name` and that clients know as `localhost`,
    /// `kubernetes` or by one of these addresses.
    pub(crate) fn server(&self, name: &str, addresses: &[Ipv4Addr]) -> anyhow::Result<Issued> {
        let mut params = params(name)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in [
            "localhost",
            "kubernetes",
            "kubernetes.default.svc.cluster.local",
        ] {
            params
                .subject_alt_names
                .push(SanType::DnsName(name.try_into()?));
        }
        params.subject_alt_names.extend(
            addresses
                .iter()
                .map(|address| SanType::IpAddress(IpAddr::V4(*address))),
        );
        self.issue(name, params)
    }

    /// Issues a certificate for a client that is called `name`, a member of `group`.
    pub(crate) fn client(&self, name: &str, group: &str) -> anyhow::Result<Issued> {
        let mut params = params(name)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params
            .distinguished_name
            .push(DnType::OrganizationName, group);
        self.issue(name, params)
    }

    fn issue(&self, name: &str, params: CertificateParams) -> anyhow::Result<Issued> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let issued = Issued {
            certificate: self.folder.join(format!("{name}.crt")),
            key: self.folder.join(format!("{name}.key")),
        };
        write(&issued.certificate, &certificate.pem())?;
        write(&issued.key, &key.serialize_pem())?;
        Ok(issued)
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates")
            .field("ca", &self.ca)
            .finish_non_exhaustive()
    }
}

fn ca_params() -> anyhow::Result<CertificateParams> {
    let mut params = valid_for_days()?;
    params
        .distinguished_name
        .push(DnType::CommonName, "control demo CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn params(name: &str) -> anyhow::Result<CertificateParams> {
    let mut params = valid_for_days()?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

/// Parameters valid from yesterday (a clock just set back must not fail the demo) for a month, the
/// longest anyone lets `--stay` run.
fn valid_for_days() -> anyhow::Result<CertificateParams> {
    let today = jiff::Timestamp::now()
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date();
    let day = |days: i64| -> anyhow::Result<_> {
        let date = today.checked_add(jiff::Span::new().days(days))?;
        Ok(rcgen::date_time_ymd(
            date.year().into(),
            u8::try_from(date.month())?,
            u8::try_from(date.day())?,
        ))
    };
    let mut params = CertificateParams::default();
    params.not_before = day(-1)?;
    params.not_after = day(30)?;
    Ok(params)
}
