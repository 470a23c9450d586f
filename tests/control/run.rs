//! `control run`: one writer, takeover, records, metrics; and `status`.

use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event};
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use tests::admin::Admin;
use tests::peer::Peer;
use tests::wait;

use crate::scene::{Scene, json};

fn run(scene: &Scene, number: u8) -> (Peer, SocketAddr) {
    let metrics = scene.place().socket_address(number, 9254);
    let peer = scene
        .control(&["run", "--interval", "1s", "--metrics-addr"])
        .arg(metrics.to_string())
        .start();
    (peer, metrics)
}

async fn holder(scene: &Scene) -> Option<String> {
    let lease: Lease = scene
        .in_kube_system()
        .get_opt("cke-control")
        .await
        .unwrap()?;
    lease
        .spec?
        .holder_identity
        .filter(|holder| !holder.is_empty())
}

/// Breaks what control keeps, and waits until it is mended.
async fn mended(scene: &Scene, within: Duration) {
    let config_maps: Api<ConfigMap> = scene.in_kube_system();
    let broken = json!({"data": {"Corefile": "broken"}});
    config_maps
        .patch(
            "cluster-dns",
            &PatchParams::default(),
            &Patch::Merge(broken),
        )
        .await
        .unwrap();
    wait::until("a repair", within, async || {
        let data = scene.config_map("cluster-dns").await.data.unwrap();
        if data["Corefile"] == "broken" {
            Err("still broken")
        } else {
            Ok(())
        }
    })
    .await;
}

#[tokio::test]
async fn of_two_instances_one_writes_and_the_other_takes_over_when_it_is_killed() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    let (mut first, first_metrics) = run(&scene, 11);
    first.says("we hold the Lease and write").await;
    wait::until("the first round", Duration::from_secs(20), async || {
        let config_map: Option<ConfigMap> =
            scene.in_kube_system().get_opt("node-dns").await.unwrap();
        config_map.map(drop).ok_or("not yet")
    })
    .await;
    let (mut second, second_metrics) = run(&scene, 12);
    second.says("started").await;
    mended(&scene, Duration::from_secs(10)).await;
    let leading = async |at: SocketAddr| Admin(at).get("/metrics").await.unwrap().1;
    assert!(leading(first_metrics).await.contains("control_leading 1"));
    wait::until(
        "the second's metrics",
        Duration::from_secs(10),
        async || {
            let text = leading(second_metrics).await;
            if text.contains("control_leading 0") {
                Ok(())
            } else {
                Err(text)
            }
        },
    )
    .await;
    assert!(
        !second.log().contains("we hold the Lease"),
        "{}",
        second.log()
    );

    let output = scene.control(&["sync"]).run().await;
    assert_eq!(output.code(), 1, "{output}");
    assert!(output.stderr.contains("keeps this cluster"), "{output}");

    let before = holder(&scene).await.unwrap();
    first.kill();
    wait::until("the takeover", Duration::from_secs(15), async || {
        let now = holder(&scene).await;
        if now.as_ref() == Some(&before) {
            Err(before.clone())
        } else {
            Ok(())
        }
    })
    .await;
    mended(&scene, Duration::from_secs(10)).await;

    let events: Api<Event> = scene.in_kube_system();
    let events = events.list(&ListParams::default()).await.unwrap();
    let about: Vec<_> = events
        .iter()
        .filter(|event| event.involved_object.name.as_deref() == Some("cluster-dns"))
        .filter_map(|event| event.reason.clone())
        .collect();
    assert!(about.contains(&"Updated".to_owned()), "{about:?}");

    // One that ends in peace gives the Lease back.
    assert!(second.stop().await.success(), "{}", second.log());
    assert_eq!(holder(&scene).await, None);
}

#[tokio::test]
async fn what_a_killed_instance_left_undone_is_done_by_the_next_once() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    let object = |n: usize| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{namespace: default, name: n{n:03}}}\n---\n"
        )
    };
    scene.resource("all.yml", &(0..OBJECTS).map(object).collect::<String>());
    let start = |number: u8| {
        let metrics = scene.place().socket_address(number, 9254).to_string();
        scene
            .control(&["run", "--resources", "resources", "--metrics-addr"])
            .arg(metrics)
            .start()
    };
    let config_maps: Api<ConfigMap> = Api::default_namespaced(scene.client());
    let mut first = start(11);
    wait::until("a few objects", Duration::from_secs(30), async || {
        let some = config_maps.get_opt("n010").await.unwrap();
        some.map(drop).ok_or("not yet")
    })
    .await;
    first.kill();
    let list = async || config_maps.list(&ListParams::default()).await.unwrap();
    let done = list().await.items.len();
    assert!(done < OBJECTS, "killed in the middle: {done}");

    let _second = start(12);
    wait::until("the rest", Duration::from_secs(40), async || {
        let done = list().await.items.len();
        if done == OBJECTS { Ok(()) } else { Err(done) }
    })
    .await;
    for config_map in list().await {
        assert_eq!(config_map.annotations()["cke.cybozu.com/revision"], "1");
    }
    let output = scene
        .control(&["status", "-o", "json", "--records", "500"])
        .run()
        .await;
    let records = json(&output)["records"].as_array().unwrap().clone();
    let is_cut_off = |record: &serde_json::Value| {
        record["error"]
            .as_str()
            .is_some_and(|error| error.starts_with("cut off: "))
    };
    assert!(records.iter().any(is_cut_off), "{output}");
}

/// Enough to kill an instance in the middle of them.
const OBJECTS: usize = 200;

#[tokio::test]
async fn a_sync_holds_the_lease_and_waits_for_one_whose_holder_is_gone() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    let leases: Api<Lease> = scene.in_kube_system();
    let gone = json!({
        "metadata": {"name": "cke-control"},
        "spec": {"holderIdentity": "gone", "leaseTransitions": 3},
    });
    let gone = serde_json::from_value(gone).unwrap();
    leases.create(&PostParams::default(), &gone).await.unwrap();
    scene.sync().await;
    let spec = leases.get("cke-control").await.unwrap().spec.unwrap();
    assert_eq!(spec.lease_transitions, Some(4));
    assert_eq!(holder(&scene).await, None, "it is given back");

    let object = |n: usize| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{namespace: default, name: n{n:03}}}\n---\n"
        )
    };
    scene.resource("all.yml", &(0..OBJECTS).map(object).collect::<String>());
    let sync = ["sync", "--resources", "resources"];
    let mut first = scene.control(&sync).start();
    first.says("created ConfigMap default/n010").await;
    // One that is suspended loses the right to write, and notices when it goes on.
    first.pause();
    let second = wait::until("another sync", Duration::from_secs(60), async || {
        let output = scene.control(&sync).run().await;
        let is_refused = output.stderr.contains("keeps this cluster");
        assert_eq!(output.code(), i32::from(is_refused), "{output}");
        if is_refused {
            Err(output.to_string())
        } else {
            Ok(output.stdout)
        }
    })
    .await;
    assert!(
        second.contains("created ConfigMap default/n199"),
        "{second}"
    );
    first.resume();
    let ended = first.exited(Duration::from_secs(60)).await.unwrap();
    assert_eq!(ended.code(), Some(1), "{}", first.log());
    assert!(
        first.log().contains("stopped in the middle"),
        "{}",
        first.log()
    );
    let config_maps: Api<ConfigMap> = Api::default_namespaced(scene.client());
    for config_map in config_maps.list(&ListParams::default()).await.unwrap() {
        assert_eq!(config_map.annotations()["cke.cybozu.com/revision"], "1");
    }
}

#[tokio::test]
async fn what_was_done_is_recorded_and_status_tells_it() {
    let Some(scene) = Scene::start(1).await else {
        return;
    };
    scene.cluster_yml("", "dns_servers: [192.0.2.53]\n");
    scene.ready_nodes().await;
    let output = scene.control(&["status", "-o", "json"]).run().await;
    assert_eq!(output.code(), 1, "{output}");
    assert_eq!(json(&output)["records"], json!([]), "{output}");

    scene.sync().await;
    let output = scene
        .control(&["status", "-o", "json", "--records", "100"])
        .run()
        .await;
    let status = json(&output);
    // There is no CoreDNS here.
    assert_eq!(output.code(), 1, "{output}");
    assert_eq!(
        (&status["operations"], &status["holder"]),
        (&json!(0), &json!(null))
    );
    let records = status["records"].as_array().unwrap();
    assert_eq!(records.len(), 18, "{status}");
    for record in records {
        assert_eq!(record["status"], "completed", "{record}");
    }
    assert_eq!(
        records[0]["operation"],
        "create ServiceAccount kube-system/cke-cluster-dns"
    );

    let text = scene.control(&["status"]).run().await.stdout;
    assert!(text.starts_with("no `control run` keeps it\n"), "{text}");
    assert!(
        text.contains("completed create ConfigMap kube-system/node-dns"),
        "{text}"
    );
}

#[tokio::test]
async fn resources_are_edited_in_their_directory_and_a_first_file_is_written() {
    let place = tests::place::Place::loopback();
    let control = |arguments: &[&str]| tests::program::control(&place).args(arguments).run();
    let out = control(&["init"]).await.success();
    assert!(out.starts_with("wrote cluster.yml"), "{out}");
    control(&["validate"]).await.success();
    let again = control(&["init"]).await;
    assert_eq!(again.code(), 2, "{again}");
    assert!(again.stderr.contains("exists already"), "{again}");

    let app = place.folder().join("app.yml");
    std::fs::write(
        &app,
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n",
    )
    .unwrap();
    let resources = ["--resources", "resources"];
    control(&[&["resource", "set", "app.yml"][..], &resources].concat())
        .await
        .success();
    let list = control(&[&["resource", "list"][..], &resources].concat())
        .await
        .success();
    assert!(
        list.contains("Namespace a  resources/Namespace_a.yml:1:1"),
        "{list}"
    );
    let valid = control(&[&["validate"][..], &resources].concat())
        .await
        .success();
    assert!(valid.contains("1 resource of your own"), "{valid}");
    control(&[&["resource", "delete", "Namespace/a"][..], &resources].concat())
        .await
        .success();
    let list = control(&[&["resource", "list"][..], &resources].concat())
        .await
        .success();
    assert_eq!(list, "");
}
