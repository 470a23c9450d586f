//! The cluster's names, from a real CoreDNS with its kubernetes plugin and a real API server.

use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
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

/// A cluster with its DNS, a root that denies what it does not know, and a node that asks both.
pub(crate) struct Scene {
    cluster: Cluster,
    pub(crate) coredns: CoreDns,
    _root: Authoritative,
    pub(crate) node: Node,
}

impl Scene {
    pub(crate) async fn new(place: &Place) -> Option<Self> {
        let cluster = Cluster::builder(place).start().await?;
        // The API server makes the namespace a moment after it is ready.
        let namespaces: Api<Namespace> = Api::all(cluster.client(0));
        wait::until("the namespace", Duration::from_secs(20), async || {
            namespaces.get("default").await
        })
        .await;
        let address = place.socket_address(2, 5353);
        let kubeconfig = cluster.kubeconfig(&format!("https://{}", cluster.upstreams()[0]));
        let corefile = format!(
            "cluster.local:5353 in-addr.arpa:5353 {{\n bind {}\n log\n \
             kubernetes cluster.local in-addr.arpa {{\n  kubeconfig {}\n  pods insecure\n }}\n}}\n",
            address.ip(),
            kubeconfig.display()
        );
        let coredns = CoreDns::start(place, address, &corefile).await?;
        let root = "@ SOA ns host 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\n\
                    www.example A 192.0.2.7\n";
        let root = Zone::unsigned(place, ".", root);
        let root = Authoritative::start(place, place.socket_address(3, 5353), &[root]).await?;
        let coredns_server = [format!("tcp://{}", coredns.address())];
        let zones = [
            zone("cluster.local", &coredns_server),
            zone("10.in-addr.arpa", &coredns_server),
            zone(".", &[root.address().to_string()]),
        ];
        let node = Node::start(place, &zones.concat()).await;
        Some(Self {
            cluster,
            coredns,
            _root: root,
            node,
        })
    }

    pub(crate) async fn create_service(&self, object: serde_json::Value) -> Service {
        let services: Api<Service> = Api::namespaced(self.cluster.client(0), "default");
        let service = serde_json::from_value(object).unwrap();
        services
            .create(&PostParams::default(), &service)
            .await
            .unwrap()
    }

    /// Makes a headless Service `db` with two endpoints.
    pub(crate) async fn create_headless(&self) {
        self.create_service(json!({
            "metadata": {"name": "db"},
            "spec": {"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]},
        }))
        .await;
        let slices: Api<EndpointSlice> = Api::namespaced(self.cluster.client(0), "default");
        let slice = json!({
            "metadata": {"name": "db-1", "labels": {"kubernetes.io/service-name": "db"}},
            "addressType": "IPv4",
            "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": ["10.1.0.1"], "hostname": "db-0", "conditions": {"ready": true}},
                {"addresses": ["10.1.0.2"], "hostname": "db-1", "conditions": {"ready": true}},
            ],
        });
        let slice = serde_json::from_value(slice).unwrap();
        let made = slices.create(&PostParams::default(), &slice).await;
        made.unwrap();
    }

    /// Waits until the name has these data.
    pub(crate) async fn until(&self, name: &str, kind: RecordType, data: &[&str]) {
        wait::until(name, Duration::from_secs(20), async || {
            let reply = Question::new(name, kind).ask(self.node.address).await?;
            match reply.data(kind) {
                found if found == data => Ok(()),
                found => Err(std::io::Error::other(format!("{found:?}"))),
            }
        })
        .await;
    }

    async fn code_of(&self, name: &str) -> ResponseCode {
        let question = Question::new(name, RecordType::A);
        question.ask(self.node.address).await.unwrap().code()
    }
}

#[tokio::test]
async fn services_are_found_as_soon_as_they_are_there() {
    let place = Place::loopback();
    let Some(scene) = Scene::new(&place).await else {
        return;
    };
    let name = "web.default.svc.cluster.local.";
    // Asked for again and again before it exists: no denial may stay for longer than 5 s.
    for _ in 0..3 {
        assert_eq!(scene.code_of(name).await, ResponseCode::NXDomain);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let made = scene
        .create_service(json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}))
        .await;
    let began = Instant::now();
    let cluster_ip = made.spec.unwrap().cluster_ip.unwrap();
    scene.until(name, RecordType::A, &[&cluster_ip]).await;
    let took = began.elapsed();
    println!("a name asked for before its Service existed: answered after {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn every_kind_of_name_of_the_cluster_is_found() {
    let place = Place::loopback();
    let Some(scene) = Scene::new(&place).await else {
        return;
    };
    // The root denies `local.`, which must not hide what is below.
    assert_eq!(scene.code_of("foo.local.").await, ResponseCode::NXDomain);
    assert_eq!(scene.code_of("local.").await, ResponseCode::NXDomain);

    let made = scene
        .create_service(json!({
            "metadata": {"name": "web"},
            "spec": {"ports": [{"name": "http", "port": 80}]},
        }))
        .await;
    let cluster_ip = made.spec.unwrap().cluster_ip.unwrap();
    let web = "web.default.svc.cluster.local.";
    scene.until(web, RecordType::A, &[&cluster_ip]).await;
    let srv = format!("0 100 80 {web}");
    scene
        .until(&format!("_http._tcp.{web}"), RecordType::SRV, &[&srv])
        .await;
    let aaaa = Question::new(web, RecordType::AAAA);
    let reply = aaaa.ask(scene.node.address).await.unwrap();
    assert_eq!(reply.code(), ResponseCode::NoError, "no IPv6 here");
    assert!(reply.message.answers.is_empty());
    let mut reversed: Vec<_> = cluster_ip.split('.').collect();
    reversed.reverse();
    let pointer = format!("{}.in-addr.arpa.", reversed.join("."));
    scene.until(&pointer, RecordType::PTR, &[web]).await;

    // Headless: the addresses of the endpoints, each with a name of its own.
    scene.create_headless().await;
    let db = "db.default.svc.cluster.local.";
    scene
        .until(db, RecordType::A, &["10.1.0.1", "10.1.0.2"])
        .await;
    scene
        .until(&format!("db-1.{db}"), RecordType::A, &["10.1.0.2"])
        .await;

    // CoreDNS answers the CNAME alone; nodedns follows it into the other zone.
    scene
        .create_service(json!({
            "metadata": {"name": "elsewhere"},
            "spec": {"type": "ExternalName", "externalName": "www.example"},
        }))
        .await;
    scene
        .until(
            "elsewhere.default.svc.cluster.local.",
            RecordType::A,
            &["192.0.2.7"],
        )
        .await;

    // What a pod asks for `www.example` with the usual search path and ndots:5.
    for suffix in [
        "default.svc.cluster.local.",
        "svc.cluster.local.",
        "cluster.local.",
    ] {
        let code = scene.code_of(&format!("www.example.{suffix}")).await;
        assert_eq!(code, ResponseCode::NXDomain, "{suffix}");
    }
    scene
        .until("www.example.", RecordType::A, &["192.0.2.7"])
        .await;
}
