//! A node that was off for a month, in which everything that it knew of the world became wrong at once: the
//! addresses of all API servers, its certificate, the root's keys. What mends it is what deploy/README.md says.

use std::fs;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use serde_json::Value;
use tests::node::{GROUP, user};
use tests::wait;

use crate::scene::{NODE, PATIENCE, Scene, rivers_by_file, write_rivers_yml};

#[tokio::test]
async fn a_node_that_slept_for_a_month_finds_api_servers_that_have_all_moved() {
    let Some(mut scene) = Scene::start(rivers_by_file).await else {
        return;
    };
    scene.register_control_plane().await;
    scene.node.install_network();
    scene.node_is_ready().await;
    scene.control(&["sync"]).run().await.success();
    scene.client_pod().await;
    scene.pods_find_names().await;
    rivers_keeps(&scene, &scene.cluster.upstreams()).await;
    nodedns_keeps_keys(&scene, 1).await;
    // kubelet's is made later than the node where the API server has only just begun.
    wait::until("kubelet's first lease", PATIENCE, async || {
        lease(&scene.client()).await
    })
    .await;

    scene.node.cut_power();
    a_month_passes(&mut scene).await;
    scene.node.switch_on(&scene.place).await.unwrap();

    let renewed = lease(&scene.cluster.client(0)).await.unwrap();

    // Neither the file nor the cache knows an address at which anybody is left.
    kubelet_says(&scene, "Unable to register node with API server").await;
    assert!(scene.client().apiserver_version().await.is_err());

    // Over SSH, as `control rivers deploy` does; nothing is restarted.
    write_rivers_yml(&scene.place, &scene.cluster);
    wait::until("the API, through rivers", PATIENCE, async || {
        scene.client().apiserver_version().await
    })
    .await;
    scene.cluster_yml();
    scene.control(&["sync"]).run().await.success();
    rivers_keeps(&scene, &scene.cluster.upstreams()).await;

    // Nobody takes the old certificate any more.
    kubelet_says(&scene, "Unauthorized").await;
    assert_eq!(lease(&scene.client()).await.unwrap(), renewed);
    let _its_files_are_the_same = scene.cluster.pki.client(&user(NODE), Some(GROUP));
    scene.node.restart_kubelet();
    wait::until(
        "a sign of kubelet's life",
        PATIENCE,
        async || match lease(&scene.client()).await.unwrap() {
            same if same == renewed => Err(same),
            _ => Ok(()),
        },
    )
    .await;

    scene.node_is_ready().await;
    scene.client_pod_runs().await;
    scene.pods_find_names().await;
    nodedns_keeps_keys(&scene, 2).await;
    let plan = scene.control(&["plan"]).run().await;
    assert_eq!(plan.code(), 0, "nothing is left to do: {plan}");
}

/// What happens in the world while the node is off.
async fn a_month_passes(scene: &mut Scene) {
    scene.cluster.move_api_servers(&scene.place, 5).await;
    let _its_files_are_the_same = scene.cluster.pki.expired_client(&user(NODE), Some(GROUP));
    scene.world.begin_rollover();
    let file = scene.node.file(TRUST);
    let mut state: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    for zone in state["zones"].as_array_mut().unwrap() {
        zone["next_query"] = MONTHS_AGO.into();
    }
    fs::write(file, state.to_string()).unwrap();
}

/// Waits until rivers keeps these addresses, and no others, for its next start.
async fn rivers_keeps(scene: &Scene, upstreams: &[String]) {
    let file = scene.node.file("/var/lib/rivers/127.0.0.1_16443.json");
    wait::until("rivers' cache", PATIENCE, async || {
        let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
        let kept: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let kept = kept["upstreams"].as_array().into_iter().flatten();
        let mut kept: Vec<&str> = kept.filter_map(Value::as_str).collect();
        kept.sort_unstable();
        if kept == upstreams { Ok(()) } else { Err(text) }
    })
    .await;
}

/// Waits until nodedns keeps so many keys of the root.
async fn nodedns_keeps_keys(scene: &Scene, number: usize) {
    let file = scene.node.file(TRUST);
    wait::until("nodedns' trust anchors", PATIENCE, async || {
        let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
        let state: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        match state["zones"][0]["keys"].as_array() {
            Some(keys) if keys.len() == number => Ok(()),
            _ => Err(text),
        }
    })
    .await;
}

async fn kubelet_says(scene: &Scene, text: &str) {
    wait::until(text, PATIENCE, async || {
        let log = scene.node.kubelet().log();
        if log.contains(text) { Ok(()) } else { Err(log) }
    })
    .await;
}

/// When kubelet last said that it lives.
async fn lease(client: &Client) -> kube::Result<String> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let spec = leases.get(NODE).await?.spec.unwrap();
    Ok(spec.renew_time.unwrap().0.to_string())
}

const TRUST: &str = "/var/lib/nodedns/trust-anchors.json";
const MONTHS_AGO: &str = "2026-01-01T00:00:00Z";
