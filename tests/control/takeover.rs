//! From CKE to control: what CKE left as it ought to be is not touched.

use std::fs;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams,
};
use serde_json::{Value, json};
use tests::place::Place;

use crate::scene::{Scene, json};

/// Creates an object as CKE does where it does not apply: as field manager `cke`, by an
/// ordinary request, without a revision.
pub(crate) async fn create(scene: &Scene, api_version: &str, plural: &str, object: Value) {
    let params = PostParams {
        field_manager: Some("cke".to_owned()),
        ..PostParams::default()
    };
    let (api, object) = addressed(scene, api_version, plural, object);
    api.create(&params, &object).await.unwrap();
}

/// Applies an object as CKE does: server-side, as field manager `cke`.
pub(crate) async fn apply(scene: &Scene, api_version: &str, plural: &str, object: Value) {
    let (api, object) = addressed(scene, api_version, plural, object);
    let params = PatchParams::apply("cke").force();
    api.patch(&object.name_any(), &params, &Patch::Apply(&object))
        .await
        .unwrap();
}

fn addressed(
    scene: &Scene,
    api_version: &str,
    plural: &str,
    object: Value,
) -> (Api<DynamicObject>, DynamicObject) {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let kind = object["kind"].as_str().unwrap();
    let resource = ApiResource {
        plural: plural.to_owned(),
        ..ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
    };
    let namespace = object["metadata"]["namespace"].as_str().unwrap();
    let api = Api::namespaced_with(scene.client(), namespace, &resource);
    (api, serde_json::from_value(object).unwrap())
}

/// Endpoints and their slice for one Service, as CKE writes them.
async fn endpoints(scene: &Scene, namespace: &str, name: &str, port: Value) {
    let ready = json!([{"ip": "10.9.0.2"}]);
    create(
        scene,
        "v1",
        "endpoints",
        json!({
            "apiVersion": "v1", "kind": "Endpoints",
            "metadata": {
                "namespace": namespace, "name": name,
                "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
            },
            "subsets": [{"addresses": ready, "ports": [port]}],
        }),
    )
    .await;
    let mut slice_port = port;
    slice_port["name"] = json!(slice_port["name"].as_str().unwrap_or_default());
    create(
        scene,
        "discovery.k8s.io/v1",
        "endpointslices",
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "namespace": namespace, "name": name,
                "labels": {
                    "endpointslice.kubernetes.io/managed-by": "cke.cybozu.com",
                    "kubernetes.io/service-name": name,
                },
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.9.0.2"], "conditions": {"ready": true}}],
            "ports": [slice_port],
        }),
    )
    .await;
}

#[tokio::test]
async fn what_cke_left_as_it_ought_to_be_is_not_in_the_plan() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let Some(scene) = Scene::start_in(place, 1, &[]).await else {
        return;
    };
    endpoints(
        &scene,
        "default",
        "kubernetes",
        json!({"name": "https", "port": 6443}),
    )
    .await;
    create(
        &scene,
        "v1",
        "services",
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": "kube-system", "name": "cke-etcd"},
            "spec": {"type": "ClusterIP", "clusterIP": "None", "ports": [{"port": 2379}]},
        }),
    )
    .await;
    endpoints(&scene, "kube-system", "cke-etcd", json!({"port": 2379})).await;

    // A resource of the operator's at CKE's seventh revision, and one that has changed since.
    let resource = |name: &str, value: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": "default", "name": name},
            "data": {"k": value},
        })
    };
    for name in ["same", "changed"] {
        let mut applied = resource(name, "v");
        applied["metadata"]["annotations"] = json!({"cke.cybozu.com/revision": "7"});
        Api::<k8s_openapi::api::core::v1::ConfigMap>::default_namespaced(scene.client())
            .patch(
                name,
                &PatchParams::apply("cke").force(),
                &Patch::Apply(applied),
            )
            .await
            .unwrap();
    }
    scene.resource("same.json", &resource("same", "v").to_string());
    scene.resource("changed.json", &resource("changed", "w").to_string());

    // A Node with marks of CKE's own that cluster.yml does not name.
    let labels = json!({"cke.cybozu.com/master": "true", "cke.cybozu.com/rack": "3"});
    scene.register("cp-2", labels, json!([])).await;
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");

    let plan = scene
        .control(&["plan", "--resources", "resources", "-o", "json"])
        .run()
        .await;
    let plan = json(&plan);
    let operations = plan["operations"].as_array().unwrap();
    let taken_over: Vec<_> = operations
        .iter()
        .filter(|operation| operation["action"] != "create")
        .map(|operation| {
            (
                &operation["name"],
                &operation["reason"],
                &operation["revision"],
            )
        })
        .collect();
    assert_eq!(
        taken_over,
        [(&json!("changed"), &json!("revision"), &json!(8))],
        "{plan}"
    );
    for operation in operations {
        let kind = operation["kind"].as_str().unwrap();
        assert!(
            !kind.starts_with("Endpoint") && kind != "Node",
            "{operation}"
        );
    }

    scene.sync_resources().await;
    assert_eq!(
        scene.node("cp-2").await.labels()["cke.cybozu.com/rack"],
        "3"
    );
    let service: Service = scene.in_kube_system().get("cke-etcd").await.unwrap();
    assert!(
        !service
            .annotations()
            .contains_key("cke.cybozu.com/revision"),
        "CKE counts no revisions of it"
    );
    assert!(scene.sync_resources().await.ends_with("nothing to do\n"));
}

#[tokio::test]
async fn a_converged_plan_and_sync_only_read_as_the_audit_log_shows() {
    let place = Place::loopback();
    let policy = place.folder().join("audit.yml");
    let log = place.folder().join("audit.log");
    fs::write(
        &policy,
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata, users: [operator]}, {level: None}]\n",
    )
    .unwrap();
    let flags = [
        format!("--audit-policy-file={}", policy.display()),
        format!("--audit-log-path={}", log.display()),
        "--audit-log-mode=blocking".to_owned(),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let Some(scene) = Scene::start_in(place, 1, &flags).await else {
        return;
    };
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    let object = |n: usize| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{namespace: default, name: n{n}}}\n---\n"
        )
    };
    scene.resource("all.yml", &(0..20).map(object).collect::<String>());
    scene.ready_nodes().await;
    scene.sync_resources().await;

    let operator = scene.cluster.pki.client("operator", Some("system:masters"));
    let kubeconfig = scene
        .cluster
        .pki
        .kubeconfig(&operator, "https://192.0.2.1:6443");
    for command in ["plan", "sync"] {
        let arguments = [command, "--resources", "resources"];
        scene
            .control_as(&kubeconfig, &arguments)
            .run()
            .await
            .success();
    }
    let log = fs::read_to_string(log).unwrap();
    let requests: Vec<(String, String)> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["stage"] == "ResponseComplete")
        .map(|event| {
            let text = |field: &str| event[field].as_str().unwrap().to_owned();
            (text("verb"), text("requestURI"))
        })
        .collect();
    assert!(
        requests.len() > 20,
        "the log has what was asked: {requests:?}"
    );
    for (verb, uri) in &requests {
        assert!(matches!(verb.as_str(), "get" | "list"), "{verb} {uri}");
    }
    let lists = requests
        .iter()
        .filter(|(_, uri)| uri.starts_with("/api/v1/namespaces/default/configmaps?"));
    assert_eq!(
        lists.count(),
        2,
        "one LIST for all of a kind, each time: {requests:?}"
    );
}
