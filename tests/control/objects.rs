//! Objects that are control's: created, left alone, repaired, changed.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use tests::wait;

use crate::scene::{Scene, json};

#[tokio::test]
async fn the_first_sync_makes_everything_and_the_second_nothing() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    scene.ready_nodes().await;

    let before = scene.versions().await;
    let plan = scene.control(&["plan"]).run().await;
    assert_eq!(plan.code(), 1, "{plan}");
    assert!(
        plan.stdout
            .contains("create ServiceAccount kube-system/cke-node-dns  missing")
    );
    assert_eq!(scene.versions().await, before, "a plan writes nothing");

    let report = json(&scene.control(&["sync", "-o", "json"]).run().await);
    assert_eq!(
        (&report["created"], &report["updated"], &report["failed"]),
        // The update marks the Node as control plane.
        (&json!(17), &json!(1), &json!(0)),
        "{report}"
    );
    everything_is_there(&scene).await;

    let after = scene.versions().await;
    let again = scene.sync().await;
    assert!(again.ends_with("nothing to do\n"), "{again}");
    assert_eq!(
        scene.versions().await,
        after,
        "the second sync writes nothing"
    );
    scene.control(&["plan"]).run().await.success();
}

/// As a client that is not control's sees it.
async fn everything_is_there(scene: &Scene) {
    for name in ["cke-cluster-dns", "cke-node-dns"] {
        is_at_revision::<ServiceAccount>(&scene.in_kube_system(), name, "1").await;
    }
    for name in ["system:cluster-dns", "system:kube-apiserver-to-kubelet"] {
        is_at_revision::<ClusterRole>(&Api::all(scene.client()), name, "1").await;
    }
    for name in ["system:cluster-dns", "system:kube-apiserver"] {
        is_at_revision::<ClusterRoleBinding>(&Api::all(scene.client()), name, "1").await;
    }
    for name in ["psp:cluster-dns", "psp:node-dns"] {
        is_at_revision::<Role>(&scene.in_kube_system(), name, "1").await;
        is_at_revision::<RoleBinding>(&scene.in_kube_system(), name, "1").await;
    }
    for name in ["cluster-dns", "node-dns"] {
        is_at_revision::<ConfigMap>(&scene.in_kube_system(), name, "1").await;
    }

    let binding: ClusterRoleBinding = Api::all(scene.client())
        .get("system:kube-apiserver")
        .await
        .unwrap();
    assert_eq!(binding.role_ref.name, "system:kube-apiserver-to-kubelet");
    let user = &binding.subjects.unwrap()[0];
    assert_eq!(
        (user.kind.as_str(), user.name.as_str()),
        ("User", "kubernetes")
    );

    let corefile = &scene.config_map("cluster-dns").await.data.unwrap()["Corefile"];
    assert!(corefile.contains("forward . 192.0.2.53"), "{corefile}");

    let service: Service = scene.in_kube_system().get("cluster-dns").await.unwrap();
    let cluster_ip = service.spec.unwrap().cluster_ip.unwrap();
    let nodedns = &scene.config_map("node-dns").await.data.unwrap()["nodedns.yml"];
    assert!(
        nodedns.contains(&format!("tcp://{cluster_ip}")),
        "{nodedns}"
    );
}

async fn is_at_revision<K>(api: &Api<K>, name: &str, revision: &str)
where
    K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let object = api.get(name).await.unwrap();
    assert_eq!(
        object.annotations()["cke.cybozu.com/revision"],
        revision,
        "{name}"
    );
    let managers = object.managed_fields();
    assert!(
        managers
            .iter()
            .any(|entry| entry.manager.as_deref() == Some("cke")
                && entry.operation.as_deref() == Some("Apply")),
        "{name} is applied as cke"
    );
}

#[tokio::test]
async fn somebody_elses_edits_are_undone_where_they_touch_ours_and_kept_elsewhere() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    scene.ready_nodes().await;
    scene.sync().await;

    let edit = PatchParams::default();
    let corefile = json!({
        "metadata": {"labels": {"example.com/team": "dns"}},
        "data": {"Corefile": "broken", "Notes": "mine"},
    });
    let config_maps: Api<ConfigMap> = scene.in_kube_system();
    config_maps
        .patch("cluster-dns", &edit, &Patch::Merge(corefile))
        .await
        .unwrap();
    let services: Api<Service> = scene.in_kube_system();
    let port = json!({"spec": {
        "selector": {"version": "2"},
        "ports": [
            {"name": "metrics", "port": 9153, "protocol": "TCP"},
            {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 99},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 1053},
        ],
    }});
    services
        .patch("cluster-dns", &edit, &Patch::Merge(port))
        .await
        .unwrap();
    let roles: Api<ClusterRole> = Api::all(scene.client());
    let rules = json!({"rules": []});
    roles
        .patch("system:cluster-dns", &edit, &Patch::Merge(rules))
        .await
        .unwrap();
    scene
        .in_kube_system::<ServiceAccount>()
        .delete("cke-node-dns", &Default::default())
        .await
        .unwrap();

    let plan = scene.changes().await;
    let reasons: Vec<_> = plan["operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|operation| {
            let fields = operation["changes"].as_array().unwrap();
            let fields: Vec<_> = fields
                .iter()
                .map(|f| f["field"].as_str().unwrap())
                .collect();
            (
                operation["kind"].as_str().unwrap(),
                operation["reason"].as_str().unwrap(),
                fields,
            )
        })
        .collect();
    assert_eq!(
        reasons,
        [
            ("ServiceAccount", "missing", vec![]),
            ("ClusterRole", "drift", vec!["rules"]),
            ("ConfigMap", "drift", vec!["data.Corefile"]),
            (
                "Service",
                "drift",
                vec![
                    "spec.ports[port=53,protocol=UDP].targetPort",
                    "spec.selector"
                ]
            ),
        ]
    );

    scene.sync().await;
    let repaired = scene.config_map("cluster-dns").await;
    assert_eq!(
        repaired.annotations()["cke.cybozu.com/revision"],
        "1",
        "a repair is no new revision"
    );
    assert_eq!(
        repaired.labels()["example.com/team"],
        "dns",
        "what is not ours stays"
    );
    let data = repaired.data.unwrap();
    assert!(data["Corefile"].contains("kubernetes cluster.local"));
    assert_eq!(data["Notes"], "mine");
    let service = services.get("cluster-dns").await.unwrap().spec.unwrap();
    assert_eq!(
        service.ports.unwrap().len(),
        3,
        "somebody's port for metrics stays"
    );
    assert_eq!(
        service.selector.unwrap().len(),
        1,
        "a selector is ours alone"
    );
    assert_eq!(
        roles
            .get("system:cluster-dns")
            .await
            .unwrap()
            .rules
            .unwrap()
            .len(),
        2
    );
    scene.control(&["plan"]).run().await.success();
}

#[tokio::test]
async fn what_changes_in_cluster_yml_is_the_next_revision() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    // As CKE leaves it: its own file in the ConfigMap, and a revision that is not 1.
    let by_cke = PatchParams::apply("cke").force();
    for (name, key) in [("node-dns", "unbound.conf"), ("cluster-dns", "Corefile")] {
        let applied = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "annotations": {"cke.cybozu.com/revision": "4"}},
            "data": {key: "by CKE"},
        });
        let config_maps: Api<ConfigMap> = scene.in_kube_system();
        config_maps
            .patch(name, &by_cke, &Patch::Apply(applied))
            .await
            .unwrap();
    }

    scene.sync().await;
    is_at_revision::<ConfigMap>(&scene.in_kube_system(), "cluster-dns", "5").await;
    let node_dns = scene.config_map("node-dns").await.data.unwrap();
    assert_eq!(
        node_dns["unbound.conf"], "by CKE",
        "unbound may still read it"
    );
    assert!(node_dns["nodedns.yml"].contains("192.0.2.53"));

    scene.cluster_yml("", "dns_servers: [192.0.2.54]\n");
    let plan = scene.changes().await;
    let first = &plan["operations"][0];
    assert_eq!(
        (&first["reason"], &first["revision"]),
        (&json!("revision"), &json!(6)),
        "{plan}"
    );
    scene.sync().await;
    is_at_revision::<ConfigMap>(&scene.in_kube_system(), "cluster-dns", "6").await;
    assert!(scene.sync().await.ends_with("nothing to do\n"));
}

#[tokio::test]
async fn the_upstream_may_be_a_service() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    scene.cluster_yml("", "dns_service: default/upstream\n");
    let out = scene.sync().await;
    assert!(
        out.contains("note dns_service: Service default/upstream has no ClusterIP"),
        "{out}"
    );

    let service = json!({
        "metadata": {"name": "upstream"},
        "spec": {"ports": [{"port": 53, "protocol": "UDP"}]},
    });
    let service: Service = Api::default_namespaced(scene.client())
        .create(
            &PostParams::default(),
            &serde_json::from_value(service).unwrap(),
        )
        .await
        .unwrap();
    let address = service.spec.unwrap().cluster_ip.unwrap();
    scene.sync().await;
    let corefile = &scene.config_map("cluster-dns").await.data.unwrap()["Corefile"];
    assert!(
        corefile.contains(&format!("forward . {address}\n")),
        "{corefile}"
    );
}

#[tokio::test]
async fn an_object_that_cannot_be_written_stops_only_what_needs_it() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    forbid_cluster_role(&scene, "system:cluster-dns").await;

    let output = scene.control(&["sync"]).run().await;
    assert_eq!(output.code(), 1, "{output}");
    let lines: Vec<_> = output.stdout.lines().collect();
    assert!(
        lines.iter().any(|line| line
            .starts_with("failed ClusterRole system:cluster-dns: cannot write ClusterRole")
            && line.contains("not this one")),
        "{output}"
    );
    assert!(
        lines.contains(
            &"skipped ClusterRoleBinding system:cluster-dns: needs ClusterRole system:cluster-dns, which failed"
        ),
        "{output}"
    );
    assert!(
        output
            .stdout
            .ends_with("14 created, 0 updated, 1 failed, 1 skipped\n"),
        "{output}"
    );
    assert!(
        scene.config_map("node-dns").await.data.is_some(),
        "the others are written"
    );
}

/// Has the API server refuse a ClusterRole of this name.
async fn forbid_cluster_role(scene: &Scene, name: &str) {
    let policy: ValidatingAdmissionPolicy = parse(json!({
        "metadata": {"name": "test"},
        "spec": {
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["rbac.authorization.k8s.io"], "apiVersions": ["v1"],
                "resources": ["clusterroles"], "operations": ["CREATE", "UPDATE"],
            }]},
            "validations": [{"expression": format!("object.metadata.name != '{name}'"), "message": "not this one"}],
        },
    }));
    let binding: ValidatingAdmissionPolicyBinding = parse(json!({
        "metadata": {"name": "test"},
        "spec": {"policyName": "test", "validationActions": ["Deny"]},
    }));
    let params = PostParams::default();
    Api::all(scene.client())
        .create(&params, &policy)
        .await
        .unwrap();
    Api::all(scene.client())
        .create(&params, &binding)
        .await
        .unwrap();

    let role: ClusterRole = parse(json!({"metadata": {"name": name}}));
    let only_try = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    wait::until(
        "the policy",
        Duration::from_secs(30),
        async || match Api::all(scene.client()).create(&only_try, &role).await {
            Err(kube::Error::Api(status)) if status.message.contains("not this one") => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
}

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}
