//! Three CoreDNS behind one address, as behind the Service of a cluster: one after the other is killed
//! and replaced, and nobody notices.

use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use tests::binaries;
use tests::coredns::CoreDns;
use tests::dns::{Question, RecordType};
use tests::launch::Launch;
use tests::place::Place;
use tokio::task::JoinSet;

use crate::node::{Node, zone};
use crate::servers::coredns;

/// The Service: new connections go to one of its endpoints by chance, as kube-proxy's rules have it.
struct Service<'a> {
    place: &'a Place,
    nft: std::path::PathBuf,
}

impl<'a> Service<'a> {
    fn new(place: &'a Place) -> Option<Self> {
        Some(Self {
            place,
            nft: binaries::packaged("nft")?,
        })
    }

    /// Its address, which no device has.
    fn address(&self) -> String {
        "10.96.0.10:5353".to_owned()
    }

    /// Makes these its endpoints, in place of those before; connections that are open stay where they
    /// are.
    async fn lead_to(&self, endpoints: &[u8]) {
        let map: Vec<_> = endpoints
            .iter()
            .enumerate()
            .map(|(at, last)| format!("{at} : {}", self.place.address(*last)))
            .collect();
        let rules = format!(
            "table ip service\ndelete table ip service\ntable ip service {{\n chain output {{\n  \
             type nat hook output priority -100;\n  \
             ip daddr 10.96.0.10 dnat to numgen random mod {} map {{ {} }}\n }}\n}}\n",
            endpoints.len(),
            map.join(", ")
        );
        let file = self.place.folder().join("service.nft");
        std::fs::write(&file, rules).unwrap();
        Launch::new(self.place, "nft", &self.nft)
            .arg("-f")
            .arg(file)
            .run()
            .await
            .success();
    }
}

#[tokio::test]
async fn replicas_that_are_killed_and_replaced_under_load_cost_no_answer() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let Some(service) = Service::new(&place) else {
        return;
    };
    // So that the Service's address has a route before it is translated.
    route(&place).await;
    let mut replicas: Vec<CoreDns> = Vec::new();
    for last in 2..=4 {
        let Some(replica) = coredns(&place, last, "example.", "* 0 A 192.0.2.7").await else {
            return;
        };
        replicas.push(replica);
    }
    service.lead_to(&[2, 3, 4]).await;
    let node = Node::start(
        &place,
        &zone("example.", &[format!("tcp://{}", service.address())]),
    )
    .await;
    let mut load = Load::default();
    load.run(&node, Duration::from_secs(1)).await;
    for (replica, last) in replicas.iter_mut().zip(2..) {
        // Killed: connections are reset, new ones refused until the Service knows.
        replica.peer.kill();
        load.run(&node, Duration::from_millis(700)).await;
        service.lead_to(&others(last)).await;
        load.run(&node, Duration::from_millis(700)).await;
        replica.peer.restart();
        load.run(&node, Duration::from_millis(700)).await;
        service.lead_to(&[2, 3, 4]).await;
        load.run(&node, Duration::from_millis(700)).await;
    }
    for (replica, last) in replicas.iter().zip(2..) {
        // Hung: connections stay and new ones come about, but nobody answers.
        replica.peer.pause();
        load.run(&node, Duration::from_millis(700)).await;
        service.lead_to(&others(last)).await;
        load.run(&node, Duration::from_millis(700)).await;
        replica.peer.resume();
        service.lead_to(&[2, 3, 4]).await;
        load.run(&node, Duration::from_millis(700)).await;
    }
    load.report();
    assert_eq!(load.failed, 0, "questions without an answer");
}

fn others(than: u8) -> Vec<u8> {
    (2..=4).filter(|last| *last != than).collect()
}

async fn route(place: &Place) {
    let ip = binaries::packaged("ip").expect("the namespace was made with it");
    Launch::new(place, "ip", &ip)
        .args(["route", "add", "10.96.0.0/16", "dev", "lo"])
        .run()
        .await
        .success();
}

/// Questions at a steady rate, each for a name that nobody asked for before.
#[derive(Default)]
struct Load {
    asked: usize,
    failed: usize,
    times: Vec<Duration>,
}

impl Load {
    async fn run(&mut self, node: &Node, time: Duration) {
        let end = Instant::now() + time;
        let mut asking = JoinSet::new();
        while Instant::now() < end {
            let question = Question::new(&format!("n{}.example.", self.asked), RecordType::A);
            self.asked += 1;
            let address = node.address;
            asking.spawn(async move {
                let began = Instant::now();
                let reply = question.ask(address).await;
                (reply.map(|reply| reply.code()), began.elapsed())
            });
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        while let Some(ended) = asking.join_next().await {
            let (code, took) = ended.unwrap();
            self.failed += usize::from(!matches!(code, Ok(ResponseCode::NoError)));
            self.times.push(took);
        }
    }

    fn report(&mut self) {
        self.times.sort();
        let at = |part: f64| self.times[(self.times.len() as f64 * part) as usize];
        println!(
            "{} questions while replicas were killed and hung: {} failed, p50 {:?}, p99 {:?}, slowest {:?}",
            self.asked,
            self.failed,
            at(0.5),
            at(0.99),
            self.times[self.times.len() - 1]
        );
    }
}
