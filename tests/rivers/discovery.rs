//! Upstreams from the EndpointSlices of real API servers, and from the cache of an earlier run.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tests::kubernetes::Cluster;
use tests::launch::Output;
use tests::place::Place;
use tests::{program, wait};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::scene::{PATIENCE, Rivers, admin, exchange, listen, named_echo, state_dir};

/// A cluster's slices, and who changes them.
pub(crate) struct Slices(Api<EndpointSlice>);

impl Slices {
    pub(crate) fn of(cluster: &Cluster) -> Self {
        Self(Api::default_namespaced(cluster.client(0)))
    }

    /// Makes or changes a slice so that it names these, port 6443.
    async fn apply(&self, name: &str, family: &str, addresses: &[String], ready: bool) {
        let endpoints: Vec<_> = addresses
            .iter()
            .map(|address| json!({"addresses": [address], "conditions": {"ready": ready}}))
            .collect();
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": name,
                "labels": {
                    "kubernetes.io/service-name": "kubernetes",
                    "endpointslice.kubernetes.io/managed-by": "tests",
                },
            },
            "addressType": family,
            "endpoints": endpoints,
            "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}],
        });
        let parameters = PatchParams::apply("tests").force();
        let patch = Patch::Apply(&slice);
        self.0.patch(name, &parameters, &patch).await.unwrap();
    }

    /// The slice of the name that API servers give theirs.
    pub(crate) async fn name(&self, addresses: &[SocketAddr]) {
        let addresses: Vec<_> = addresses
            .iter()
            .map(|address| address.ip().to_string())
            .collect();
        self.apply("kubernetes", "IPv4", &addresses, true).await;
    }

    async fn delete(&self, name: &str) {
        self.0.delete(name, &DeleteParams::default()).await.unwrap();
    }
}

/// Starts rivers with these seeds and discovery.
async fn start(place: &Place, cluster: &Cluster, seeds: &[SocketAddr]) -> Rivers {
    let kubeconfig = cluster.kubeconfig("https://192.0.2.1:6443");
    let flag = format!("--kubeconfig={}", kubeconfig.display());
    Rivers::start(place, seeds, &[&flag]).await
}

/// What `rivers check` says with one seed and these credentials.
async fn check(place: &Place, kubeconfig: &Path, seed: SocketAddr) -> Output {
    program::rivers(place)
        .args(["check", "--listen=127.0.0.1:0"])
        .arg(format!("--upstreams={seed}"))
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .run()
        .await
}

/// Waits until an upstream is in the set, or is not any more.
async fn comes_to_know(rivers: &Rivers, upstream: SocketAddr, wanted: bool) {
    let what = format!("{upstream} to be known: {wanted}");
    wait::until(&what, PATIENCE, async || {
        if rivers.knows(upstream).await == wanted {
            Ok(())
        } else {
            Err("not yet")
        }
    })
    .await;
}

async fn knows_within_a_second(
    rivers: &Rivers,
    upstream: SocketAddr,
    wanted: bool,
    since: Instant,
) {
    comes_to_know(rivers, upstream, wanted).await;
    let took = since.elapsed();
    assert!(took < Duration::from_secs(1), "{upstream}: {took:?}");
}

pub(crate) async fn watching(rivers: &Rivers) {
    wait::until("the watch", PATIENCE, async || {
        let watching = rivers.admin.metric("rivers_discovery_watching", &[]).await;
        if watching > 0.5 {
            Ok(())
        } else {
            Err(rivers.peer.log())
        }
    })
    .await;
}

/// A connection that has ended up at this echo, of which each client first gets the name.
async fn at_echo(rivers: &Rivers, name: u8) -> TcpStream {
    wait::until("a connection to the echo", PATIENCE, async || {
        let mut stream = rivers.client().await;
        let mut first = [0];
        match timeout(Duration::from_millis(200), stream.read_exact(&mut first)).await {
            Ok(Ok(_)) if first[0] == name => Ok(stream),
            // An API server waits for its client to speak first.
            _ => Err("at another server"),
        }
    })
    .await
}

#[tokio::test]
async fn endpoints_come_and_go_within_a_second_and_the_set_is_never_emptied() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let Some(cluster) = Cluster::builder(&place).start().await else {
        return;
    };
    let seed = cluster.api_servers[0].address();
    let [other, third] = [3, 4].map(|node| place.socket_address(node, 6443));
    named_echo(other, "e").await;
    let slices = Slices::of(&cluster);
    slices.name(&[seed]).await;
    let rivers = start(&place, &cluster, &[seed]).await;
    watching(&rivers).await;

    // One comes.
    let begin = Instant::now();
    slices.name(&[seed, other]).await;
    knows_within_a_second(&rivers, other, true, begin).await;
    let mut connection = at_echo(&rivers, b'e').await;

    // It goes; its connection stays.
    let begin = Instant::now();
    slices.name(&[seed, third]).await;
    knows_within_a_second(&rivers, other, false, begin).await;
    assert!(rivers.knows(third).await);
    exchange(&mut connection).await.unwrap();

    // One that is not ready stays a candidate, and the seed stays when nobody names it.
    let begin = Instant::now();
    slices
        .apply("kubernetes", "IPv4", &[other.ip().to_string()], false)
        .await;
    knows_within_a_second(&rivers, other, true, begin).await;
    assert!(rivers.knows(seed).await);

    // IPv6 of another slice.
    let six = place.socket_address6(3, 6443);
    named_echo(six, "6").await;
    let begin = Instant::now();
    slices
        .apply("kubernetes-6", "IPv6", &[six.ip().to_string()], true)
        .await;
    knows_within_a_second(&rivers, six, true, begin).await;
    let mut connection6 = at_echo(&rivers, b'6').await;

    // Emptied or gone, they change nothing.
    slices.delete("kubernetes-6").await;
    comes_to_know(&rivers, six, false).await;
    slices.apply("kubernetes", "IPv4", &[], true).await;
    rivers
        .peer
        .says("the EndpointSlices name nobody; the upstreams stay as they are")
        .await;
    assert!(rivers.knows(seed).await && rivers.knows(other).await);
    slices.delete("kubernetes").await;
    slices.name(&[third]).await;
    comes_to_know(&rivers, third, true).await;
    assert!(rivers.knows(seed).await);

    for connection in [&mut connection, &mut connection6] {
        exchange(connection).await.unwrap();
    }
}

#[tokio::test]
async fn a_hostile_slice_is_refused_in_one_line() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let Some(cluster) = Cluster::builder(&place).start().await else {
        return;
    };
    let seed = cluster.api_servers[0].address();
    let other = place.socket_address(3, 6443);
    let slices = Slices::of(&cluster);
    slices.name(&[seed, other]).await;
    let rivers = start(&place, &cluster, &[seed]).await;
    watching(&rivers).await;
    assert!(rivers.knows(other).await);

    let many: Vec<String> = (0..1_000)
        .map(|n| format!("10.8.{}.{}", n / 250, 1 + n % 250))
        .collect();
    slices.apply("kubernetes-flood", "IPv4", &many, true).await;
    rivers
        .peer
        .says("the EndpointSlice names 1002 endpoints; more than 64 are not taken")
        .await;
    assert!(!rivers.knows("10.8.0.1:6443".parse().unwrap()).await);
    slices.delete("kubernetes-flood").await;

    let names: Vec<String> = (0..100).map(|n| format!("api-{n}.example")).collect();
    slices.apply("kubernetes-names", "FQDN", &names, true).await;
    rivers
        .peer
        .says("refused=\"api-0.example: no IP address, and 99 more\"")
        .await;
    assert_eq!(
        rivers.times("endpoints that cannot be API servers are not taken"),
        1
    );
    assert!(rivers.knows(seed).await && rivers.knows(other).await);
}

#[tokio::test]
async fn what_was_discovered_carries_a_cold_start_and_a_damaged_cache_is_ignored() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let Some(mut cluster) = Cluster::builder(&place).api_servers(2).start().await else {
        return;
    };
    let servers = [0, 1].map(|index| cluster.api_servers[index].address());
    let dead = place.socket_address(9, 6443);
    Slices::of(&cluster).name(&servers).await;
    let mut rivers = start(&place, &cluster, &servers[..1]).await;
    let file = state_dir(&place).join(format!("{}_16443.json", place.address(1)));
    wait::until("the cache", PATIENCE, async || fs::read(&file)).await;
    assert!(rivers.peer.stop().await.success());

    // Every seed is dead, and one of the servers of the last run.
    cluster.api_servers[0].peer.kill();
    let mut rivers = start(&place, &cluster, &[dead]).await;
    version(&cluster.client_at(&format!("https://{}", rivers.listen))).await;
    watching(&rivers).await;
    rivers.believes(servers[1], "up").await;
    assert!(rivers.peer.stop().await.success());

    let damaged = "the cache of upstreams is ignored";
    for content in [
        &b"{\"version\": 1, \"upstreams\": [\"10.9"[..],
        b"\0\xff garbage",
    ] {
        fs::write(&file, content).unwrap();
        let mut rivers = start(&place, &cluster, &[servers[1]]).await;
        version(&cluster.client_at(&format!("https://{}", rivers.listen))).await;
        watching(&rivers).await;
        assert_eq!(rivers.times(damaged), 1, "{}", rivers.peer.log());
        assert!(rivers.knows(servers[0]).await);
        wait::until("a sound cache again", PATIENCE, async || {
            // Until it is written anew, it is no text.
            let kept = fs::read_to_string(&file).map_err(|error| error.to_string())?;
            if kept.contains("10.9.0.3:6443") {
                Ok(())
            } else {
                Err(kept)
            }
        })
        .await;
        assert!(rivers.peer.stop().await.success());
    }
}

async fn version(client: &Client) {
    wait::until("a real request", PATIENCE, async || {
        client.apiserver_version().await
    })
    .await;
}

#[tokio::test]
async fn it_goes_on_through_another_api_server_and_without_a_folder_to_write_to() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let Some(mut cluster) = Cluster::builder(&place).api_servers(2).start().await else {
        return;
    };
    let servers = [0, 1].map(|index| cluster.api_servers[index].address());
    let other = place.socket_address(4, 6443);
    let slices = Slices(Api::default_namespaced(cluster.client(1)));
    slices.name(&servers).await;
    // Not even root can make a folder there.
    let kubeconfig = cluster.kubeconfig("https://192.0.2.1:6443");
    let peer = program::rivers(&place)
        .arg(format!("--listen={}", listen(&place)))
        .arg(format!("--upstreams={}", servers[0]))
        .arg(format!("--admin={}", admin(&place)))
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg("--state-dir=/proc/none")
        .start();
    let rivers = Rivers::accepting(peer, listen(&place), admin(&place)).await;
    watching(&rivers).await;
    rivers
        .peer
        .says("cannot keep the upstreams for the next start")
        .await;

    // The one through which it watches dies.
    cluster.api_servers[0].peer.kill();
    slices.name(&[servers[0], servers[1], other]).await;
    comes_to_know(&rivers, other, true).await;
    watching(&rivers).await;
    assert_eq!(rivers.times("cannot keep the upstreams"), 1);
}

#[tokio::test]
async fn check_tells_what_the_credentials_may_and_the_role_of_the_readme_is_enough() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let Some(cluster) = Cluster::builder(&place).start().await else {
        return;
    };
    let seed = cluster.api_servers[0].address();
    Slices::of(&cluster).name(&[seed]).await;
    let user = cluster.pki.client("rivers", None);
    let kubeconfig = cluster.pki.kubeconfig(&user, "https://192.0.2.1:6443");
    let output = check(&place, &kubeconfig, seed).await;
    assert_eq!(output.code(), 1, "{output}");
    let sentence = format!(
        "discovery FAILED: the credentials in {} may not list and watch endpointslices.discovery.k8s.io in default (403)\n",
        kubeconfig.display()
    );
    assert!(output.stdout.ends_with(&sentence), "{output}");

    grant(&cluster).await;
    wait::until("the right", PATIENCE, async || {
        let output = check(&place, &kubeconfig, seed).await;
        let names = format!("discovery names {seed}\n");
        if output.stdout.ends_with(&names) {
            Ok(())
        } else {
            Err(output)
        }
    })
    .await;
    let flag = format!("--kubeconfig={}", kubeconfig.display());
    let rivers = Rivers::start(&place, &[seed], &[&flag]).await;
    watching(&rivers).await;
}

/// Gives the user `rivers` what rivers' README says that it needs.
async fn grant(cluster: &Cluster) {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "rivers"},
        "rules": [{
            "apiGroups": ["discovery.k8s.io"],
            "resources": ["endpointslices"],
            "verbs": ["list", "watch"],
        }],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "rivers"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "rivers"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "rivers"}],
    });
    let parameters = PostParams::default();
    let roles = Api::<Role>::default_namespaced(cluster.client(0));
    let role = serde_json::from_value(role).unwrap();
    roles.create(&parameters, &role).await.unwrap();
    let bindings = Api::<RoleBinding>::default_namespaced(cluster.client(0));
    let binding = serde_json::from_value(binding).unwrap();
    bindings.create(&parameters, &binding).await.unwrap();
}

#[tokio::test]
async fn a_reload_adds_discovery_and_takes_it_away() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let Some(cluster) = Cluster::builder(&place).start().await else {
        return;
    };
    let seed = cluster.api_servers[0].address();
    let other = place.socket_address(3, 6443);
    named_echo(other, "e").await;
    Slices::of(&cluster).name(&[seed, other]).await;

    let file = place.folder().join("rivers.yml");
    let kubeconfig = cluster.kubeconfig("https://192.0.2.1:6443");
    let with = format!("  discovery: {{kubeconfig: '{}'}}\n", kubeconfig.display());
    let write = |discovery: &str| {
        let (admin, listen) = (admin(&place), listen(&place));
        let text = format!(
            "admin: '{admin}'\nlisteners:\n- listen: '{listen}'\n  upstreams: ['{seed}']\n{discovery}"
        );
        fs::write(&file, text).unwrap();
    };
    write("");
    let peer = program::rivers(&place)
        .arg("--config")
        .arg(&file)
        .arg(format!("--state-dir={}", state_dir(&place).display()))
        .start();
    let rivers = Rivers::accepting(peer, listen(&place), admin(&place)).await;
    assert!(!rivers.knows(other).await);

    write(&with);
    comes_to_know(&rivers, other, true).await;
    let mut connection = at_echo(&rivers, b'e').await;

    write("");
    comes_to_know(&rivers, other, false).await;
    assert!(rivers.knows(seed).await);
    exchange(&mut connection).await.unwrap();
    let watching = rivers.admin.metric("rivers_discovery_watching", &[]).await;
    assert!(watching < 0.5, "nobody watches any more");
}
