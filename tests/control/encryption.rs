//! Encryption of Secrets at rest, on real API servers and etcd: what etcd holds, and that every
//! Secret can be read at every moment of a rotation.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tests::launch::Launch;
use tests::machine::{Machine, Machines, USER};
use tests::peer::Peer;
use tests::place::Place;
use tests::vault::Vault;
use tests::{binaries, etcd, program, wait};

use crate::scene::{Scene, json};

/// A cluster whose API servers load the encryption configurations of their hosts, of which none
/// encrypts yet, with some Secrets.
async fn start(api_servers: u8, secrets: usize) -> Option<Scene> {
    let place = Place::loopback();
    for node in 2..2 + api_servers {
        let file = file_of(place.folder(), &place.address(node).to_string());
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, PLAIN).unwrap();
    }
    let file = file_of(place.folder(), "{address}");
    let load = format!("--encryption-provider-config={}", file.display());
    let reload = "--encryption-provider-config-automatic-reload=true";
    let scene = Scene::start_in(place, api_servers, &[&load, reload]).await?;
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    for number in 0..secrets {
        let secret = json!({
            "metadata": {"name": format!("secret-{number}")},
            "stringData": {"canary": format!("{CANARY}-{number}")},
        });
        let secret: Secret = serde_json::from_value(secret).unwrap();
        let api: Api<Secret> = Api::default_namespaced(scene.client());
        api.create(&PostParams::default(), &secret).await.unwrap();
    }
    Some(scene)
}

fn file_of(folder: &Path, host: &str) -> PathBuf {
    let hosts = folder.join("hosts").join(host);
    hosts.join("etc/kubernetes/apiserver/encryption.yml")
}

async fn rotate(scene: &Scene, arguments: &[&str]) -> String {
    let rotate = scene.control(&["encryption-key", "rotate"]);
    rotate.args(arguments).run().await.success()
}

async fn sync(scene: &Scene) -> String {
    let sync = scene.control(&["sync", "--hosts", "hosts"]);
    sync.run().await.success()
}

async fn shown(scene: &Scene) -> Value {
    let show = scene.control(&["encryption-key", "show", "-o", "json"]);
    json(&show.run().await)
}

/// The names of the keys, the first one first.
async fn keys(scene: &Scene) -> Vec<String> {
    let shown = shown(scene).await;
    let keys = shown["keys"].as_array().unwrap().iter();
    keys.map(|key| key["name"].as_str().unwrap().to_owned())
        .collect()
}

/// The step at which a rotation stands, from the store's file: faster than control is.
fn step(scene: &Scene) -> String {
    let file = scene.folder().join("control-store/k8s.json");
    let fields: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let rotation: Value = serde_json::from_str(fields["control"].as_str().unwrap()).unwrap();
    rotation["step"].as_str().unwrap().to_owned()
}

/// What control does step by step: the store's word, and each host's file.
fn visible(scene: &Scene) -> (String, Vec<String>) {
    let hosts = scene.cluster.api_servers.iter();
    let files = hosts.map(|server| {
        let host = server.address().ip().to_string();
        fs::read_to_string(file_of(scene.folder(), &host)).unwrap()
    });
    (step(scene), files.collect())
}

fn run(scene: &Scene) -> Peer {
    let metrics = scene.place().socket_address(11, 9254).to_string();
    let run = ["run", "--hosts", "hosts", "--interval", "1s"];
    let run = scene.control(&run);
    run.args(["--metrics-addr", &metrics]).start()
}

/// How what etcd holds of each Secret begins, up to the name of the key, and how many do.
async fn prefixes(scene: &Scene) -> BTreeMap<String, usize> {
    let address = format!("https://{}", scene.cluster.etcd.address());
    let pki = &scene.cluster.pki;
    let client = etcd::client(&pki.ca_file(), &scene.cluster.admin, &address);
    let [first, end] = ["/registry/secrets/", "/registry/secrets0"].map(|key| STANDARD.encode(key));
    let range = json!({"key": first, "range_end": end});
    let request = Request::post("/v3/kv/range").body(range.to_string().into_bytes());
    let found: Value = client.request(request.unwrap()).await.unwrap();
    let found = found["kvs"].as_array().unwrap().iter();
    let mut prefixes = BTreeMap::new();
    for pair in found {
        let value = STANDARD.decode(pair["value"].as_str().unwrap()).unwrap();
        let text = String::from_utf8_lossy(&value[..value.len().min(80)]).into_owned();
        // A key's name is a time: the prefix ends with the second's colon.
        let prefix = match text.strip_prefix("k8s:enc:") {
            Some(_) => text.split_inclusive("Z:").next().unwrap(),
            None => "plain",
        };
        *prefixes.entry(prefix.to_owned()).or_default() += 1;
    }
    prefixes
}

/// Every Secret in etcd begins so.
async fn assert_all_begin(scene: &Scene, expected: &str) {
    let prefixes = prefixes(scene).await;
    let all: Vec<&str> = prefixes.keys().map(String::as_str).collect();
    assert_eq!(all, [expected]);
}

/// Whether API servers say which configuration they have loaded.
async fn tell(scene: &Scene) -> bool {
    scene.cluster.minor_version().await >= 34
}

/// Gives a person's word for API servers that a sync has found silent, and that have been restarted.
async fn vouch_if_asked(scene: &Scene, said: &str, hosts: &[&str]) {
    if said.contains("run `control encryption-key loaded`") {
        assert!(!tell(scene).await, "{said}");
        let loaded = scene.control(&["encryption-key", "loaded"]);
        loaded.args(hosts).run().await.success();
    }
}

/// Restarts each API server, as one without automatic reload needs it.
async fn restart(scene: &mut Scene) {
    for server in &mut scene.cluster.api_servers {
        server.restart().await;
    }
}

/// Carries a rotation to its end by `sync` and restarts; gives the steps that it went through.
async fn settle(scene: &mut Scene) -> Vec<String> {
    let mut steps = vec![step(scene)];
    for _ in 0..12 {
        let before = step(scene);
        let said = sync(scene).await;
        let now = step(scene);
        if steps.last() != Some(&now) {
            steps.push(now.clone());
        }
        if now == "settled" {
            return steps;
        }
        if now != "rewriting" {
            restart(scene).await;
        }
        if now == before {
            vouch_if_asked(scene, &said, &["--hosts", "hosts"]).await;
        }
    }
    panic!("no end: {steps:?}");
}

/// Canaries of all keys that there ever were, and of the Secrets, are in no output of control.
fn assert_nothing_leaks(scene: &Scene, secrets: &[String]) {
    let files = fs::read_dir(scene.folder()).unwrap().flatten();
    let ours: Vec<PathBuf> = files
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains("-control."))
        .collect();
    assert!(ours.len() > 3, "control's outputs are looked at");
    for path in ours {
        let text = fs::read_to_string(&path).unwrap();
        for secret in secrets {
            assert!(!text.contains(secret.as_str()), "{}", path.display());
        }
    }
}

/// The keys themselves, as the store has them now.
fn secrets_in_store(scene: &Scene) -> Vec<String> {
    let file = scene.folder().join("control-store/k8s.json");
    let fields: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let mut secrets = Vec::new();
    for provider in ["aescbc", "secretbox"] {
        let listed = fields[provider].as_str().unwrap_or("{}");
        let listed: Value = serde_json::from_str(listed).unwrap();
        for key in listed["keys"].as_array().into_iter().flatten() {
            secrets.push(key["secret"].as_str().unwrap().to_owned());
        }
    }
    assert!(!secrets.is_empty());
    secrets
}

#[tokio::test]
async fn configurations_are_delivered_over_ssh() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let loaded = place.folder().join("encryption.yml");
    fs::write(&loaded, PLAIN).unwrap();
    let load = format!("--encryption-provider-config={}", loaded.display());
    let reload = "--encryption-provider-config-automatic-reload=true";
    let Some(mut scene) = Scene::start_in(place, 1, &[&load, reload]).await else {
        return;
    };
    let Some(machines) = Machines::here(scene.place()).await else {
        return;
    };
    let machine = &machines.list[0];
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    let file = scene.folder().join("cluster.yml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("user: u,", &format!("user: {USER},"))).unwrap();
    rotate(&scene, &[]).await;
    scene.ssh_key(&machines.key());

    let known_hosts = machines.known_hosts();
    let known_hosts = known_hosts.to_str().unwrap();
    let hosts = ["--hosts", "ssh", "--known-hosts", known_hosts];
    for expected in ["adding", "promoting", "dropping", "settled"] {
        assert_eq!(step(&scene), expected);
        let sync = async |scene: &Scene| {
            let sync = scene.control(&["sync"]).args(hosts);
            sync.run().await.success()
        };
        sync(&scene).await;
        // What is one file on a host are two here.
        let script = "stat -c '%U %a' /etc/kubernetes/apiserver/encryption.yml; \
                      cat /etc/kubernetes/apiserver/encryption.yml";
        let said = machine.run(scene.place(), script).await.success();
        let text = said.strip_prefix("root 600\n").expect(&said);
        fs::write(&loaded, text).unwrap();
        restart(&mut scene).await;
        // Once more, and the step that it has loaded is done.
        let said = sync(&scene).await;
        vouch_if_asked(&scene, &said, &hosts).await;
        if step(&scene) == "rewriting" {
            sync(&scene).await;
        }
    }
    let expected = format!("k8s:enc:aescbc:v1:{}:", keys(&scene).await[0]);
    let secret: Secret = serde_json::from_value(json!({"metadata": {"name": "a"}})).unwrap();
    let api: Api<Secret> = Api::default_namespaced(scene.client());
    api.create(&PostParams::default(), &secret).await.unwrap();
    assert_all_begin(&scene, &expected).await;
    let plan = ["plan", "--hosts", "ssh", "--known-hosts", known_hosts];
    let plan = scene.control(&plan).run().await;
    assert!(!plan.stdout.contains("EncryptionConfiguration"), "{plan}");
}

#[tokio::test]
async fn secrets_are_encrypted_and_the_key_and_provider_replaced() {
    let Some(mut scene) = start(1, 20).await else {
        return;
    };
    let none = scene.control(&["encryption-key", "show"]).run().await;
    assert!(none.stderr.contains("has no encryption key yet"), "{none}");
    sync(&scene).await;
    assert_all_begin(&scene, "plain").await;

    let begun = rotate(&scene, &[]).await;
    assert!(begun.contains("reads aescbc"), "{begun}");
    let first = keys(&scene).await;
    let mut canaries = secrets_in_store(&scene);
    canaries.push(CANARY.to_owned());
    let plan = scene.control(&["plan", "--hosts", "hosts"]).run().await;
    let line = "learn to read with the new key";
    assert!(plan.stdout.contains(line), "{plan}");
    let steps = settle(&mut scene).await;
    assert_eq!(
        steps,
        ["adding", "promoting", "dropping", "settled"],
        "all Secrets are written anew as soon as all API servers have promoted the key"
    );
    let expected = format!("k8s:enc:aescbc:v1:{}:", first[0]);
    assert_all_begin(&scene, &expected).await;
    let host = scene.cluster.api_servers[0].address().ip().to_string();
    let file = file_of(scene.folder(), &host);
    let store = scene.folder().join("control-store/k8s.json");
    for private in [&file, &store] {
        let mode = fs::metadata(private).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", private.display());
    }
    let plan = scene.control(&["plan", "--hosts", "hosts"]).run().await;
    assert!(!plan.stdout.contains("EncryptionConfiguration"), "{plan}");
    let status = scene.control(&["status"]);
    let (etcd, ca) = (&scene.cluster.admin, scene.cluster.pki.ca_file());
    let status = status.arg("--etcd-ca").arg(ca);
    let status = status.arg("--etcd-cert").arg(&etcd.certificate);
    let status = status.arg("--etcd-key").arg(&etcd.key).run().await;
    let line = "Secrets at rest: good, 20 in etcd looked at, all encrypted (aescbc)";
    assert!(status.stdout.contains(line), "{status}");

    rotate(&scene, &["--provider", "secretbox"]).await;
    canaries.extend(secrets_in_store(&scene));
    let refused = scene.control(&["encryption-key", "rotate"]).run().await;
    assert_eq!(refused.code(), 1, "{refused}");
    assert!(refused.stderr.contains("is under way"), "{refused}");
    sync(&scene).await;
    let waiting = sync(&scene).await;
    let why = match tell(&scene).await {
        true => "its API server has not",
        false => "its API server does not say",
    };
    let line = format!("hold EncryptionConfiguration {host}  waiting: {why}");
    assert!(waiting.contains(&line), "{waiting}");
    assert_all_begin(&scene, &expected).await;
    restart(&mut scene).await;
    settle(&mut scene).await;
    let last = keys(&scene).await;
    assert_eq!(last.len(), 1, "the old key is gone");
    assert_ne!(last, first);
    let expected = format!("k8s:enc:secretbox:v1:{}:", last[0]);
    assert_all_begin(&scene, &expected).await;

    // Somebody else's keys are never replaced.
    let ours = fs::read_to_string(&file).unwrap();
    let theirs = ours.replace(&secrets_in_store(&scene)[0], &canaries[0]);
    fs::write(&file, &theirs).unwrap();
    let refused = scene.control(&["sync", "--hosts", "hosts"]).run().await;
    assert_eq!(refused.code(), 1, "{refused}");
    assert!(
        refused
            .stdout
            .contains("has a key that the store does not have"),
        "{refused}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), theirs);
    assert_nothing_leaks(&scene, &canaries);
}

/// A cluster's Secrets, read and changed through one API server after the other, until told to
/// stop; how often, and what failed.
async fn read_all(clients: Vec<Client>, secrets: usize, stop: Arc<AtomicBool>) -> (usize, String) {
    let apis: Vec<Api<Secret>> = clients.into_iter().map(Api::default_namespaced).collect();
    let (mut reads, mut turn) = (0, 0_usize);
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let (writer, reader) = (&apis[turn % apis.len()], &apis[(turn + 1) % apis.len()]);
        let value = format!("{CANARY}-turn-{turn}");
        let patch = Patch::Merge(json!({"stringData": {"turn": value}}));
        let parameters = PatchParams::default();
        if let Err(error) = writer.patch("secret-0", &parameters, &patch).await {
            return (reads, format!("a write: {error}"));
        }
        for number in 0..secrets {
            let name = format!("secret-{number}");
            // Without a resourceVersion a GET is answered from etcd.
            let read = match reader.get(&name).await {
                Ok(read) => read,
                Err(error) => return (reads, format!("{name}: {error}")),
            };
            let data = read.data.as_ref().unwrap();
            let expected = format!("{CANARY}-{number}");
            assert_eq!(data["canary"].0, expected.as_bytes(), "{}", read.name_any());
            if number == 0 {
                assert_eq!(data["turn"].0, value.as_bytes(), "the last write is read");
            }
            reads += 1;
        }
    }
    (reads, String::new())
}

#[tokio::test]
async fn no_secret_is_unreadable_while_control_is_killed_at_every_step() {
    let secrets = 200;
    let Some(scene) = start(2, secrets).await else {
        return;
    };
    if !tell(&scene).await {
        let why = "an older one does not say what it has loaded, so each step takes a person";
        return binaries::skip("kube-apiserver-1.34", why);
    }
    sync(&scene).await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients = vec![scene.cluster.client(0), scene.cluster.client(1)];
    let reader = tokio::spawn(read_all(clients, secrets, Arc::clone(&stop)));

    rotate(&scene, &[]).await;
    let (name, canaries) = (keys(&scene).await, secrets_in_store(&scene));
    let prefix = format!("k8s:enc:aescbc:v1:{}:", name[0]);
    let (mut killed_at, mut midway) = (Vec::new(), None);
    while step(&scene) != "settled" {
        let before = visible(&scene);
        let mut control = run(&scene);
        // API servers look at the file each minute.
        let minute = Instant::now() + Duration::from_secs(150);
        let mut pace = tokio::time::interval(Duration::from_millis(2));
        while visible(&scene) == before {
            assert!(Instant::now() < minute, "{before:?}: {}", control.log());
            pace.tick().await;
            if before.0 == "rewriting" && midway.is_none() {
                let rewritten = prefixes(&scene).await.get(&prefix).copied();
                midway = rewritten.filter(|&number| number > 10);
                if midway.is_some() {
                    break;
                }
            }
        }
        control.kill();
        killed_at.push(step(&scene));
        // The next one need not wait for it to run out.
        let leases: Api<Lease> = scene.in_kube_system();
        let name = "cke-control";
        leases.delete(name, &DeleteParams::default()).await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let (reads, failed) = reader.await.unwrap();
    assert_eq!(failed, "", "after {reads} reads");
    assert!(reads > secrets, "{reads}");
    println!(
        "{reads} reads, none failed; killed at {killed_at:?}, once when {midway:?} of {secrets} \
         were rewritten"
    );
    assert!(midway.is_some_and(|number| number < secrets), "{midway:?}");
    // At a delivery the step is still the one before.
    killed_at.dedup();
    assert_eq!(
        killed_at,
        ["adding", "promoting", "rewriting", "dropping", "settled"]
    );
    assert_all_begin(&scene, &prefix).await;
    let canaries: Vec<String> = canaries.into_iter().chain([CANARY.to_owned()]).collect();
    assert_nothing_leaks(&scene, &canaries);
}

#[tokio::test]
async fn an_operator_vouches_for_api_servers_that_do_not_say_what_they_have_loaded() {
    // As one before 1.34: it has no such metric.
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    fs::create_dir(scene.folder().join("hosts")).unwrap();
    let loaded = async || {
        let loaded = scene.control(&["encryption-key", "loaded", "--hosts", "hosts"]);
        loaded.run().await
    };
    let early = loaded().await;
    assert_eq!(early.code(), 1, "{early}");
    assert!(early.stderr.contains("there is no key"), "{early}");
    rotate(&scene, &[]).await;
    let early = loaded().await;
    assert!(early.stderr.contains("not delivered yet"), "{early}");
    assert_eq!(step(&scene), "adding");

    for next in ["promoting", "rewriting", "settled"] {
        let waiting = sync(&scene).await;
        let waiting = format!("{waiting}{}", sync(&scene).await);
        let line = "once all are restarted run `control encryption-key loaded`";
        assert!(waiting.contains(line), "{waiting}");
        loaded().await.success();
        assert_eq!(step(&scene), next);
        if next == "rewriting" {
            // That needs nobody's word.
            sync(&scene).await;
            assert_eq!(step(&scene), "dropping");
        }
    }
    let late = loaded().await;
    assert!(late.stderr.contains("no step waits"), "{late}");
}

/// Has the systemd of a machine run the scene's first API server, with more flags, instead of the test.
async fn move_api_server(scene: &mut Scene, machine: &Machine, flags: &str) {
    let peer = &mut scene.cluster.api_servers[0].peer;
    let command = fs::read(format!("/proc/{}/cmdline", peer.pid().as_raw_nonzero())).unwrap();
    peer.kill();
    let command = String::from_utf8(command).unwrap();
    let words: Vec<&str> = command.split_terminator('\0').collect();
    // The machine has a /tmp of its own.
    for word in &words {
        let path = Path::new(word.split_once('=').map_or("", |(_, value)| value));
        if path.is_file() {
            machine.install(path, path.to_str().unwrap());
        }
    }
    let start = format!("exec '{}' {flags}\n", words.join("' '"));
    let unit = "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sh /etc/kubernetes/apiserver/start\n";
    let script = scene.folder().join("script");
    for (text, path) in [
        (start.as_str(), "/etc/kubernetes/apiserver/start"),
        (PLAIN, "/etc/kubernetes/apiserver/encryption.yml"),
        (unit, "/etc/systemd/system/kube-apiserver.service"),
    ] {
        fs::write(&script, text).unwrap();
        machine.install(&script, path);
    }
    let script = "chmod 600 /etc/kubernetes/apiserver/encryption.yml\n\
                  systemctl daemon-reload && systemctl start kube-apiserver";
    machine.run(scene.place(), script).await.success();
    let client = scene.client();
    wait::until(
        "the API server there",
        Duration::from_secs(120),
        async || client.apiserver_version().await,
    )
    .await;
}

#[tokio::test]
async fn api_servers_that_do_not_say_what_they_have_loaded_are_restarted_by_a_command() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let Some(mut scene) = Scene::start_in(place, 1, &[]).await else {
        return;
    };
    let Some(machines) = Machines::here(scene.place()).await else {
        return;
    };
    let machine = &machines.list[0];
    // As one before 1.34: it has no such metric.
    let flags = "--encryption-provider-config=/etc/kubernetes/apiserver/encryption.yml \
                 --disabled-metrics=apiserver_encryption_config_controller_last_config_info";
    move_api_server(&mut scene, machine, flags).await;
    let secrets: Api<Secret> = Api::default_namespaced(scene.client());
    let secret: Secret = serde_json::from_value(json!({"metadata": {"name": "a"}})).unwrap();
    secrets
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
    scene.ssh_key(&machines.key());

    let known_hosts = machines.known_hosts();
    let ssh = [
        "--hosts",
        "ssh",
        "--known-hosts",
        known_hosts.to_str().unwrap(),
    ];
    let write = |command: &str| {
        let options = format!(
            "dns_servers: [192.0.2.53]\noptions: {{encryption: {{restart_command: {command}}}}}\n"
        );
        scene.cluster_yml("", &options);
        let file = scene.folder().join("cluster.yml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("user: u,", &format!("user: {USER},"))).unwrap();
    };
    let process = async || {
        let said = machine.run(
            scene.place(),
            "systemctl show --property=MainPID kube-apiserver",
        );
        said.await.success()
    };

    // A command that does nothing is found out, and nothing goes on.
    write("[sh, -c, 'echo \"no restart today\" >&2; exit 7']");
    rotate(&scene, &[]).await;
    scene.control(&["sync"]).args(ssh).run().await.success();
    let before = process().await;
    let failed = scene.control(&["sync"]).args(ssh).run().await;
    assert_eq!(failed.code(), 1, "{failed}");
    assert!(failed.stdout.contains("no restart today"), "{failed}");
    assert_eq!(
        (step(&scene).as_str(), process().await),
        ("adding", before.clone())
    );

    write("[systemctl, restart, kube-apiserver]");
    let plan = scene.control(&["plan"]).args(ssh).run().await;
    assert!(
        plan.stdout
            .contains("restart EncryptionConfiguration 10.9.0.2"),
        "{plan}"
    );
    let run = ["run", "--interval", "1s", "--metrics-addr", "10.9.0.1:9254"];
    let run = scene.control(&run).args(ssh).start();
    let mut seen = Vec::from([(step(&scene), before)]);
    wait::until(
        "the end of the rotation",
        Duration::from_secs(300),
        async || {
            let now = (step(&scene), process().await);
            if seen.last() != Some(&now) {
                seen.push(now.clone());
            }
            if now.0 == "settled" {
                Ok(())
            } else {
                Err(format!("{seen:?}\n{}", run.log()))
            }
        },
    )
    .await;
    let processes: BTreeSet<&String> = seen.iter().map(|(_, process)| process).collect();
    println!("{} processes of one API server: {seen:?}", processes.len());
    // With no key before it, the file is the same in the steps after promoting.
    assert_eq!(
        processes.len(),
        3,
        "one restart each for adding and promoting: {seen:?}"
    );
    let name = keys(&scene).await[0].clone();
    assert_all_begin(&scene, &format!("k8s:enc:aescbc:v1:{name}:")).await;
    secrets.get("a").await.unwrap();
}

#[tokio::test]
async fn keys_that_cke_kept_in_vault_are_taken_over() {
    let Some(scene) = start(1, 1).await else {
        return;
    };
    let Some(vault) = Vault::start(scene.place()).await else {
        return;
    };
    let secret = STANDARD.encode([7; 32]);
    let listed = json!({"keys": [{"name": "2024-01-01T00:00:00Z", "secret": secret}]});
    let kept = json!({"aescbc": listed.to_string(), "theirs": "stays"});
    vault.say("POST", "cke/secrets/k8s", &kept).await;
    let (url, app_role) = (vault.url(), vault.app_role().to_owned());
    let vaults = [
        "--hosts",
        "hosts",
        "--store",
        &url,
        "--vault-config",
        &app_role,
    ];
    let control = async |arguments: &[&str]| scene.control(arguments).args(vaults).run().await;

    let shown = control(&["encryption-key", "show"]).await.success();
    assert!(
        shown.contains("writes aescbc 2024-01-01T00:00:00Z"),
        "{shown}"
    );
    control(&["sync"]).await.success();
    let host = scene.cluster.api_servers[0].address().ip().to_string();
    let delivered = fs::read_to_string(file_of(scene.folder(), &host)).unwrap();
    assert!(delivered.contains(&secret));

    // What was read is not written back by one who was held up since, in the third connection of
    // four here: somebody else may have gone on.
    if let Some(strace) = binaries::packaged("strace") {
        let before = vault.say("GET", "cke/secrets/k8s", &Value::Null).await;
        let held_up = ["-f", "-qq", "-e", "trace=connect", "-e", HELD_UP];
        let late = Launch::new(scene.place(), "late", &strace)
            .args(held_up)
            .arg(program::path("control"))
            .args(["encryption-key", "rotate"])
            .args(vaults)
            .run()
            .await;
        assert_eq!(late.code(), 1, "{late}");
        assert!(late.stderr.contains("is too old by now"), "{late}");
        let after = vault.say("GET", "cke/secrets/k8s", &Value::Null).await;
        assert_eq!(after["data"], before["data"]);
    }

    control(&["encryption-key", "rotate"]).await.success();
    let kept = vault.say("GET", "cke/secrets/k8s", &Value::Null).await;
    assert_eq!(kept["data"]["theirs"], "stays");
    let listed: Value = serde_json::from_str(kept["data"]["aescbc"].as_str().unwrap()).unwrap();
    let names = listed["keys"].as_array().unwrap().iter();
    let names: Vec<_> = names.map(|key| key["name"].as_str().unwrap()).collect();
    assert_eq!((names[0], names.len()), ("2024-01-01T00:00:00Z", 2));
    control(&["sync"]).await.success();
    let delivered = fs::read_to_string(file_of(scene.folder(), &host)).unwrap();
    let order = [names[0], names[1], "identity"].map(|text| delivered.find(text).unwrap());
    assert!(order.is_sorted(), "{order:?}");
    assert_nothing_leaks(&scene, &[secret]);
}

const CANARY: &str = "canary-of-a-secret";
/// Microseconds.
const HELD_UP: &str = "inject=connect:delay_enter=7000000:when=3";
/// A configuration that encrypts nothing.
const PLAIN: &str = "kind: EncryptionConfiguration
apiVersion: apiserver.config.k8s.io/v1
resources:
- resources: [secrets]
  providers: [{identity: {}}]
";
