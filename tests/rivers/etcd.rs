//! A real etcd cluster, which wants client certificates, behind a rivers that knows nothing of that: CKE's
//! flags, no CA, no certificate.

use std::net::SocketAddr;

use http::Request;
use kube::Client;
use serde_json::{Value, json};
use tests::etcd::{self, Etcd};
use tests::pki::{Issued, Pki};
use tests::place::Place;
use tests::{program, wait};
use tokio::task::LocalSet;

use crate::load::{Load, kill};
use crate::scene::{PATIENCE, Rivers, state_dir};

#[tokio::test]
async fn writes_go_on_while_a_member_is_killed_and_comes_back() {
    LocalSet::new().run_until(killed_and_restarted()).await;
}

async fn killed_and_restarted() {
    // For 127.0.0.1, which a test cannot have for itself otherwise.
    let Some(place) = Place::namespace() else {
        return;
    };
    let pki = Pki::new(&place.folder().join("pki"));
    let Some(mut members) = Etcd::cluster(&place, &pki, [2, 3, 4]).await else {
        return;
    };
    let upstreams = members.each_ref().map(Etcd::address);
    let user = pki.client("root", None);
    let rivers = rivers(&place, &upstreams).await;
    for upstream in upstreams {
        rivers.believes(upstream, "up").await;
    }
    let by_connects = "reason=\"wants a client certificate\"";
    assert_eq!(rivers.times(by_connects), 3, "{}", rivers.peer.log());

    let mut load = Load::default();
    for number in 0..CLIENTS {
        let (ca, user) = (pki.ca_file(), user.clone());
        let new = move || etcd::client(&ca, &user, "https://127.0.0.1:12379");
        let kept = new();
        load.client(move || {
            // Half of them keep their connections.
            let client = if number % 2 == 0 { kept.clone() } else { new() };
            async move { put(&client).await }
        });
    }
    load.operations(200).await;

    // Not the leader: while a new one is elected etcd itself lets writes wait, and fail.
    let follower = follower(&pki, &user, &upstreams).await;
    let killed = kill(&mut members[follower].peer);
    load.operations(200).await;
    rivers.believes(upstreams[follower], "down").await;
    load.operations(200).await;

    members[follower].restart().await;
    rivers.said_again(by_connects, 3).await;
    rivers.believes(upstreams[follower], "up").await;
    load.operations(200).await;
    load.assert_no_failure_outside_of(&[killed]);

    // When rivers meets a member it offers a handshake, which etcd logs as refused. The connects that follow,
    // one a second, leave no line.
    let rejected = || {
        let logs = members.each_ref().map(|member| member.peer.log());
        logs.concat().matches("rejected connection").count()
    };
    let before = rejected();
    let connects = probes(&rivers).await + 20.0;
    wait::until("some connects", PATIENCE, async || {
        let probes = probes(&rivers).await;
        if probes >= connects {
            Ok(())
        } else {
            Err(probes)
        }
    })
    .await;
    println!("{before} handshakes refused by etcd, {connects} probes of rivers");
    assert_eq!(rejected(), before);
}

async fn probes(rivers: &Rivers) -> f64 {
    let name = "rivers_probe_duration_seconds_count";
    rivers.admin.metric(name, &[]).await
}

/// As CKE starts it, with its folders in the place.
async fn rivers(place: &Place, upstreams: &[SocketAddr]) -> Rivers {
    let upstreams: Vec<String> = upstreams.iter().map(ToString::to_string).collect();
    let peer = program::rivers(place)
        .arg("--listen=127.0.0.1:12379")
        .arg(format!("--upstreams={}", upstreams.join(",")))
        .arg(format!("--state-dir={}", state_dir(place).display()))
        .arg(program::run_dir(place))
        .start();
    let [listen, admin] = [12379, 16480].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    Rivers::accepting(peer, listen, admin).await
}

async fn put(client: &Client) -> Result<(), String> {
    // Keys and values are bytes, so base64.
    let pair = json!({"key": "a2V5", "value": "d29yZA=="});
    call(client, "/v3/kv/put", &pair).await.map(drop)
}

async fn call(client: &Client, path: &str, body: &Value) -> Result<Value, String> {
    let request = Request::post(path)
        .body(body.to_string().into_bytes())
        .unwrap();
    client
        .request(request)
        .await
        .map_err(|error| format!("{error:?}"))
}

/// One that does not lead.
async fn follower(pki: &Pki, user: &Issued, members: &[SocketAddr]) -> usize {
    for (number, &member) in members.iter().enumerate() {
        let client = etcd::client(&pki.ca_file(), user, &format!("https://{member}"));
        let status = call(&client, "/v3/maintenance/status", &json!({}))
            .await
            .unwrap();
        if status["leader"] != status["header"]["member_id"] {
            return number;
        }
    }
    panic!("all lead");
}

const CLIENTS: usize = 8;
