//! The operator's own resources.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};
use tests::binaries;
use tests::launch::Launch;

use crate::scene::{Scene, json};

/// A definition, a namespace and an object of each, in the wrong order.
const WIDGETS: &str = "\
apiVersion: example.com/v1
kind: Widget
metadata: {namespace: team, name: w}
spec: {mode: 0644, on: no, size: 1_000, text: 'no', at: 2020-01-01, ratio: 1.50}
---
apiVersion: v1
kind: ConfigMap
metadata: {namespace: team, name: c}
data: {k: v}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
---
apiVersion: v1
kind: Namespace
metadata: {name: team}
";

fn widgets(scene: &Scene) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", "Widget"));
    Api::namespaced_with(scene.client(), "team", &resource)
}

#[tokio::test]
async fn a_definition_and_its_objects_are_applied_in_one_run_and_then_left_alone() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    scene.resource("widgets.yml", WIDGETS);
    scene.ready_nodes().await;
    scene.sync_resources().await;

    let widget = widgets(&scene).get("w").await.unwrap();
    assert_eq!(widget.annotations()["cke.cybozu.com/revision"], "1");
    let managers: Vec<_> = widget
        .managed_fields()
        .iter()
        .map(|m| m.manager.clone())
        .collect();
    assert_eq!(managers, [Some("cke".to_owned())]);
    assert_eq!(
        widget.data["spec"],
        json!({
            "mode": 420, "true": false, "size": 1000, "text": "no", "at": "2020-01-01", "ratio": 1.5,
        })
    );

    let version = widget.resource_version();
    let versions = scene.versions().await;
    let again = scene.sync_resources().await;
    assert!(again.ends_with("nothing to do\n"), "{again}");
    scene
        .control(&["plan", "--resources", "resources"])
        .run()
        .await
        .success();
    assert_eq!(
        widgets(&scene).get("w").await.unwrap().resource_version(),
        version
    );
    assert_eq!(scene.versions().await, versions);

    scene.resource("widgets.yml", &WIDGETS.replace("text: 'no'", "text: other"));
    scene.sync_resources().await;
    let widget = widgets(&scene).get("w").await.unwrap();
    assert_eq!(widget.annotations()["cke.cybozu.com/revision"], "2");
    assert_eq!(widget.data["spec"]["text"], "other");

    // Unregistered: named, not deleted, until that is asked for.
    scene.resource("widgets.yml", &WIDGETS.replace("name: c}", "name: d}"));
    let out = scene.sync_resources().await;
    assert!(
        out.contains("left in the cluster, though no file has it: ConfigMap team/c"),
        "{out}"
    );
    let config_maps: Api<ConfigMap> = Api::namespaced(scene.client(), "team");
    assert!(config_maps.get_opt("c").await.unwrap().is_some());
    let out = scene
        .control(&["sync", "--resources", "resources", "--prune"])
        .run()
        .await
        .success();
    assert!(out.contains("deleted ConfigMap team/c"), "{out}");
    assert!(config_maps.get_opt("c").await.unwrap().is_none());
    assert!(config_maps.get_opt("d").await.unwrap().is_some());
    assert!(scene.sync_resources().await.ends_with("nothing to do\n"));
}

#[tokio::test]
async fn files_are_read_as_kubectl_reads_them() {
    let Some(kubectl) = binaries::built("kubectl") else {
        return;
    };
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    let spec = "\
apiVersion: example.com/v1
kind: Widget
metadata: {namespace: team, name: NAME}
spec:
  scalars: [no, On, y, n, ~, null, 0644, 0o17, 0x1F, 0b11, -0644, 08, 1_000, +7, 1e3, 1.50, .5, 1., 1:30, 2020-01-01, 1Gi, =, 'no', \"0644\", 12345678901234567890, 1.0, -0, 0.1e-2, 1e30]
  keys: {on: 1, 5: 2, 0x10: 3, 'yes': 4}
  base: &base {a: 1, b: [x, y]}
  merged: {<<: *base, a: 2}
  alias: *base
  folded: >-
    one
    two
  literal: |+
    kept

  quoted: \"tab\\tand \\u00e9\"
";
    scene.resource("widgets.yml", WIDGETS);
    scene.resource("spec.yml", &spec.replace("NAME", "ours"));
    scene.sync_resources().await;
    let file = scene.folder().join("kubectl.yml");
    std::fs::write(&file, spec.replace("NAME", "kubectls")).unwrap();
    let kubeconfig = scene
        .cluster
        .kubeconfig(&scene.cluster.api_servers[0].url());
    Launch::new(scene.place(), "kubectl", &kubectl)
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .args(["apply", "--server-side", "-f"])
        .arg(file)
        .run()
        .await
        .success();
    let spec = async |name: &str| widgets(&scene).get(name).await.unwrap().data["spec"].clone();
    let (ours, kubectls) = (spec("ours").await, spec("kubectls").await);
    for (field, value) in kubectls.as_object().unwrap() {
        assert_eq!(&ours[field], value, "{field}");
    }
    assert_eq!(ours, kubectls);
}

#[tokio::test]
async fn a_bad_object_stops_only_what_needs_it_and_is_named() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    let object = |kind: &str, namespace: &str, name: &str, more: &str| {
        format!(
            "apiVersion: v1\nkind: {kind}\nmetadata: {{namespace: {namespace}, name: {name}}}\n{more}\n---\n"
        )
    };
    let text = [
        object("ConfigMap", "nowhere", "lost", ""),
        object("ConfigMap", "default", "UPPER", ""),
        object("ConfigMap", "default", "good", "data: {k: v}"),
        object("Gizmo", "default", "g", ""),
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: Bad_Name}\n---\n".to_owned(),
        object("ConfigMap", "Bad_Name", "inside", ""),
    ];
    scene.resource("a.yml", &text.concat());
    let output = scene
        .control(&["sync", "--resources", "resources"])
        .run()
        .await;
    assert_eq!(output.code(), 1, "{output}");
    for part in [
        "failed ConfigMap nowhere/lost: cannot write ConfigMap nowhere/lost: the API server says 404",
        "failed ConfigMap default/UPPER: ",
        "failed Gizmo default/g: the API server knows no Gizmo in v1",
        "failed Namespace Bad_Name: ",
        "skipped ConfigMap Bad_Name/inside: needs Namespace Bad_Name, which failed",
        "created ConfigMap default/good",
        "created Service kube-system/cluster-dns",
    ] {
        assert!(output.stdout.contains(part), "no `{part}` in: {output}");
    }
}

#[tokio::test]
async fn a_mistake_in_a_file_is_said_before_any_server_is_asked() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    scene.cluster_yml("", "");
    scene.resource("a.yml", "apiVersion: v1\nkind: Namespace\nkind: x\n");
    for command in ["validate", "plan", "sync"] {
        let output = scene
            .control(&[command, "--resources", "resources"])
            .run()
            .await;
        assert_eq!(output.code(), 2, "{output}");
        assert!(
            output
                .stderr
                .contains("resources/a.yml:3:1: key `kind` is there twice; remove one"),
            "{output}"
        );
    }
}

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {namespace: default, name: app, labels: {team: a}}
spec:
  replicas: 2
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      containers:
      - name: app
        image: example.com/app:1
        resources: {limits: {cpu: 0.5, memory: 1024Mi}}
        ports: [{containerPort: 80}]
        env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
        readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 5}
";

#[tokio::test]
async fn deployments_wait_for_nodes_and_what_others_apply_or_scale_is_theirs() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    scene.resource("app.yml", DEPLOYMENT);
    let held = scene.sync_resources().await;
    assert!(
        held.contains("hold Deployment default/app  held: 0 of 1 Nodes are ready, 1 must be"),
        "{held}"
    );
    scene.register("cp-2", json!({}), json!([])).await;
    scene.make_ready("cp-2").await;
    let out = scene.sync_resources().await;
    assert!(out.contains("created Deployment default/app"), "{out}");
    assert!(
        scene.sync_resources().await.ends_with("nothing to do\n"),
        "defaults are no drift"
    );

    let deployments: Api<Deployment> = Api::default_namespaced(scene.client());
    deployments
        .patch_scale(
            "app",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"replicas": 5}})),
        )
        .await
        .unwrap();
    let theirs = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "app", "labels": {"team": "b"}},
    });
    deployments
        .patch(
            "app",
            &PatchParams::apply("gitops").force(),
            &Patch::Apply(theirs),
        )
        .await
        .unwrap();
    let edited = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "app", "image": "example.com/app:evil"},
        {"name": "sidecar", "image": "example.com/sidecar:1"},
    ]}}}});
    deployments
        .patch("app", &PatchParams::default(), &Patch::Strategic(edited))
        .await
        .unwrap();

    let out = scene.sync_resources().await;
    assert!(out.contains("updated Deployment default/app"), "{out}");
    let leave = out.lines().find(|line| line.starts_with("leave ")).unwrap();
    for part in [
        "conflict",
        "metadata.labels.team",
        "spec.replicas",
        "gitops",
    ] {
        assert!(leave.contains(part), "{leave}");
    }
    let live = deployments.get("app").await.unwrap();
    assert_eq!(live.labels()["team"], "b");
    let spec = live.spec.unwrap();
    assert_eq!(spec.replicas, Some(5));
    let containers = spec.template.spec.unwrap().containers;
    assert_eq!(
        containers[0].image.as_deref(),
        Some("example.com/app:1"),
        "repaired"
    );
    assert_eq!(containers.len(), 2, "what is not ours stays");

    let plan = scene
        .control(&["plan", "--resources", "resources", "-o", "json"])
        .run()
        .await;
    assert_eq!(plan.code(), 0, "{plan}");
    let plan = json(&plan);
    assert_eq!(plan["operations"], json!([]), "{plan}");
    assert_eq!(plan["left"][0]["reason"], "conflict", "{plan}");
}

#[tokio::test]
async fn no_secret_is_ever_shown() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    let secret = |value: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{namespace: default, name: s}}\n\
             stringData: {{password: {value}}}\n"
        )
    };
    scene.resource("s.yml", &secret("canary-one"));
    let plan =
        |format: &'static str| scene.control(&["plan", "--resources", "resources", "-o", format]);
    let mut said = vec![plan("text").run().await, plan("json").run().await];
    let verbose = ["plan", "--resources", "resources", "-v"];
    said.push(scene.control(&verbose).run().await);
    scene.sync_resources().await;
    let secrets: Api<Secret> = Api::default_namespaced(scene.client());
    let live = secrets.get("s").await.unwrap();
    assert_eq!(live.data.unwrap()["password"].0, b"canary-one");
    assert!(scene.sync_resources().await.ends_with("nothing to do\n"));

    scene.resource("s.yml", &secret("canary-two"));
    said.extend([plan("text").run().await, plan("json").run().await]);
    let shown = &said[3].stdout;
    assert!(
        shown.contains("+   password: (hidden, another value)"),
        "{shown}"
    );
    for output in said {
        for canary in ["canary", "Y2FuYXJ5"] {
            assert!(!output.to_string().contains(canary), "{output}");
        }
    }
}

#[tokio::test]
async fn a_kind_that_discovery_hides_is_known_from_cluster_yml() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    let mapping = "trusted_rest_mappings:\n- {group: example.com, version: v1, kind: Widget, resource: widgets, namespaced: true}\n";
    let (widget, rest) = WIDGETS.split_once("---\n").unwrap();
    scene.resource("widget.yml", widget);
    scene.ready_nodes().await;
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    let output = scene
        .control(&["plan", "--resources", "resources", "-o", "json"])
        .run()
        .await;
    let left = json(&output)["left"].clone();
    assert!(
        left[0]["detail"]
            .as_str()
            .unwrap()
            .contains("knows no Widget"),
        "{left}"
    );

    scene.cluster_yml("", mapping);
    let output = scene
        .control(&["plan", "--resources", "resources", "-o", "json"])
        .run()
        .await;
    let created: Vec<Value> = json(&output)["operations"].as_array().unwrap().clone();
    assert!(
        created
            .iter()
            .any(|operation| operation["kind"] == "Widget"),
        "{output}"
    );

    scene.resource("rest.yml", rest);
    scene.sync_resources().await;
    assert!(widgets(&scene).get("w").await.is_ok());
}
