//! The cluster's names, from a real CoreDNS with its kubernetes plugin and a real API server.

use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use tests::authoritative::{Authoritative, Zone};
use tests::coredns::CoreDns;
use tests::dns::{Question, RecordType};
use tests::kubernetes::Cluster;
use tests::place::Place;
use tests::wait;

use crate::node::{Node, zone};

#[tokio::test]
async fn services_are_found_as_soon_as_they_are_there() {
    let place = Place::loopback();
    let Some(cluster) = Cluster::builder(&place).start().await else {
        return;
    };
    let services: Api<Service> = Api::namespaced(cluster.client(0), "default");
    // The API server makes the namespace a moment after it is ready.
    let namespaces: Api<Namespace> = Api::all(cluster.client(0));
    wait::until("the namespace", Duration::from_secs(20), async || {
        namespaces.get("default").await
    })
    .await;

    let address = place.socket_address(2, 5353);
    let kubeconfig = cluster.kubeconfig(&format!("https://{}", cluster.upstreams()[0]));
    let corefile = format!(
        "cluster.local:5353 {{\n bind {}\n kubernetes cluster.local {{\n  kubeconfig {}\n }}\n}}\n",
        address.ip(),
        kubeconfig.display()
    );
    let Some(coredns) = CoreDns::start(&place, address, &corefile).await else {
        return;
    };
    let outside = Zone::unsigned(
        &place,
        "example.",
        "@ SOA ns host 1 3600 600 86400 60\n@ NS ns\nwww A 192.0.2.7\n",
    );
    let outside = Authoritative::start(&place, place.socket_address(3, 5353), &[outside]).await;
    let Some(outside) = outside else { return };
    let zones = [
        zone("cluster.local", &[format!("tcp://{}", coredns.address())]),
        zone(".", &[outside.address().to_string()]),
    ];
    let node = Node::start(&place, &zones.concat()).await;
    assert_eq!(node.addresses("www.example.").await, ["192.0.2.7"]);

    // Asked for before it exists: the denial must not stay for longer than 5 s.
    let name = "web.default.svc.cluster.local.";
    let question = Question::new(name, RecordType::A);
    let before = question.ask(node.address).await.unwrap();
    assert_eq!(before.code(), ResponseCode::NXDomain);
    let made = create(
        &services,
        json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}),
    )
    .await;
    let began = Instant::now();
    let cluster_ip = made.spec.unwrap().cluster_ip.unwrap();
    wait::until("the new service", Duration::from_secs(8), async || {
        let addresses = node.addresses(name).await;
        if addresses == [cluster_ip.as_str()] {
            Ok(())
        } else {
            Err(format!("{addresses:?}"))
        }
    })
    .await;
    assert!(
        began.elapsed() < Duration::from_secs(7),
        "{:?}",
        began.elapsed()
    );

    // CoreDNS answers the CNAME alone; nodedns follows it into the other zone.
    create(
        &services,
        json!({
            "metadata": {"name": "elsewhere"},
            "spec": {"type": "ExternalName", "externalName": "www.example"},
        }),
    )
    .await;
    let name = "elsewhere.default.svc.cluster.local.";
    wait::until("the external name", Duration::from_secs(8), async || {
        let reply = Question::new(name, RecordType::A).ask(node.address).await?;
        match reply.data(RecordType::A).as_slice() {
            [address] if address == "192.0.2.7" => Ok(()),
            other => Err(std::io::Error::other(format!("{other:?}"))),
        }
    })
    .await;
}

async fn create(services: &Api<Service>, object: serde_json::Value) -> Service {
    let service = serde_json::from_value(object).unwrap();
    services
        .create(&PostParams::default(), &service)
        .await
        .unwrap()
}
