//! What is found wrong with a certificate, as a specification.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::*;
use crate::pki::ca::{self, CERTIFICATE_LIFE, KeyedCertificate};

const BEGIN: i64 = 1_800_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(BEGIN + seconds).unwrap()
}

fn names() -> Vec<String> {
    ["hook", "hook.team", "hook.team.svc"]
        .map(str::to_owned)
        .into()
}

fn issued(authority: &KeyedCertificate) -> (String, String) {
    let issued = ca::issue(authority, &names(), at(0)).unwrap();
    (issued.certificate.pem(), issued.key.expose().to_owned())
}

fn found(
    (certificate, key): &(String, String),
    names: &[String],
    trust: &Trust,
    now: Timestamp,
) -> Option<Defect> {
    let pair = Pair {
        certificate: certificate.as_bytes(),
        key: key.as_bytes(),
    };
    defect(pair, names, Some(trust), now)
}

#[test]
fn what_was_just_issued_is_right_until_two_thirds_of_its_life() {
    let authority = ca::authority(at(0)).unwrap();
    let trust = Trust::in_one(authority.certificate.clone());
    let pair = issued(&authority);
    assert_eq!(found(&pair, &names(), &trust, at(0)), None);
    let life = i64::try_from(CERTIFICATE_LIFE.as_secs()).unwrap();
    // It begins five minutes before it was issued.
    let due = (life * 2 - 300) / 3;
    assert_eq!(found(&pair, &names(), &trust, at(due - 1)), None);
    assert!(matches!(
        found(&pair, &names(), &trust, at(due)),
        Some(Defect::Due { .. })
    ));
    assert_eq!(
        found(&pair, &names(), &trust, at(life + 1)),
        Some(Defect::Expired { at: at(life) })
    );
    assert_eq!(
        found(&pair, &names(), &trust, at(-301)),
        Some(Defect::NotYetValid { from: at(-300) })
    );
}

#[test]
fn each_damage_has_its_name() {
    let authority = ca::authority(at(0)).unwrap();
    let trust = Trust::in_one(authority.certificate.clone());
    let (certificate, key) = issued(&authority);
    let (_, other_key) = issued(&authority);
    for (pair, expected) in [
        ((String::new(), key.clone()), Defect::Missing),
        (("nonsense".to_owned(), key.clone()), Defect::Malformed),
        ((certificate.clone(), String::new()), Defect::BadKey),
        ((certificate.clone(), key.replace('A', "B")), Defect::BadKey),
        ((certificate.clone(), other_key), Defect::KeyMismatch),
    ] {
        assert_eq!(found(&pair, &names(), &trust, at(0)), Some(expected));
    }
    let more = [names(), vec!["hook.other".to_owned()]].concat();
    let missing = "hook.other".to_owned();
    assert_eq!(
        found(&(certificate, key), &more, &trust, at(0)),
        Some(Defect::WrongNames { missing })
    );
}

#[test]
fn an_issuer_is_right_retiring_or_foreign() {
    let (old, new) = (ca::authority(at(0)).unwrap(), ca::authority(at(1)).unwrap());
    let pair = issued(&old);
    let rotated = Trust {
        issuer: new.certificate.clone(),
        others: vec![old.certificate.clone()],
        rotation: None,
    };
    assert_eq!(
        found(&pair, &names(), &rotated, at(0)),
        Some(Defect::RetiringIssuer)
    );
    let issuer = old.certificate.said.subject;
    assert_eq!(
        found(&pair, &names(), &Trust::in_one(new.certificate), at(0)),
        Some(Defect::ForeignIssuer { issuer })
    );
}

#[test]
fn an_authority_of_the_same_name_with_another_key_is_foreign() {
    let (real, forger) = (ca::authority(at(0)).unwrap(), ca::authority(at(0)).unwrap());
    assert_eq!(
        real.certificate.said.subject,
        forger.certificate.said.subject
    );
    let trust = Trust::in_one(real.certificate);
    assert!(matches!(
        found(&issued(&forger), &names(), &trust, at(0)),
        Some(Defect::ForeignIssuer { .. })
    ));
}

/// Vault issues for twenty years in CKE; renewing what is right would be a surprise.
#[test]
fn a_certificate_of_twenty_years_is_right() {
    let mut params = CertificateParams::new(names()).unwrap();
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2046, 1, 1);
    let key = KeyPair::generate().unwrap();
    let mut authority_params = CertificateParams::default();
    authority_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority =
        CertifiedIssuer::self_signed(authority_params, KeyPair::generate().unwrap()).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let pair = (certificate.pem(), key.serialize_pem());
    let authority = Certificate::first_in(authority.pem().as_bytes()).unwrap();
    let trust = Trust::in_one(authority);
    assert_eq!(found(&pair, &names(), &trust, at(0)), None);
}

#[test]
fn nothing_is_trusted_without_an_authority() {
    let (certificate, key) = issued(&ca::authority(at(0)).unwrap());
    let pair = Pair {
        certificate: certificate.as_bytes(),
        key: key.as_bytes(),
    };
    assert!(matches!(
        defect(pair, &names(), None, at(0)),
        Some(Defect::ForeignIssuer { .. })
    ));
}
