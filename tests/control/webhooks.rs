//! Admission webhooks: trust injected, certificates issued and mended, the authority replaced.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, Patch, PatchParams, PostParams};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
};
use serde_json::{Value, json};
use tests::vault::Vault;
use tests::wait;

use crate::admission::Webhook;
use crate::scene::{Scene, json};

/// A cluster with a webhook's resources, and the webhook itself.
async fn start() -> Option<(Scene, Webhook)> {
    let scene = Scene::start(1).await?;
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    let address = scene.place().socket_address(9, 9443);
    scene.resource("webhook.yml", &resources(&address.ip().to_string()));
    let secrets = Api::namespaced(scene.client(), "team");
    let webhook = Webhook::start(address, secrets, "hook-tls");
    Some((scene, webhook))
}

/// The Service is by name, so that the API server itself finds the way without kube-proxy.
fn resources(address: &str) -> String {
    format!(
        "apiVersion: v1
kind: Namespace
metadata: {{name: team, labels: {{hooked: 'yes'}}}}
---
apiVersion: v1
kind: Service
metadata: {{namespace: team, name: hook}}
spec: {{type: ExternalName, externalName: {address}, ports: [{{port: 9443}}]}}
---
apiVersion: v1
kind: Secret
metadata:
  namespace: team
  name: hook-tls
  annotations: {{cke.cybozu.com/issue-cert: hook}}
type: kubernetes.io/tls
data: {{ours: b3Vycw==}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: hook
  annotations: {{cke.cybozu.com/inject-cacert: 'true'}}
webhooks:
- name: hook.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  timeoutSeconds: 10
  namespaceSelector: {{matchLabels: {{hooked: 'yes'}}}}
  clientConfig: {{service: {{namespace: team, name: hook, port: 9443, path: /}}}}
  rules:
  - {{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}}
"
    )
}

/// Asks the API server for an object that the webhook must allow.
async fn admitted(scene: &Scene, name: &str) -> Result<(), String> {
    let config_maps: Api<ConfigMap> = Api::namespaced(scene.client(), "team");
    let mut object = ConfigMap::default();
    object.metadata.name = Some(name.to_owned());
    let created = config_maps.create(&PostParams::default(), &object).await;
    created.map(drop).map_err(|error| error.to_string())
}

async fn first_admitted(scene: &Scene) {
    let number = AtomicUsize::new(0);
    wait::until(
        "a call to be admitted",
        Duration::from_secs(30),
        async || {
            let name = format!("first-{}", number.fetch_add(1, Ordering::Relaxed));
            admitted(scene, &name).await
        },
    )
    .await;
}

async fn secret(scene: &Scene) -> Secret {
    let secrets: Api<Secret> = Api::namespaced(scene.client(), "team");
    secrets.get("hook-tls").await.unwrap()
}

async fn edit(scene: &Scene, data: Value) {
    let secrets: Api<Secret> = Api::namespaced(scene.client(), "team");
    let patch = Patch::Merge(json!({"data": data}));
    secrets
        .patch("hook-tls", &PatchParams::default(), &patch)
        .await
        .unwrap();
}

async fn bundle(scene: &Scene) -> Vec<u8> {
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(scene.client());
    let hook = configurations.get("hook").await.unwrap();
    let webhook = &hook.webhooks.unwrap()[0];
    webhook.client_config.ca_bundle.clone().unwrap().0
}

fn count(bundle: &[u8]) -> usize {
    String::from_utf8_lossy(bundle)
        .matches("BEGIN CERTIFICATE")
        .count()
}

async fn planned(scene: &Scene) -> Vec<(String, String)> {
    let arguments = ["plan", "--resources", "resources", "-o", "json"];
    let plan = json(&scene.control(&arguments).run().await);
    let operations = plan["operations"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    operations
        .map(|operation| (text(&operation["kind"]), text(&operation["reason"])))
        .collect()
}

#[tokio::test]
async fn a_webhook_gets_its_certificate_and_its_calls_are_admitted() {
    let Some((scene, webhook)) = start().await else {
        return;
    };
    let arguments = ["plan", "--resources", "resources"];
    let plan = scene.control(&arguments).run().await.to_string();
    assert!(
        plan.contains("in the embedded store (control-store; Vault"),
        "{plan}"
    );
    let made = scene.sync_resources().await;
    assert!(
        made.contains("in the embedded store (control-store) and nowhere else"),
        "{made}"
    );
    first_admitted(&scene).await;
    let refused = admitted(&scene, "forbidden").await.unwrap_err();
    assert!(refused.contains("denied the request"), "{refused}");
    assert!(webhook.calls() >= 2);

    let data = secret(&scene).await.data.unwrap();
    assert_eq!(data["ours"].0, b"ours");
    let mode = |name: &str| {
        let path = scene.folder().join("control-store").join(name);
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode(""), mode("webhook-ca.json")), (0o700, 0o600));

    let again = scene.sync_resources().await;
    assert!(again.ends_with("nothing to do\n"), "{again}");
    assert_eq!(secret(&scene).await.data.unwrap(), data);
    assert_no_key_leaks(&scene, &data["tls.key"].0);
}

#[tokio::test]
async fn the_authority_may_be_vaults() {
    let Some((scene, _webhook)) = start().await else {
        return;
    };
    let Some(mut vault) = Vault::start(scene.place()).await else {
        return;
    };
    let url = vault.url();
    let app_role = vault.app_role().to_owned();
    let store = ["--store", &url, "--vault-config", &app_role];
    let control = async |arguments: &[&str]| scene.control(arguments).args(store).run().await;
    control(&["sync", "--resources", "resources"])
        .await
        .success();
    first_admitted(&scene).await;
    let authority = vault
        .say("GET", "cke/ca-kubernetes-webhook/ca/pem", &Value::Null)
        .await;
    let authority = authority["data"]["certificate"].as_str().unwrap();
    assert_eq!(
        String::from_utf8(bundle(&scene).await).unwrap().trim(),
        authority.trim()
    );
    let data = secret(&scene).await.data.unwrap();
    assert_eq!(data["ours"].0, b"ours");

    let again = control(&["sync", "--resources", "resources"])
        .await
        .success();
    assert!(again.ends_with("nothing to do\n"), "{again}");
    assert_no_key_leaks(&scene, &data["tls.key"].0);
    assert!(!scene.folder().join("control-store").exists());

    let shown = control(&["ca", "show"]).await.success();
    assert!(shown.contains("issues CN=kubernetes webhook CA"), "{shown}");
    let rotate = control(&["ca", "rotate"]).await;
    assert_eq!(rotate.code(), 1, "{rotate}");
    assert!(
        rotate.stderr.contains("the webhook authority is Vault's"),
        "{rotate}"
    );
    vault.peer.kill();
    let plan = control(&["plan", "--resources", "resources"]).await;
    for refused in [
        "Secret team/hook-tls",
        "ValidatingWebhookConfiguration hook",
    ] {
        let line = format!("refuse {refused}  blocked: Vault at {url}: cannot read");
        assert!(plan.stdout.contains(&line), "{plan}");
    }
}

/// A certificate and its key by control's own authority, as it may be after a year or by
/// mistake: for these names, valid from and to so many days from now.
async fn minted(scene: &Scene, names: &[&str], days: [i64; 2]) -> Value {
    let shown = scene.control(&["ca", "show", "-o", "json"]).run().await;
    let subject = json(&shown)["authorities"][0]["subject"].clone();
    let mut authority = CertificateParams::default();
    authority.distinguished_name = DistinguishedName::new();
    let subject = subject.as_str().unwrap().strip_prefix("CN=").unwrap();
    authority
        .distinguished_name
        .push(DnType::CommonName, subject);
    let store = scene.folder().join("control-store/webhook-ca.json");
    let store: Value = serde_json::from_str(&fs::read_to_string(store).unwrap()).unwrap();
    let key = KeyPair::from_pem(store["issuer"]["key"].as_str().unwrap()).unwrap();
    let issuer = Issuer::new(authority, key);

    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let [from, to] = days.map(|days| {
        let seconds = i64::try_from(now.as_secs()).unwrap() + days * 24 * 60 * 60;
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        epoch + Duration::from_secs(seconds.try_into().unwrap())
    });
    (params.not_before, params.not_after) = (from, to);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let text = |pem: String| k8s_openapi::ByteString(pem.into_bytes());
    json!({"tls.crt": text(certificate.pem()), "tls.key": text(key.serialize_pem())})
}

/// No file of the run but the store has a key, nor has any output.
fn assert_no_key_leaks(scene: &Scene, key: &[u8]) {
    let key = String::from_utf8(key.to_vec()).unwrap();
    let canary = key.lines().nth(1).unwrap();
    let outputs = fs::read_dir(scene.folder()).unwrap().flatten();
    let ours: Vec<PathBuf> = outputs
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains("-control.std"))
        .collect();
    assert!(!ours.is_empty(), "control's outputs are looked at");
    for path in ours {
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(canary), "{}", path.display());
        assert!(!text.contains("PRIVATE KEY"), "{}", path.display());
    }
}

#[tokio::test]
async fn each_damage_of_a_certificate_is_named_and_mended() {
    let Some((scene, _webhook)) = start().await else {
        return;
    };
    scene.sync_resources().await;
    edit(&scene, json!({"theirs": "dGhlaXJz"})).await;
    let foreign = scene
        .cluster
        .pki
        .server("foreign", &["hook", "hook.team", "hook.team.svc"], &[]);
    let expired = scene.cluster.pki.expired_server("expired", &[]);
    let text = |path: &PathBuf| k8s_openapi::ByteString(fs::read(path).unwrap());
    let whole = secret(&scene).await.data.unwrap();
    let names = ["hook", "hook.team", "hook.team.svc"];
    let due = minted(&scene, &names, [-250, 115]).await;
    let almost_due = minted(&scene, &names, [-240, 125]).await;
    let of_another = minted(&scene, &["hook", "hook.other", "hook.team.svc"], [-1, 364]).await;
    edit(&scene, almost_due).await;
    let right = planned(&scene).await;
    assert!(right.is_empty(), "two thirds are not over: {right:?}");
    for (why, damage) in [
        (
            "tls.key does not belong to tls.crt",
            json!({"tls.key": text(&foreign.key)}),
        ),
        ("tls.crt is no certificate", json!({"tls.crt": "eA=="})),
        ("tls.key is missing or no key", json!({"tls.key": ""})),
        (
            "issued by another authority (CN=kubernetes)",
            json!({"tls.crt": text(&foreign.certificate), "tls.key": text(&foreign.key)}),
        ),
        (
            "expired at 2001-01-01T00:00:00Z",
            json!({"tls.crt": text(&expired.certificate), "tls.key": text(&expired.key)}),
        ),
        ("not for the name hook.team", of_another),
        ("expires at ", due),
    ] {
        edit(&scene, damage).await;
        let plan = scene
            .control(&["plan", "--resources", "resources"])
            .run()
            .await;
        assert_eq!(plan.code(), 1, "{plan}");
        let expected = format!("update Secret team/hook-tls  certificate: {why}");
        assert!(plan.stdout.contains(&expected), "{expected}: {plan}");
        scene.sync_resources().await;
        let data = secret(&scene).await.data.unwrap();
        assert_eq!(data["theirs"].0, b"theirs", "what is not ours stays");
        assert_eq!(data["ours"].0, b"ours");
        assert_ne!(data["tls.crt"], whole["tls.crt"]);
        assert!(planned(&scene).await.is_empty(), "{why}");
    }
    first_admitted(&scene).await;
}

#[tokio::test]
async fn no_call_fails_while_the_authority_is_replaced() {
    let Some((scene, webhook)) = start().await else {
        return;
    };
    scene.sync_resources().await;
    first_admitted(&scene).await;
    let (old, certificate) = (bundle(&scene).await, secret(&scene).await.data.unwrap());

    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(load(
        Api::namespaced(scene.client(), "team"),
        Arc::clone(&stop),
    ));
    let rotate = scene
        .control(&["ca", "rotate", "--overlap", "2s"])
        .run()
        .await;
    assert!(rotate.success().contains("being replaced"));
    let again = scene.control(&["ca", "rotate"]).run().await;
    assert!(again.stderr.contains("being replaced already"), "{again}");

    let mut bundles = BTreeSet::from([count(&old)]);
    let settled = async || {
        scene.sync_resources().await;
        let now = bundle(&scene).await;
        bundles.insert(count(&now));
        if count(&now) == 1 && now != old {
            Ok(())
        } else {
            Err("the old authority is still trusted")
        }
    };
    wait::until("the new authority alone", Duration::from_secs(90), settled).await;
    assert_eq!(bundles, BTreeSet::from([1, 2]), "both were trusted between");
    assert_ne!(
        secret(&scene).await.data.unwrap()["tls.crt"],
        certificate["tls.crt"]
    );
    let calls = webhook.calls();
    wait::until(
        "calls with the new one",
        Duration::from_secs(30),
        async || {
            if webhook.calls() > calls + 20 {
                Ok(())
            } else {
                Err(webhook.calls())
            }
        },
    )
    .await;

    stop.store(true, Ordering::Relaxed);
    let (admitted, failed) = load.await.unwrap();
    assert_eq!(failed, Vec::<String>::new(), "{admitted} were admitted");
    println!("{admitted} calls admitted, 0 failed");
    assert!(planned(&scene).await.is_empty());
}

/// One call after the other, dry runs, until it is to stop: how many were admitted, and why
/// the others were not.
async fn load(config_maps: Api<ConfigMap>, stop: Arc<AtomicBool>) -> (usize, Vec<String>) {
    let (mut admitted, mut failed) = (0, Vec::new());
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let mut object = ConfigMap::default();
    object.metadata.name = Some("load".to_owned());
    while !stop.load(Ordering::Relaxed) {
        match config_maps.create(&dry_run, &object).await {
            Ok(_) => admitted += 1,
            Err(error) => failed.push(error.to_string()),
        }
    }
    (admitted, failed)
}
