//! Name servers, and the client that asks them.

use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::PostParams;
use std::time::Duration;
use tests::authoritative::{Authoritative, Denial, Zone};
use tests::coredns::CoreDns;
use tests::dns::{Question, RecordType};
use tests::kubernetes::Cluster;
use tests::place::Place;
use tests::wait;

#[tokio::test]
async fn nsd_answers_with_signatures_and_denies_with_the_kind_of_proof_asked_for() {
    let place = Place::loopback();
    let text =
        "@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\nwww A 192.0.2.2\n";
    let Some(nsec) = Zone::signed(&place, "nsec.example.", text, Denial::Nsec) else {
        return;
    };
    let Some(nsec3) = Zone::signed(&place, "nsec3.example.", text, Denial::Nsec3) else {
        return;
    };
    let plain = Zone::unsigned(&place, "plain.example.", text);
    assert!(nsec.ds().starts_with("nsec.example.\t"), "{}", nsec.ds());
    let zones = [nsec, nsec3, plain];
    let Some(server) = Authoritative::start(&place, place.socket_address(5, 5300), &zones).await
    else {
        return;
    };

    for (zone, denial) in [
        ("nsec", Some(RecordType::NSEC)),
        ("nsec3", Some(RecordType::NSEC3)),
        ("plain", None),
    ] {
        let www = Question::new(&format!("www.{zone}.example."), RecordType::A).dnssec_ok();
        for question in [www.clone(), www.tcp()] {
            let reply = question.ask(server.address()).await.unwrap();
            assert_eq!(reply.data(RecordType::A), ["192.0.2.2"], "{zone}");
            assert_eq!(
                reply.data(RecordType::RRSIG).len(),
                usize::from(denial.is_some()),
                "{zone}"
            );
        }

        let missing = Question::new(&format!("missing.{zone}.example."), RecordType::A).dnssec_ok();
        let reply = missing.ask(server.address()).await.unwrap();
        assert_eq!(reply.code().to_str(), "Non-Existent Domain", "{zone}");
        let proves = |kind| {
            reply
                .message
                .authorities
                .iter()
                .any(|record| record.record_type() == kind)
        };
        for kind in [RecordType::NSEC, RecordType::NSEC3] {
            assert_eq!(proves(kind), denial == Some(kind), "{zone}");
        }
    }
}

#[tokio::test]
async fn the_root_can_be_signed() {
    let place = Place::loopback();
    let text = "@ SOA ns. hostmaster. 1 3600 600 86400 60\n@ NS ns.\nns. A 192.0.2.1\n";
    let Some(zone) = Zone::signed(&place, ".", text, Denial::Nsec) else {
        return;
    };
    let Some(server) = Authoritative::start(&place, place.socket_address(5, 5300), &[zone]).await
    else {
        return;
    };
    let reply = Question::new(".", RecordType::DNSKEY)
        .dnssec_ok()
        .ask(server.address())
        .await
        .unwrap();
    assert_eq!(reply.data(RecordType::DNSKEY).len(), 1);
    assert_eq!(reply.data(RecordType::RRSIG).len(), 1);
}

#[tokio::test]
async fn coredns_answers_what_the_api_server_has() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let Some(cluster) = Cluster::builder(&place).start().await else {
        return;
    };
    let service: Service = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "web"},
        "spec": {"clusterIP": "10.96.0.80", "ports": [{"port": 80}]},
    }))
    .unwrap();
    Api::default_namespaced(cluster.client(0))
        .create(&PostParams::default(), &service)
        .await
        .unwrap();

    let address = place.socket_address(10, 53);
    let kubeconfig = cluster.kubeconfig(&cluster.api_servers[0].url());
    let corefile = format!(
        ".:53 {{\n  bind {}\n  kubernetes cluster.local {{\n    kubeconfig {} context\n  }}\n}}\n",
        address.ip(),
        kubeconfig.display()
    );
    let Some(coredns) = CoreDns::start(&place, address, &corefile).await else {
        return;
    };

    let question = Question::new("web.default.svc.cluster.local.", RecordType::A);
    let data = wait::until(
        "the Service's address",
        Duration::from_secs(20),
        async || {
            let reply = question
                .ask(coredns.address())
                .await
                .map_err(|error| error.to_string())?;
            let data = reply.data(RecordType::A);
            if data.is_empty() {
                Err(reply.code().to_string())
            } else {
                Ok(data)
            }
        },
    )
    .await;
    assert_eq!(data, ["10.96.0.80"]);
}
