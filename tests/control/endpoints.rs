//! Where the API servers and etcd are, as the cluster's clients read it.

use std::path::Path;
use std::time::{Duration, Instant};

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

/// Waits for these addresses to be the ready ones, as an API server sees it that is well; says how long
/// it took since now.
async fn follows(api: &Api<EndpointSlice>, name: &str, expected: &[&str]) {
    let start = Instant::now();
    let mut slowest = Duration::ZERO;
    loop {
        let asked = Instant::now();
        let endpoints = api.get(name).await.unwrap().endpoints;
        slowest = slowest.max(asked.elapsed());
        let ready = endpoints
            .iter()
            .filter(|endpoint| endpoint.conditions.as_ref().and_then(|c| c.ready) == Some(true))
            .flat_map(|endpoint| &endpoint.addresses);
        let ready: Vec<_> = ready.map(String::as_str).collect();
        let took = start.elapsed();
        if ready == expected {
            println!("{name} {expected:?} after {took:?}, a read {slowest:?} at most");
            return;
        }
        assert!(
            took < FOLLOWS + slowest * REQUESTS,
            "{name}: {ready:?}, not {expected:?}, after {took:?}, with reads of {slowest:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What is promised, where an API server answers at once.
const FOLLOWS: Duration = Duration::from_secs(5);
/// A computer that runs many tests at once delays each: requests, one after the other, until the
/// endpoints are written.
const REQUESTS: u32 = 20;

/// Rounds follow each other without a pause, so that what hangs has one hang.
#[tokio::test]
async fn run_follows_api_servers_and_members_that_stop_hang_and_come_back() {
    let Some(mut scene) = Scene::start_control_plane().await else {
        return;
    };
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    let metrics = ["--metrics-addr", "10.9.0.1:9254"];
    let flags = ["run", "--interval", "10ms"];
    let keeper = control(&scene, &flags).args(metrics).start();
    keeper.says("we hold the Lease").await;
    let kubernetes: Api<EndpointSlice> = Api::default_namespaced(scene.client());
    let etcd: Api<EndpointSlice> = scene.in_kube_system();
    let all = ["10.9.0.2", "10.9.0.3", "10.9.0.4"];
    wait::until("the first round", Duration::from_secs(30), async || {
        kubernetes.get("kubernetes").await?;
        etcd.get("cke-etcd").await
    })
    .await;
    follows(&kubernetes, "kubernetes", &all).await;
    follows(&etcd, "cke-etcd", &all).await;

    scene.cluster.api_servers[1].peer.kill();
    follows(&kubernetes, "kubernetes", &[all[0], all[2]]).await;
    scene.cluster.api_servers[1].restart().await;
    follows(&kubernetes, "kubernetes", &all).await;

    scene.cluster.other_etcd[0].peer.kill();
    follows(&etcd, "cke-etcd", &[all[0], all[2]]).await;
    scene.cluster.other_etcd[0].restart().await;
    follows(&etcd, "cke-etcd", &all).await;
    scene.cluster.other_etcd[1].peer.pause();
    follows(&etcd, "cke-etcd", &all[..2]).await;
    scene.cluster.other_etcd[1].peer.resume();
    follows(&etcd, "cke-etcd", &all).await;

    // One of them is the one that control itself asks.
    for hung in 0..3 {
        let other = scene.cluster.client((hung + 1) % 3);
        let other: Api<EndpointSlice> = Api::default_namespaced(other);
        let rest: Vec<_> = (0..3).filter(|&n| n != hung).map(|n| all[n]).collect();
        scene.cluster.api_servers[hung].peer.pause();
        follows(&other, "kubernetes", &rest).await;
        scene.cluster.api_servers[hung].peer.resume();
        follows(&other, "kubernetes", &all).await;
    }
    let log = keeper.log();
    assert!(!log.contains("another one holds the Lease"), "{log}");
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
