//! What all of this is for: a node stays Ready while the API server that its kubelet talks to vanishes.

use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Error};
use serde_json::json;
use tests::kubernetes::Cluster;
use tests::place::Place;
use tests::wait;
use tokio::time::{Instant, sleep_until, timeout};

use crate::faults::swallow;
use crate::scene::{PATIENCE, Rivers};

#[tokio::test]
async fn a_kubelet_misses_at_most_one_renewal_when_its_api_server_vanishes() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let Some(cluster) = Cluster::builder(&place).api_servers(3).start().await else {
        return;
    };
    let upstreams = [0, 1, 2].map(|index| cluster.api_servers[index].address());
    let ca_file = format!("--ca-file={}", cluster.pki.ca_file().display());
    let rivers = Rivers::start(&place, &upstreams, &[&ca_file]).await;
    for upstream in upstreams {
        rivers.believes(upstream, "up").await;
    }
    let user = cluster
        .pki
        .client("system:node:worker", Some("system:nodes"));
    let client = cluster.client_of(&user, &format!("https://{}", rivers.listen));
    let mut kubelet = Kubelet::new(Api::namespaced(client, "kube-node-lease")).await;

    // The network to it is cut in the worst moment.
    let first = server_of(&rivers, &upstreams).await;
    let missed = kubelet.renew(|| swallow(upstreams[first])).await + kubelet.renew(|| ()).await;
    println!("black hole: {missed} renewals missed");
    assert!(missed <= 1, "{missed}");

    // It hangs, as one whose disk does.
    let second = server_of(&rivers, &upstreams).await;
    assert_ne!(first, second);
    let hung = &cluster.api_servers[second].peer;
    let missed = kubelet.renew(|| hung.pause()).await + kubelet.renew(|| ()).await;
    println!("hung: {missed} renewals missed");
    assert!(missed <= 1, "{missed}");
    hung.resume();
}

/// Renews its Lease as kubelet does: on one connection that it never leaves by itself, each 10 s, and at once
/// again when that failed.
struct Kubelet {
    leases: Api<Lease>,
    /// When the next renewal is due.
    due: Instant,
}

impl Kubelet {
    /// With a Lease that has been renewed.
    async fn new(leases: Api<Lease>) -> Self {
        // The API server makes the namespace only after it is ready.
        wait::until("a Lease", PATIENCE, async || renewed(&leases).await).await;
        let due = Instant::now() + INTERVAL;
        Self { leases, due }
    }

    /// Renews once more, and says how many renewals were missed by then. `first` happens when it is due.
    async fn renew(&mut self, first: impl FnOnce()) -> u32 {
        sleep_until(self.due).await;
        first();
        let attempts = async {
            while let Err(error) = renewed(&self.leases).await {
                println!("{:?} after it was due: {error}", self.due.elapsed());
            }
        };
        timeout(6 * INTERVAL, attempts).await.expect("a renewal");
        let mut missed = 0;
        self.due += INTERVAL;
        while self.due < Instant::now() {
            missed += 1;
            self.due += INTERVAL;
        }
        missed
    }
}

async fn renewed(leases: &Api<Lease>) -> Result<(), Error> {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "worker"},
        "spec": {
            "holderIdentity": "worker",
            "leaseDurationSeconds": 40,
            "renewTime": MicroTime(Timestamp::now()),
        },
    });
    let parameters = PatchParams::apply("kubelet").force();
    let patch = Patch::Apply(&lease);
    leases.patch("worker", &parameters, &patch).await.map(drop)
}

/// Which of the API servers has the one connection.
async fn server_of(rivers: &Rivers, upstreams: &[SocketAddr]) -> usize {
    for (index, upstream) in upstreams.iter().enumerate() {
        let upstream = upstream.to_string();
        let labels = [("upstream", upstream.as_str())];
        let active = rivers.admin.metric("rivers_connections_active", &labels);
        if active.await > 0.5 {
            return index;
        }
    }
    panic!("there is no connection: {}", rivers.peer.log());
}

/// As kubelet's, a quarter of the 40 s that a Lease lasts.
const INTERVAL: Duration = Duration::from_secs(10);
