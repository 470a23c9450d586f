//! What the annotations bring about, as a specification.

use jiff::Timestamp;

use super::*;
use crate::pki::ca::{self, KeyedCertificate};
use crate::resources;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

const SECRET: &str = "apiVersion: v1
kind: Secret
metadata: {namespace: team, name: tls, annotations: {cke.cybozu.com/issue-cert: hook}}
data: {other: b3RoZXI=}
";
const CONFIGURATION: &str = "apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: hook, annotations: {cke.cybozu.com/inject-cacert: 'true'}}
webhooks:
- {name: a.example.com, clientConfig: {service: {namespace: team, name: hook}}}
- {name: b.example.com, clientConfig: {url: 'https://b.example.com', caBundle: eA==}}
- {name: c.example.com}
";

fn read(text: &str) -> Resources {
    let objects = resources::parse("a.yml".as_ref(), text.as_bytes()).unwrap();
    Resources { objects }
}

fn desired(resources: &Resources, observed: &Observed) -> Desired {
    let mut desired = Desired {
        objects: resources.objects.iter().map(|r| r.object.clone()).collect(),
        ..Desired::default()
    };
    add(&mut desired, observed);
    desired
}

fn observed(authority: Authority, live: impl IntoIterator<Item = Object>) -> Observed {
    Observed {
        objects: live.into_iter().map(|o| (o.key, o.content)).collect(),
        authority,
        now: at(0),
        ..Observed::default()
    }
}

fn trusted(authorities: &[&KeyedCertificate]) -> Authority {
    Authority::Trusted(Trust {
        issuer: authorities[0].certificate.clone(),
        others: authorities[1..]
            .iter()
            .map(|a| a.certificate.clone())
            .collect(),
        rotation: None,
    })
}

fn bundle(authorities: &[&KeyedCertificate]) -> String {
    let pem: String = authorities.iter().map(|a| a.certificate.pem()).collect();
    STANDARD.encode(pem)
}

fn live_secret(authority: &KeyedCertificate) -> Object {
    let names = ["hook", "hook.team", "hook.team.svc"].map(str::to_owned);
    let issued = ca::issue(authority, &names, at(0)).unwrap();
    let mut object = read(SECRET).objects.remove(0).object;
    object.content["data"][CERTIFICATE] = json!(STANDARD.encode(issued.certificate.pem()));
    object.content["data"][KEY] = json!(STANDARD.encode(issued.key.expose()));
    object
}

fn bundles(object: &Object) -> Vec<&str> {
    let webhooks = object.content["webhooks"].as_array().unwrap();
    let bundles = webhooks
        .iter()
        .map(|webhook| &webhook["clientConfig"]["caBundle"]);
    bundles.map(|bundle| bundle.as_str().unwrap()).collect()
}

#[test]
fn every_bundle_is_filled() {
    let authority = ca::authority(at(0)).unwrap();
    let seen = observed(trusted(&[&authority]), []);
    let desired = desired(&read(CONFIGURATION), &seen);
    assert_eq!(bundles(&desired.objects[0]), vec![bundle(&[&authority]); 3]);
}

#[test]
fn a_bundle_that_means_the_same_is_kept_as_it_is() {
    let (one, two) = (ca::authority(at(0)).unwrap(), ca::authority(at(1)).unwrap());
    let resources = read(CONFIGURATION);
    let mut live = resources.objects[0].object.clone();
    // As CKE writes it, in another order and without the last line break.
    let other_form = format!("{}{}", two.certificate.pem(), one.certificate.pem());
    let kept = STANDARD.encode(other_form.trim_end());
    live.content["webhooks"][0]["clientConfig"]["caBundle"] = json!(kept);
    live.content["webhooks"][1]["clientConfig"]["caBundle"] = json!(bundle(&[&two]));
    let desired = desired(&resources, &observed(trusted(&[&one, &two]), [live]));
    let both = bundle(&[&one, &two]);
    assert_eq!(bundles(&desired.objects[0]), [&kept, &both, &both]);
}

#[test]
fn a_certificate_that_is_right_is_wanted_as_it_is() {
    let authority = ca::authority(at(0)).unwrap();
    let live = live_secret(&authority);
    let seen = observed(trusted(&[&authority]), [live.clone()]);
    let desired = desired(&read(SECRET), &seen);
    assert_eq!(desired.objects, [live]);
    assert!(desired.certificates.is_empty());
}

#[test]
fn a_missing_or_bad_one_is_to_be_issued_for_three_names() {
    let (ours, other) = (ca::authority(at(0)).unwrap(), ca::authority(at(1)).unwrap());
    let foreign = Defect::ForeignIssuer {
        issuer: other.certificate.said.subject.clone(),
    };
    for (live, defect) in [
        (None, Defect::Missing),
        (Some(live_secret(&other)), foreign),
    ] {
        let desired = desired(&read(SECRET), &observed(trusted(&[&ours]), live));
        let (key, wanted) = desired.certificates.iter().next().unwrap();
        assert_eq!(key.name, "tls");
        assert_eq!(wanted.names, ["hook", "hook.team", "hook.team.svc"]);
        assert_eq!(wanted.defect, defect);
        assert_eq!(desired.objects[0].content["data"]["other"], "b3RoZXI=");
    }
}

#[test]
fn without_an_authority_yet_that_is_said_and_nothing_is_injected() {
    let resources = read(&format!("{SECRET}---\n{CONFIGURATION}"));
    let store = "control-store".to_owned();
    let missing = Authority::Missing {
        store: store.clone(),
    };
    let desired = desired(&resources, &observed(missing, []));
    assert_eq!(desired.notes, [Note::NoAuthority { store }]);
    assert_eq!(desired.certificates.len(), 1);
    assert_eq!(desired.objects[1], resources.objects[1].object);
}

#[test]
fn a_store_that_cannot_be_asked_blocks_only_what_needs_it() {
    let plain = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: team, name: a}\n";
    let resources = read(&format!("{SECRET}---\n{CONFIGURATION}{plain}"));
    let why = "sealed".to_owned();
    let unknown = Authority::Unknown { why: why.clone() };
    let desired = desired(&resources, &observed(unknown, []));
    let blocked: Vec<_> = desired.refused.iter().map(|refusal| &refusal.why).collect();
    assert_eq!(blocked, [&why, &why]);
    assert_eq!(desired.objects.len(), 1);
}

#[test]
fn what_is_no_name_of_a_service_is_refused() {
    for name in ["''", "'a b'", "A", "-a", "a.b", "é"] {
        let text = SECRET.replace("issue-cert: hook", &format!("issue-cert: {name}"));
        let authority = ca::authority(at(0)).unwrap();
        let desired = desired(&read(&text), &observed(trusted(&[&authority]), []));
        assert_eq!(
            (desired.objects.len(), desired.refused.len()),
            (0, 1),
            "{name}"
        );
    }
}

#[test]
fn progress_is_what_the_cluster_shows() {
    let (old, new) = (ca::authority(at(0)).unwrap(), ca::authority(at(1)).unwrap());
    let resources = read(&format!("{SECRET}---\n{CONFIGURATION}"));
    let configuration = |bundled: &[&KeyedCertificate]| {
        let mut live = resources.objects[1].object.clone();
        for index in 0..3 {
            live.content["webhooks"][index]["clientConfig"]["caBundle"] = json!(bundle(bundled));
        }
        live
    };
    for (secret, bundled, trusted_by_all, issued) in [
        (&old, vec![&old], false, false),
        (&old, vec![&old, &new], true, false),
        (&new, vec![&old, &new], true, true),
        (&new, vec![&new], false, true),
    ] {
        let live = [live_secret(secret), configuration(&bundled)];
        let seen = observed(trusted(&[&new, &old]), live);
        let expected = Progress {
            trusted: trusted_by_all,
            issued,
        };
        assert_eq!(progress(Some(&resources), &seen), expected);
    }
    let nothing = observed(trusted(&[&new, &old]), []);
    assert!(!progress(Some(&resources), &nothing).trusted);
}
