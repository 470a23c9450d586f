//! The search list of a pod (`ndots:5`): names of the world cost the cluster's DNS next to nothing, and no name
//! of the cluster is denied for it.

use std::collections::BTreeMap;
use std::time::Instant;

use hickory_proto::op::ResponseCode;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use tests::dns::{Question, RecordType};
use tests::place::Place;
use tests::scale;

use crate::cluster::Scene;

const SUFFIXES: [&str; 3] = [
    "default.svc.cluster.local.",
    "svc.cluster.local.",
    "cluster.local.",
];

#[tokio::test]
async fn a_search_list_costs_one_question_for_each_domain_and_top_label() {
    let place = Place::loopback();
    let Some(scene) = Scene::new(&place).await else {
        return;
    };
    let names = [
        "www.example.com",
        "api.example.com",
        "a.b.c.example.com",
        "other.com",
        "www.example.org",
        "x.org",
        "registry.k8s.io",
        "quay.io",
        "a.quay.io",
        "_ldap._tcp.example.io",
    ];
    let before = asked(&scene).len();
    let began = Instant::now();
    for _ in 0..3 {
        for name in names {
            for suffix in SUFFIXES {
                let name = format!("{name}.{suffix}");
                // As the C library does: both at once.
                let [a, aaaa] =
                    [RecordType::A, RecordType::AAAA].map(|kind| Question::new(&name, kind));
                let (a, aaaa) =
                    tokio::join!(a.ask(scene.node.address), aaaa.ask(scene.node.address));
                for reply in [a.unwrap(), aaaa.unwrap()] {
                    assert_eq!(reply.code(), ResponseCode::NXDomain, "{name}");
                    assert_eq!(reply.message.authorities.len(), 1, "{reply:?}");
                }
            }
        }
    }
    let took = began.elapsed();
    let asked = asked(&scene).split_off(before);
    let mut counts: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for name in asked.iter().filter(|name| !name.starts_with('_')) {
        let suffix = SUFFIXES
            .iter()
            .find(|suffix| name.ends_with(&format!(".{suffix}")));
        let Some(suffix) = suffix else { continue };
        let rest = name.strip_suffix(&format!(".{suffix}")).unwrap();
        let top = rest.rsplit('.').next().unwrap().to_owned();
        *counts.entry((suffix, top)).or_default() += 1;
    }
    println!(
        "{} searches within {took:?}: {} questions to CoreDNS: {counts:?}",
        3 * names.len() * 6,
        asked.len()
    );
    let most = 1 + (took.as_secs() / 5) as usize;
    assert!(counts.len() >= 9, "{counts:?}");
    assert!(counts.values().all(|count| *count <= most), "{counts:?}");
}

/// The names about which CoreDNS was asked, in lower case.
fn asked(scene: &Scene) -> Vec<String> {
    let log = scene.coredns.peer.log().to_ascii_lowercase();
    let questions = log.lines().filter_map(|line| line.split_once(" in "));
    questions
        .filter_map(|(_, rest)| Some(rest.split_once(' ')?.0.to_owned()))
        .collect()
}

#[tokio::test]
async fn no_name_of_the_cluster_is_denied_in_whatever_order_they_are_asked_for() {
    let place = Place::loopback();
    let Some(scene) = Scene::new(&place).await else {
        return;
    };
    let made = scene
        .create_service(json!({
            "metadata": {"name": "web"},
            "spec": {"ports": [{"name": "http", "port": 80}]},
        }))
        .await;
    scene.create_headless().await;
    let cluster_ip = made.spec.unwrap().cluster_ip.unwrap();
    let mut reversed: Vec<_> = cluster_ip.split('.').collect();
    reversed.reverse();
    let reversed = format!("{}.in-addr.arpa.", reversed.join("."));
    let names = [
        ("web.default.svc.cluster.local.", RecordType::A),
        ("_http._tcp.web.default.svc.cluster.local.", RecordType::SRV),
        ("db.default.svc.cluster.local.", RecordType::A),
        ("db-0.db.default.svc.cluster.local.", RecordType::A),
        ("db-1.db.default.svc.cluster.local.", RecordType::A),
        ("_sql._tcp.db.default.svc.cluster.local.", RecordType::SRV),
        ("kubernetes.default.svc.cluster.local.", RecordType::A),
        (
            "_https._tcp.kubernetes.default.svc.cluster.local.",
            RecordType::SRV,
        ),
        ("10-1-0-7.default.pod.cluster.local.", RecordType::A),
        ("dns-version.cluster.local.", RecordType::TXT),
        (&reversed, RecordType::PTR),
        ("1.0.1.10.in-addr.arpa.", RecordType::PTR),
    ];
    scene.until(names[0].0, RecordType::A, &[&cluster_ip]).await;
    scene.until(names[4].0, RecordType::A, &["10.1.0.2"]).await;
    // What is in the way: names above, and names that are not there.
    let others = [
        "cluster.local.",
        "svc.cluster.local.",
        "default.svc.cluster.local.",
        "pod.cluster.local.",
        "_tcp.web.default.svc.cluster.local.",
        "x._tcp.web.default.svc.cluster.local.",
        "dns-version.cluster.local.",
        "x.dns-version.cluster.local.",
        "none.default.svc.cluster.local.",
        "www.example.com.default.svc.cluster.local.",
        "www.example.com.svc.cluster.local.",
        "www.example.com.cluster.local.",
        "x.none.svc.cluster.local.",
        "a.web.default.svc.cluster.local.",
        "10.in-addr.arpa.",
        "96.10.in-addr.arpa.",
        "0.96.10.in-addr.arpa.",
        "250.0.96.10.in-addr.arpa.",
        "1.1.10.in-addr.arpa.",
        "3.0.1.10.in-addr.arpa.",
    ];
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut all: Vec<(&str, Option<RecordType>)> = others.map(|name| (name, None)).into();
    all.extend(names.map(|(name, kind)| (name, Some(kind))));
    let mut asked = 0;
    for _ in 0..20 * scale() {
        // Nothing of it is kept, now and then.
        if random.random_bool(0.3) {
            let flush = tests::program::nodedns(&place)
                .args(["cache", "flush", "."])
                .run()
                .await;
            flush.success();
        }
        all.shuffle(&mut random);
        for (name, kind) in &all {
            let question = Question::new(name, kind.unwrap_or(RecordType::A));
            let reply = question.ask(scene.node.address).await.unwrap();
            if let Some(kind) = kind {
                assert_eq!(reply.code(), ResponseCode::NoError, "{name}");
                assert!(!reply.data(*kind).is_empty(), "{name} {kind}: {reply:?}");
                asked += 1;
            }
        }
    }
    println!("{asked} questions about names of the cluster, none of them denied");
}
