//! Admission webhooks, by two annotations of CKE's on the operator's own resources:
//! `cke.cybozu.com/inject-cacert: "true"` has every `caBundle` of a webhook configuration
//! filled, `cke.cybozu.com/issue-cert: SERVICE` has a certificate put into a Secret.
//!
//! A bundle or certificate that is right stays exactly as it is in the cluster, whoever
//! made it, so that a takeover reissues nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Desired, Note, Refusal};
use crate::object::{Key, Object};
use crate::observed::{Authority, Observed};
use crate::pki::Trust;
use crate::pki::certificate::Certificate;
use crate::pki::inspect::{self, Defect, Pair};
use crate::pki::rotation::Progress;
use crate::resources::Resources;

/// A certificate that is to be issued into a Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedCertificate {
    /// The names of the Service, the longest last.
    pub names: Vec<String>,
    /// What is wrong with the one that is there.
    pub defect: Defect,
}

/// Whether the annotations ask for a webhook authority at all.
#[must_use]
pub fn is_asked_for(resources: Option<&Resources>) -> bool {
    let mut all = resources.into_iter().flat_map(|r| &r.objects);
    all.any(|resource| has_annotation(&resource.object))
}

/// What the cluster shows of the authorities; a replacement goes on from there.
#[must_use]
pub fn progress(resources: Option<&Resources>, observed: &Observed) -> Progress {
    let mut progress = Progress {
        trusted: true,
        issued: true,
    };
    let trust = match &observed.authority {
        Authority::Trusted(trust) => Some(trust),
        Authority::None | Authority::Missing { .. } | Authority::Unknown { .. } => None,
    };
    for resource in resources.into_iter().flat_map(|r| &r.objects) {
        let object = &resource.object;
        let live = observed.objects.get(&object.key);
        if is_injected(object) {
            progress.trusted &= live
                .zip(trust)
                .is_some_and(|(live, trust)| trusts(live, trust));
        } else if let Some(service) = issued_for(object) {
            let names = names(&object.key, service);
            progress.issued &= defect(live, &names, trust, observed).is_none();
        }
    }
    progress
}

/// Fills what the annotations ask for.
pub(super) fn add(desired: &mut Desired, observed: &Observed) {
    let mut refused = Vec::new();
    let mut refuse = |key: &Key, why: String| {
        refused.push(Refusal {
            key: key.clone(),
            why,
        });
    };
    let mut certificates = Vec::new();
    desired.objects.retain_mut(|object| {
        if !has_annotation(object) {
            return true;
        }
        let trust = match &observed.authority {
            Authority::Trusted(trust) => Some(trust),
            Authority::None | Authority::Missing { .. } => None,
            Authority::Unknown { why } => {
                refuse(&object.key, why.clone());
                return false;
            }
        };
        let live = observed.objects.get(&object.key);
        if is_injected(object) {
            if let Some(trust) = trust {
                inject(object, live, trust);
            }
            return true;
        }
        let Some(service) = issued_for(object) else {
            return true;
        };
        if !is_service_name(service) {
            let why = format!("its annotation {ISSUE} is no name of a Service: {service:?}");
            refuse(&object.key, why);
            return false;
        }
        let names = names(&object.key, service);
        let defect = defect(live, &names, trust, observed);
        keep_live(object, live);
        if let Some(defect) = defect {
            certificates.push((object.key.clone(), WantedCertificate { names, defect }));
        }
        true
    });
    desired.refused.extend(refused);
    desired.certificates.extend(certificates);
    add_notes(desired, observed);
}

fn add_notes(desired: &mut Desired, observed: &Observed) {
    let trust = match &observed.authority {
        Authority::Trusted(trust) => trust,
        Authority::Missing { store } => {
            let store = store.clone();
            desired.notes.push(Note::NoAuthority { store });
            return;
        }
        Authority::None | Authority::Unknown { .. } => return,
    };
    if let Some(step) = trust.rotation {
        desired.notes.push(Note::AuthorityReplaced { step });
    } else if inspect::is_due(&trust.issuer, observed.now) {
        let expires = trust.issuer.said.not_after;
        desired.notes.push(Note::AuthorityDue { expires });
    }
}

/// Fills every `caBundle`. One that is right in the cluster is kept as it is there.
fn inject(object: &mut Object, live: Option<&Value>, trust: &Trust) {
    let Some(webhooks) = object.content["webhooks"].as_array_mut() else {
        return;
    };
    for webhook in webhooks.iter_mut().filter(|webhook| webhook.is_object()) {
        let bundle = live
            .and_then(|live| live_bundle(live, &webhook["name"]))
            .filter(|bundle| decoded(bundle).is_some_and(|bundle| trust.is(&bundle)))
            .map_or_else(|| STANDARD.encode(trust.pem()), str::to_owned);
        let client = &mut webhook["clientConfig"];
        if client.is_null() || client.is_object() {
            client["caBundle"] = json!(bundle);
        }
    }
}

/// Whether all webhooks of a live configuration trust all authorities.
fn trusts(live: &Value, trust: &Trust) -> bool {
    let webhooks = live["webhooks"].as_array();
    webhooks.into_iter().flatten().all(|webhook| {
        let bundle = webhook["clientConfig"]["caBundle"].as_str();
        bundle
            .and_then(decoded)
            .is_some_and(|bundle| trust.is_within(&bundle))
    })
}

fn live_bundle<'a>(live: &'a Value, name: &Value) -> Option<&'a str> {
    let webhooks = live["webhooks"].as_array()?;
    let same = webhooks.iter().find(|webhook| &webhook["name"] == name)?;
    same["clientConfig"]["caBundle"].as_str()
}

fn decoded(bundle: &str) -> Option<Vec<Certificate>> {
    Certificate::all_in(&STANDARD.decode(bundle).ok()?)
}

fn defect(
    live: Option<&Value>,
    names: &[String],
    trust: Option<&Trust>,
    observed: &Observed,
) -> Option<Defect> {
    let data = |field| {
        let text = live.and_then(|live| live["data"][field].as_str());
        STANDARD
            .decode(text.unwrap_or_default())
            .unwrap_or_default()
    };
    let (certificate, key) = (data(CERTIFICATE), data(KEY));
    let pair = Pair {
        certificate: &certificate,
        key: &key,
    };
    inspect::defect(pair, names, trust, observed.now)
}

/// Wants the certificate and key that are there: one that is bad is replaced by itself.
fn keep_live(object: &mut Object, live: Option<&Value>) {
    let data = &mut object.content["data"];
    if data.is_null() {
        *data = json!({});
    }
    // What is no mapping the server refuses.
    let Some(data) = data.as_object_mut() else {
        return;
    };
    for field in [CERTIFICATE, KEY] {
        match live.map(|live| &live["data"][field]) {
            Some(Value::String(text)) => data.insert(field.to_owned(), json!(text)),
            _ => data.remove(field),
        };
    }
}

fn has_annotation(object: &Object) -> bool {
    is_injected(object) || issued_for(object).is_some()
}

fn is_injected(object: &Object) -> bool {
    let is_webhook = matches!(
        object.key.kind.as_str(),
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration"
    ) && object
        .key
        .api_version
        .starts_with("admissionregistration.k8s.io/");
    is_webhook && annotation(object, INJECT) == Some("true")
}

fn issued_for(object: &Object) -> Option<&str> {
    let is_secret = object.key.kind == "Secret" && object.key.api_version == "v1";
    is_secret.then(|| annotation(object, ISSUE)).flatten()
}

fn annotation<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    object.content["metadata"]["annotations"][name].as_str()
}

fn names(key: &Key, service: &str) -> Vec<String> {
    let namespace = key.namespace.as_deref().unwrap_or_default();
    vec![
        service.to_owned(),
        format!("{service}.{namespace}"),
        format!("{service}.{namespace}.svc"),
    ]
}

/// RFC 1123's label, as Kubernetes has it for Services.
fn is_service_name(name: &str) -> bool {
    let is_end = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && bytes.first().is_some_and(|&c| is_end(c))
        && bytes.last().is_some_and(|&c| is_end(c))
        && bytes.iter().all(|&c| is_end(c) || c == b'-')
}

const INJECT: &str = "cke.cybozu.com/inject-cacert";
const ISSUE: &str = "cke.cybozu.com/issue-cert";
/// Of a Secret of type `kubernetes.io/tls`.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

#[cfg(test)]
mod tests;
