//! From nothing to a node whose pods resolve names, then what may happen to it.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node as NodeObject, Pod};
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use tests::clients::Clients;
use tests::wait;

use crate::scene::{NODE, PATIENCE, Scene, rivers_by_flags};

#[tokio::test]
async fn a_cold_node_comes_up_and_outlives_what_happens_to_nodes() {
    let Some(mut scene) = Scene::start(rivers_by_flags).await else {
        return;
    };
    comes_up(&scene).await;
    nodedns_is_updated(&scene).await;
    rivers_is_updated(&scene).await;
    coredns_is_rescheduled(&scene).await;
    an_api_server_dies(&mut scene).await;
    the_node_is_rebooted(&mut scene).await;
    a_static_pod_serves_when_the_daemon_set_is_gone(&scene).await;
    a_kubelet_that_bypasses_nodedns_is_named(&mut scene).await;
    a_kubelet_that_bypasses_rivers_is_named(&mut scene).await;
}

/// `control sync` makes a cluster out of API servers and a kubelet that has registered.
async fn comes_up(scene: &Scene) {
    scene.register_control_plane().await;
    scene.status_says("pod network: bad", "worker-1 (").await;
    scene.node.install_network();
    scene.node_is_ready().await;
    let said = scene.control(&["sync"]).run().await.success();
    assert!(said.contains("DaemonSet kube-system/node-dns"), "{said}");
    scene.client_pod().await;
    scene.pods_find_names().await;
    assert!(
        !scene.resolves(KUBERNETES, "10.96.0.1").await,
        "there is nothing to validate"
    );
    let said = scene
        .exec(&["/usr/bin/dig", "+search", "www.example"])
        .await
        .success();
    assert!(said.contains("192.0.2.80"), "{said}");
    let plan = scene.control(&["plan"]).run().await;
    assert_eq!(plan.code(), 0, "nothing is left to do: {plan}");
    for (good, detail) in [
        ("pod network: good", ""),
        ("CoreDNS: good", ""),
        ("nodedns: good", ""),
        ("kubelets' DNS: good", "on 1 nodes"),
        ("kubelets' API server: good", "on 1 nodes"),
    ] {
        scene.status_says(good, detail).await;
    }
}

/// The DaemonSet's roll-out has two pods share the node's port for a while.
async fn nodedns_is_updated(scene: &Scene) {
    let clients = Clients::start(scene.place.socket_address(1, 53), KUBERNETES);
    scene.roll("node-dns").await;
    scene.rolled_out("node-dns").await;
    let (asked, lost) = clients.stop();
    println!("an update of nodedns: {asked} questions, {lost} lost");
    assert!(asked > 1_000, "{asked}");
    assert_eq!(lost, 0, "of {asked}");
}

/// A new process takes over from the one that serves kubelet, kube-proxy, the controllers and all others: a unit
/// from a unit, then the DaemonSet's pod from that, then its next pod.
async fn rivers_is_updated(scene: &Scene) {
    let before = connected();
    assert!(before.len() >= CLIENTS, "{before:?}");
    let next = scene.next_rivers();
    next.says("took over").await;
    assert_all_are_left("a unit of rivers", &before);

    scene.rivers_daemon_set().await;
    scene.rolled_out("rivers").await;
    assert_all_are_left("rivers by its DaemonSet", &before);
    next.says("replaced by another process").await;

    scene.roll("rivers").await;
    scene.rolled_out("rivers").await;
    assert_all_are_left("rivers' pod", &before);
    scene.status_says("rivers: good", "ready on 1 of 1").await;
    scene.pod_finds("kubernetes.default", "10.96.0.1").await;
}

fn assert_all_are_left(updated: &str, before: &BTreeSet<u16>) {
    let after = connected();
    println!("an update of {updated}: {} connections", before.len());
    let lost: Vec<_> = before.difference(&after).collect();
    assert!(lost.is_empty(), "{updated}: {lost:?} of {before:?}");
}

/// CoreDNS' pods are deleted, one by one; others take their places, and no question fails.
async fn coredns_is_rescheduled(scene: &Scene) {
    let clients = Clients::start(scene.place.socket_address(1, 53), KUBERNETES);
    let pods: Api<Pod> = Api::namespaced(scene.client(), "kube-system");
    let labels = ListParams::default().labels("cke.cybozu.com/appname=cluster-dns");
    for pod in pods.list(&labels).await.unwrap() {
        let name = pod.metadata.name.unwrap();
        pods.delete(&name, &DeleteParams::default()).await.unwrap();
        wait::until("the pod's end", PATIENCE, async || {
            match pods.get_opt(&name).await {
                Ok(None) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        scene.deployed("cluster-dns").await;
    }
    let (asked, lost) = clients.stop();
    println!("CoreDNS rescheduled: {asked} questions, {lost} lost");
    assert!(asked > 1_000, "{asked}");
    assert_eq!(lost, 0, "of {asked}");
}

/// One API server of three is killed; kubelet's lease is renewed in time, and new pods find the API.
async fn an_api_server_dies(scene: &mut Scene) {
    scene.cluster.api_servers[0].peer.kill();
    let nodes: Api<NodeObject> = Api::all(scene.client());
    let start = Instant::now();
    // The grace that the controller manager gives a node, and the interval of its look.
    while start.elapsed() < Duration::from_secs(30) {
        let node = nodes.get(NODE).await.unwrap();
        let conditions = node.status.unwrap().conditions.unwrap();
        let ready = conditions
            .iter()
            .find(|condition| condition.type_ == "Ready");
        assert_eq!(ready.unwrap().status, "True", "{ready:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    scene.pod_finds("kubernetes.default", "10.96.0.1").await;
    scene.cluster.api_servers[0].restart().await;
}

/// Every process of the node ends at once; rivers comes first, then kubelet, then the pods.
async fn the_node_is_rebooted(scene: &mut Scene) {
    scene.node.cut_power();
    scene.node.switch_on(&scene.place).await.unwrap();
    scene.client_pod_runs().await;
    scene.rolled_out("rivers").await;
    scene.pods_find_names().await;
}

/// rivers as a static pod waits beside the DaemonSet's, which is newer, and takes its place.
async fn a_static_pod_serves_when_the_daemon_set_is_gone(scene: &Scene) {
    scene.static_rivers();
    let pods: Api<Pod> = Api::namespaced(scene.client(), "kube-system");
    let name = format!("rivers-{NODE}");
    wait::until("the static pod", PATIENCE, async || {
        let pod = pods.get(&name).await.map_err(|error| error.to_string())?;
        let status = pod.status.unwrap_or_default();
        match status.container_statuses.as_deref() {
            Some([container]) if container.started == Some(true) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    scene
        .kubectl(&["delete", "daemonset", "rivers", "--namespace=kube-system"])
        .run()
        .await
        .success();
    let labels = ListParams::default().labels("app.kubernetes.io/name=rivers");
    wait::until(
        "the end of the DaemonSet's pod",
        PATIENCE,
        async || match pods.list(&labels).await {
            Ok(pods) if pods.items.is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    scene.pod_finds("kubernetes.default", "10.96.0.1").await;
}

/// kubelet has pods ask CoreDNS, say, as a node does that nobody has told of nodedns.
async fn a_kubelet_that_bypasses_nodedns_is_named(scene: &mut Scene) {
    scene.node.point_pods_at("10.96.0.10");
    scene
        .status_says("kubelets' DNS: bad", "on worker-1;")
        .await;
}

/// kubelet asks one API server, and is lost with it.
async fn a_kubelet_that_bypasses_rivers_is_named(scene: &mut Scene) {
    let server = format!("https://{}", scene.cluster.api_servers[1].address());
    scene.node.point_kubelet_at(&server);
    let detail = format!("on worker-1 ({});", server.trim_start_matches("https://"));
    scene
        .status_says("kubelets' API server: bad", &detail)
        .await;
}

/// The clients' ports of the connections through rivers that are open, but for this test's own: kubelet's,
/// kube-proxy's, the controllers'.
fn connected() -> BTreeSet<u16> {
    let own: BTreeSet<String> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.replace(']', "")))
        .collect();
    // That of this thread: the process is in another network.
    let table = fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    let open = table.lines().filter_map(|line| {
        // Number, local and remote address, state, …, inode.
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_open = words.get(2..4) == Some(&[RIVERS, ESTABLISHED]);
        let is_own = own.contains(*words.get(9)?);
        let port = words[1].rsplit_once(':')?.1;
        (is_open && !is_own).then(|| u16::from_str_radix(port, 16).unwrap())
    });
    open.collect()
}

/// 127.0.0.1:16443 in /proc/net/tcp.
const RIVERS: &str = "0100007F:403B";
const ESTABLISHED: &str = "01";
/// kubelet, kube-proxy, controller manager, scheduler.
const CLIENTS: usize = 4;
const KUBERNETES: &str = "kubernetes.default.svc.cluster.local.";
