//! `control ca`: the authorities for webhooks, for people and as JSON. Keys are not in what
//! this is told.

use std::fmt::Write;

use serde::Serialize;

use super::printable;
use crate::pki::Trust;
use crate::pki::certificate::Certificate;

/// Lines for people.
pub(crate) fn text(store: &str, trust: &Trust) -> String {
    let mut text = format!("store {}\n", printable(store));
    for (role, certificate) in roles(trust) {
        let Certificate { said, .. } = certificate;
        let line = printable(&format!(
            "{role} {}, until {}",
            said.subject, said.not_after
        ));
        let _ = writeln!(text, "{line}\n    SHA-256 {}", certificate.fingerprint());
    }
    if let Some(step) = trust.rotation {
        let _ = writeln!(text, "being replaced: {step}");
    }
    text
}

/// One document.
pub(crate) fn json(store: &str, trust: &Trust) -> String {
    #[derive(Serialize)]
    struct Document<'a> {
        store: &'a str,
        authorities: Vec<Authority<'a>>,
        rotation: Option<&'static str>,
    }
    #[derive(Serialize)]
    struct Authority<'a> {
        role: &'static str,
        subject: &'a str,
        not_before: String,
        not_after: String,
        sha256: String,
        certificate: String,
    }
    let authorities = roles(trust).map(|(role, certificate)| Authority {
        role,
        subject: &certificate.said.subject,
        not_before: certificate.said.not_before.to_string(),
        not_after: certificate.said.not_after.to_string(),
        sha256: certificate.fingerprint(),
        certificate: certificate.pem(),
    });
    super::json::render(&Document {
        store,
        authorities: authorities.collect(),
        rotation: trust.rotation,
    })
}

fn roles(trust: &Trust) -> impl Iterator<Item = (&'static str, &Certificate)> {
    let roles = [ISSUES].into_iter().chain(std::iter::repeat(TRUSTED));
    roles.zip(trust.all())
}

const ISSUES: &str = "issues";
const TRUSTED: &str = "trusted";
