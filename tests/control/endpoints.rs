//! Where the API servers and etcd are, as the cluster's clients read it.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};
use tests::launch::Launch;
use tests::place::Place;
use tests::wait;

use crate::scene::Scene;

/// `control` with the certificate of a client of etcd.
fn control(scene: &Scene, arguments: &[&str]) -> Launch {
    let etcd = scene.cluster.pki.client("etcd-client", None);
    scene
        .control(arguments)
        .arg("--etcd-ca")
        .arg(scene.cluster.pki.ca_file())
        .arg("--etcd-cert")
        .arg(Path::new(&etcd.certificate))
        .arg("--etcd-key")
        .arg(Path::new(&etcd.key))
}

/// The Endpoints, whose typed form is deprecated.
async fn subsets(scene: &Scene, namespace: &str, name: &str) -> Value {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Endpoints"));
    let resource = ApiResource {
        plural: "endpoints".to_owned(),
        ..resource
    };
    let api: Api<DynamicObject> = Api::namespaced_with(scene.client(), namespace, &resource);
    api.get(name).await.unwrap().data["subsets"].clone()
}

/// The addresses of a slice that are ready, and those that are not.
async fn slice(scene: &Scene, namespace: &str, name: &str) -> (Vec<String>, Vec<String>) {
    let api: Api<EndpointSlice> = Api::namespaced(scene.client(), namespace);
    let endpoints = api.get(name).await.unwrap().endpoints;
    let (up, down): (Vec<_>, Vec<_>) = endpoints
        .into_iter()
        .partition(|endpoint| endpoint.conditions.as_ref().and_then(|c| c.ready) == Some(true));
    let addresses = |list: Vec<k8s_openapi::api::discovery::v1::Endpoint>| {
        list.into_iter()
            .flat_map(|endpoint| endpoint.addresses)
            .collect()
    };
    (addresses(up), addresses(down))
}

#[tokio::test]
async fn endpoints_follow_the_health_of_api_servers_and_etcd() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let Some(mut scene) = Scene::start_in(place, 3, &[]).await else {
        return;
    };
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    let out = control(&scene, &["sync"]).run().await.success();
    assert!(
        out.contains("created Endpoints default/kubernetes"),
        "{out}"
    );
    let warned = out.contains("the API server warns: v1 Endpoints is deprecated");
    assert_eq!(warned, scene.cluster.minor_version().await >= 33, "{out}");

    let all = ["10.9.0.2", "10.9.0.3", "10.9.0.4"].map(str::to_owned);
    assert_eq!(
        subsets(&scene, "default", "kubernetes").await,
        json!([{
            "addresses": all.clone().map(|ip| json!({"ip": ip})),
            "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}],
        }])
    );
    assert_eq!(
        slice(&scene, "default", "kubernetes").await,
        (all.to_vec(), vec![])
    );
    // etcd has one member here, on the first node.
    assert_eq!(
        slice(&scene, "kube-system", "cke-etcd").await,
        (vec![all[0].clone()], all[1..].to_vec())
    );
    let slices: Api<EndpointSlice> = Api::namespaced(scene.client(), "kube-system");
    let labels = slices.get("cke-etcd").await.unwrap();
    assert_eq!(labels.labels()["kubernetes.io/service-name"], "cke-etcd");
    assert_eq!(
        labels.labels()["endpointslice.kubernetes.io/managed-by"],
        "cke.cybozu.com"
    );
    let service: Service = scene.in_kube_system().get("cke-etcd").await.unwrap();
    assert_eq!(service.spec.unwrap().cluster_ip.as_deref(), Some("None"));
    assert!(
        control(&scene, &["sync"])
            .run()
            .await
            .success()
            .ends_with("nothing to do\n")
    );

    scene.cluster.api_servers[1].peer.kill();
    scene.cluster.api_servers[2].peer.pause();
    control(&scene, &["sync"]).run().await.success();
    assert_eq!(
        slice(&scene, "default", "kubernetes").await,
        (vec![all[0].clone()], all[1..].to_vec())
    );
    assert_eq!(
        subsets(&scene, "default", "kubernetes").await[0]["notReadyAddresses"],
        json!([{"ip": all[1]}, {"ip": all[2]}])
    );

    scene.cluster.api_servers[2].peer.resume();
    let keeper = control(
        &scene,
        &["run", "--interval", "1h", "--metrics-addr", "10.9.0.1:9254"],
    )
    .start();
    wait::until("the resumed server", Duration::from_secs(30), async || {
        let (up, _) = slice(&scene, "default", "kubernetes").await;
        if up == [all[0].clone(), all[2].clone()] {
            Ok(())
        } else {
            Err(format!("{up:?}"))
        }
    })
    .await;
    // Though the next round would be an hour away.
    scene.cluster.api_servers[1].restart().await;
    wait::until(
        "the restarted server",
        Duration::from_secs(15),
        async || {
            let (up, _) = slice(&scene, "default", "kubernetes").await;
            if up == all {
                Ok(())
            } else {
                Err(format!("{up:?}"))
            }
        },
    )
    .await;
    drop(keeper);
}

/// Waits for these addresses to be the ready ones, as an API server sees it that is well.
async fn follows(api: &Api<EndpointSlice>, name: &str, expected: &[&str]) {
    wait::until(name, FOLLOWS, async || {
        let endpoints = api.get(name).await.unwrap().endpoints;
        let ready = endpoints
            .iter()
            .filter(|endpoint| endpoint.conditions.as_ref().and_then(|c| c.ready) == Some(true))
            .flat_map(|endpoint| &endpoint.addresses);
        let ready: Vec<_> = ready.map(String::as_str).collect();
        if ready == expected {
            Ok(())
        } else {
            Err(format!("{ready:?}, not {expected:?}"))
        }
    })
    .await;
}

/// The objects follow within 5 s where control gets its share of the processor; a computer that runs
/// many tests at once may take longer, but never the hour between two rounds.
const FOLLOWS: Duration = Duration::from_secs(30);

#[tokio::test]
async fn run_follows_api_servers_and_members_that_stop_hang_and_come_back() {
    let Some(mut scene) = Scene::start_control_plane().await else {
        return;
    };
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    let flags = ["run", "--interval", "1h", "--metrics-addr", "10.9.0.1:9254"];
    let keeper = control(&scene, &flags).start();
    keeper.says("we hold the Lease").await;
    let kubernetes: Api<EndpointSlice> = Api::default_namespaced(scene.client());
    let etcd: Api<EndpointSlice> = scene.in_kube_system();
    let all = ["10.9.0.2", "10.9.0.3", "10.9.0.4"];
    wait::until("the first round", Duration::from_secs(30), async || {
        etcd.get("cke-etcd").await.map(drop)
    })
    .await;
    follows(&kubernetes, "kubernetes", &all).await;
    follows(&etcd, "cke-etcd", &all).await;

    scene.cluster.api_servers[1].peer.kill();
    follows(&kubernetes, "kubernetes", &[all[0], all[2]]).await;
    scene.cluster.api_servers[1].restart().await;
    follows(&kubernetes, "kubernetes", &all).await;
    scene.cluster.api_servers[2].peer.pause();
    follows(&kubernetes, "kubernetes", &all[..2]).await;
    scene.cluster.api_servers[2].peer.resume();
    follows(&kubernetes, "kubernetes", &all).await;

    scene.cluster.other_etcd[0].peer.kill();
    follows(&etcd, "cke-etcd", &[all[0], all[2]]).await;
    scene.cluster.other_etcd[0].restart().await;
    follows(&etcd, "cke-etcd", &all).await;
    scene.cluster.other_etcd[1].peer.pause();
    follows(&etcd, "cke-etcd", &all[..2]).await;
    scene.cluster.other_etcd[1].peer.resume();
    follows(&etcd, "cke-etcd", &all).await;

    // The one that control itself has been asking, while it asks for health alone.
    wait::until(
        "the end of the round",
        Duration::from_secs(20),
        async || {
            let records = scene.config_map("cke-control-records").await.data.unwrap();
            let running = records.values().any(|lines| lines.contains(r#""running""#));
            if running { Err("it goes on") } else { Ok(()) }
        },
    )
    .await;
    let other: Api<EndpointSlice> = Api::default_namespaced(scene.cluster.client(1));
    scene.cluster.api_servers[0].peer.pause();
    follows(&other, "kubernetes", &all[1..]).await;
    scene.cluster.api_servers[0].peer.resume();
    follows(&other, "kubernetes", &all).await;
}

#[tokio::test]
async fn an_api_server_that_writes_the_endpoints_too_is_named() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let flags = [
        "--endpoint-reconciler-type=lease",
        "--advertise-address=10.9.0.9",
    ];
    let Some(scene) = Scene::start_in(place, 1, &flags).await else {
        return;
    };
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    let out = wait::until(
        "the API server's own",
        Duration::from_secs(30),
        async || {
            let out = scene.sync().await;
            let fought = "note kube-apiserver has written Endpoints default/kubernetes otherwise";
            if out.contains(fought) {
                Ok(out)
            } else {
                Err(out)
            }
        },
    )
    .await;
    assert!(out.contains("--endpoint-reconciler-type=none"), "{out}");
}
