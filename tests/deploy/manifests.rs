//! The bases: accepted by a real API server, and, where control writes the same, the same.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::dns::{Question, RecordType};
use tests::launch::Launch;
use tests::node::images::root;
use tests::place::Place;
use tests::{program, wait};

use crate::scene::{DEADLINE, Scene, parse};

#[tokio::test]
async fn an_api_server_takes_every_base_without_a_warning() {
    let Some(scene) = Scene::start().await else {
        return;
    };
    let take = ["--server-side", "--dry-run=server", "--output=json"];
    for base in BASES {
        let folder = root().join("deploy").join(base).display().to_string();
        let said = scene
            .kubectl(&["apply", "--kustomize", &folder])
            .args(take)
            .run()
            .await;
        assert_eq!(said.stderr, "", "{base}");
        let listed: Value = serde_json::from_str(&said.success()).unwrap();
        for object in listed["items"].as_array().unwrap() {
            assert_safe(object);
        }
    }
    let pod = root()
        .join("deploy/rivers-static-pod/rivers.yaml")
        .display()
        .to_string();
    let said = scene
        .kubectl(&["apply", "--filename", &pod])
        .args(take)
        .run()
        .await;
    assert_eq!(said.stderr, "");
    assert_pod_safe(&serde_json::from_str::<Value>(&said.success()).unwrap()["spec"]);
}

/// Pods of a workload are as little as their work allows.
fn assert_safe(object: &Value) {
    if let Some(pod) = object.pointer("/spec/template/spec") {
        assert_pod_safe(pod);
    }
}

fn assert_pod_safe(pod: &Value) {
    assert!(pod["priorityClassName"].is_string(), "{pod}");
    for container in pod["containers"].as_array().unwrap() {
        let context = &container["securityContext"];
        assert_eq!(context["readOnlyRootFilesystem"], true, "{pod}");
        assert_eq!(context["allowPrivilegeEscalation"], false, "{pod}");
        assert_eq!(
            context["capabilities"]["drop"],
            serde_json::json!(["ALL"]),
            "{pod}"
        );
        assert!(container["livenessProbe"].is_object(), "{pod}");
        assert!(
            container["resources"]["requests"]["memory"].is_string(),
            "{pod}"
        );
    }
}

#[tokio::test]
async fn the_bases_of_what_control_keeps_are_what_it_writes() {
    let Some(scene) = Scene::start().await else {
        return;
    };
    scene
        .control(&scene.kubeconfig(), &["sync"])
        .run()
        .await
        .success();
    for base in ["node-dns", "cluster-dns"] {
        let folder = root().join("deploy").join(base).display().to_string();
        // As control writes them: what it has and a base has not would go.
        let said = scene
            .kubectl(&[
                "apply",
                "--kustomize",
                &folder,
                "--server-side",
                "--dry-run=server",
            ])
            .args(["--field-manager=cke", "--force-conflicts", "--output=json"])
            .run()
            .await;
        let listed: Value = serde_json::from_str(&said.success()).unwrap();
        let mut compared = 0;
        for mut wanted in listed["items"].as_array().unwrap().clone() {
            let metadata = |field: &str| wanted["metadata"][field].as_str().unwrap_or_default();
            let (kind, name) = (
                wanted["kind"].as_str().unwrap().to_owned(),
                metadata("name"),
            );
            let namespace = format!("--namespace={}", metadata("namespace"));
            // Its content is an example, and the policy is not control's.
            if kind == "ConfigMap" || kind == "NetworkPolicy" {
                continue;
            }
            let said = scene
                .kubectl(&["get", &kind, name, &namespace, "--output=json"])
                .run()
                .await;
            let mut live: Value = serde_json::from_str(&said.success()).unwrap();
            for object in [&mut wanted, &mut live] {
                for changing in [
                    "annotations",
                    "managedFields",
                    "resourceVersion",
                    "generation",
                ] {
                    object["metadata"].as_object_mut().unwrap().remove(changing);
                }
            }
            assert_eq!(wanted, live, "{base}: {kind}");
            compared += 1;
        }
        assert!(compared >= 2, "{base}");
    }
}

#[tokio::test]
async fn what_is_controls_is_copied_from_it() {
    let place = Place::loopback();
    let said = Launch::new(&place, "generate", &root().join("deploy/generate"))
        .arg("--check")
        .run()
        .await;
    assert_eq!(said.code(), 0, "{said}");
}

/// The bases name the images that this tree builds.
#[test]
fn images_have_this_version() {
    let mut named = 0;
    for base in BASES.iter().chain(&["rivers-static-pod"]) {
        for file in fs::read_dir(root().join("deploy").join(base)).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            for image in text
                .split_whitespace()
                .filter(|word| word.starts_with("localhost/"))
            {
                // Without a version: a base's placeholder, which its kustomization replaces.
                let Some((_, version)) = image.split_once(':') else {
                    continue;
                };
                assert_eq!(version, env!("CARGO_PKG_VERSION"), "{base}: {image}");
                named += 1;
            }
        }
    }
    assert!(named >= 4, "{named}");
}

/// The configurations in the bases are right: what is wrong is that nobody answers here.
#[tokio::test]
async fn the_programs_accept_the_configurations_of_the_bases() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let deploy = root().join("deploy");
    for base in ["node-dns", "node-dns-link-local"] {
        let said = program::nodedns(&place)
            .args(["check", "--config"])
            .arg(deploy.join(base).join("nodedns.yml"))
            .run()
            .await;
        assert_eq!(said.code(), 1, "{said}");
    }
    let rivers = fs::read_to_string(deploy.join("rivers/rivers.yml")).unwrap();
    // A pod's files, which are not here.
    let [ca, kubeconfig] = ["ca.crt", "kubeconfig"].map(|file| place.folder().join(file));
    let rivers = rivers
        .replace(
            "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
            &shown(&ca),
        )
        .replace("/etc/rivers/kubeconfig", &shown(&kubeconfig));
    let pki = tests::pki::Pki::new(&place.folder().join("pki"));
    fs::copy(pki.ca_file(), &ca).unwrap();
    let user = pki.client("rivers", None);
    fs::copy(
        pki.kubeconfig(&user, "https://127.0.0.1:16443"),
        &kubeconfig,
    )
    .unwrap();
    let file = place.folder().join("rivers.yml");
    fs::write(&file, rivers).unwrap();
    let said = program::rivers(&place)
        .args(["check", "--config"])
        .arg(&file)
        .run()
        .await;
    assert_eq!(said.code(), 1, "{said}");

    program::control(&place)
        .args(["validate", "--cluster"])
        .arg(deploy.join("control/cluster.yml"))
        .run()
        .await
        .success();
    for file in ["rivers/kubeconfig", "control/kubeconfig"] {
        let [config] = &parse(&fs::read_to_string(deploy.join(file)).unwrap())[..] else {
            panic!("{file} is one document");
        };
        assert_eq!(config["kind"], "Config");
    }
}

/// The unit gives the node the address, and nodedns answers there.
#[tokio::test]
async fn nodedns_answers_on_the_link_local_address() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let deploy = root().join("deploy");
    let unit = fs::read_to_string(deploy.join("systemd/nodedns-address.service")).unwrap();
    let command = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let words: Vec<&str> = command.unwrap().split(' ').collect();
    Launch::new(&place, "ip", Path::new(words[0]))
        .args(&words[1..])
        .run()
        .await
        .success();
    let _nodedns = program::nodedns(&place)
        .arg("--config")
        .arg(deploy.join("node-dns-link-local/nodedns.yml"))
        .start();
    let question = Question::new("localhost.", RecordType::A);
    wait::until("an answer", DEADLINE, async || {
        let reply = question.ask("169.254.20.10:53".parse().unwrap()).await?;
        match &reply.data(RecordType::A)[..] {
            [address] if address == "127.0.0.1" => Ok(()),
            other => Err(std::io::Error::other(format!("{other:?}"))),
        }
    })
    .await;
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

const BASES: [&str; 5] = [
    "rivers",
    "node-dns",
    "node-dns-link-local",
    "cluster-dns",
    "control",
];
