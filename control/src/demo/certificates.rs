//! The demo's own CA and the certificate that its API servers show.
//!
//! Made anew for each run and thrown away with the demo's folder; nothing else ever trusts this CA.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};

/// Where the files of one run lie, all PEM.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// The CA's certificate: what clients trust.
    pub(crate) ca: PathBuf,
    /// The certificate that every API server of the demo shows.
    pub(crate) server: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
}

impl Certificates {
    /// Makes a CA, and a server certificate for `localhost`, `kubernetes` and the given addresses,
    /// and writes them into `folder` (whose own mode must keep others out: the key is among them).
    pub(crate) fn create(folder: &Path, addresses: &[Ipv4Addr]) -> anyhow::Result<Self> {
        let ca = CertifiedIssuer::self_signed(ca_params()?, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let server = server_params(addresses)?.signed_by(&key, &ca)?;

        let files = Self {
            ca: folder.join("ca.crt"),
            server: folder.join("server.crt"),
            key: folder.join("server.key"),
        };
        write(&files.ca, &ca.pem())?;
        write(&files.server, &server.pem())?;
        write(&files.key, &key.serialize_pem())?;
        Ok(files)
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

fn server_params(addresses: &[Ipv4Addr]) -> anyhow::Result<CertificateParams> {
    let mut params = valid_for_days()?;
    params
        .distinguished_name
        .push(DnType::CommonName, "stand-in API server");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
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

fn write(path: &Path, pem: &str) -> anyhow::Result<()> {
    std::fs::write(path, pem).with_context(|| format!("cannot write {}", path.display()))
}
