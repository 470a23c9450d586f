//! Clients that flood, by the hundred thousand: packets that are no queries, names that nobody has.
//! Others get their answers meanwhile, and memory stays where it was. `TEST_SCALE` has more of all.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use tests::authoritative::{Authoritative, Zone};
use tests::dns::{Question, RecordType};
use tests::place::Place;
use tests::wait;
use tokio::net::UdpSocket;
use tokio::task::yield_now;
use tokio::time::{interval, timeout};

use crate::limits::{limited, resident};
use crate::node::{Node, zone};
use crate::servers::{SOA, coredns};

/// A client of its own, connected to nodedns.
async fn client(place: &Place, last: u8, node: &Node) -> UdpSocket {
    let socket = UdpSocket::bind((place.address(last), 0)).await.unwrap();
    socket.connect(node.address).await.unwrap();
    socket
}

/// Numbers that look random and are the same in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// `name. A`, asked for by a client that draws its IDs at random.
fn query(id: u16, name: &str) -> Vec<u8> {
    let mut wire = id.to_be_bytes().to_vec();
    wire.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split_terminator('.') {
        wire.push(label.len() as u8);
        wire.extend(label.as_bytes());
    }
    wire.extend([0, 0, 1, 0, 1]);
    wire
}

#[tokio::test]
async fn packets_that_are_no_queries_harm_nobody_however_many() {
    let place = Place::loopback();
    let Some(server) = coredns(&place, 2, "example.", "www A 192.0.2.7").await else {
        return;
    };
    let zones = zone(".", &[server.address().to_string()]);
    let node = limited(&place, &zones, "").await;
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let corpus: Vec<Vec<u8>> = ["question", "response"]
        .iter()
        .flat_map(|target| fs::read_dir(seeds.join(target)).unwrap())
        .map(|file| fs::read(file.unwrap().path()).unwrap())
        .chain([
            query(7, "www.example."),
            Question::new("www.example.", RecordType::MX).wire(),
        ])
        .collect();
    let hog = client(&place, 9, &node).await;
    let mut numbers = Numbers(1);
    let mut buffer = [0; 2_048];
    let count = 100_000 * tests::scale();
    for number in 0..count {
        let mut packet = corpus[numbers.below(corpus.len())].clone();
        for _ in 0..numbers.below(4) {
            let at = numbers.below(packet.len());
            match numbers.below(3) {
                0 => packet[at] = numbers.next() as u8,
                1 => packet.truncate(at.max(1)),
                _ => packet.insert(at, numbers.next() as u8),
            }
        }
        packet.truncate(1_400);
        hog.send(&packet).await.unwrap();
        // Its own socket must not fill up, nor the other's.
        while hog.try_recv(&mut buffer).is_ok() {}
        if number % 32 == 0 {
            yield_now().await;
        }
        if number % 2_000 == 0 {
            assert_eq!(
                node.addresses("www.example.").await,
                ["192.0.2.7"],
                "after {number}"
            );
        }
    }
    assert_eq!(node.addresses("www.example.").await, ["192.0.2.7"]);
    assert_eq!(node.admin.metric("nodedns_panics_total", &[]).await, 0.0);
    let read = node.admin.metric("nodedns_queries_total", &[]).await;
    assert!(read > f64::from(count) / 2.0, "{read} of {count} were read");
}

/// Asks for all `names` one after the other, each twice if need be, as a stub resolver does: the machine
/// may be too busy to read what came. Gives the TTLs of what was answered.
async fn answered(node: &Node, place: &Place, names: &[String]) -> Vec<u32> {
    let mut ttls = Vec::new();
    for name in names {
        let question = Question::new(name, RecordType::A).from(place.address(8));
        let mut reply = question.ask(node.address).await;
        if reply.is_err() {
            reply = question.ask(node.address).await;
        }
        if let Ok(reply) = reply
            && reply.code() == ResponseCode::NoError
        {
            ttls.push(reply.message.answers[0].ttl);
        }
    }
    ttls
}

/// Floods with names that nobody asked for before, ten thousand a second at most, which is more than
/// are answered and not so many that the kernel has to throw others' questions away; gives how many.
async fn flood(socket: &UdpSocket, domain: &str, enough: impl Fn(usize) -> bool) -> usize {
    let mut numbers = Numbers(2);
    let mut buffer = [0; 2_048];
    let mut pace = interval(Duration::from_millis(1));
    let mut sent = 0;
    while !enough(sent) {
        pace.tick().await;
        for _ in 0..10 {
            let name = format!("r{:016x}.{domain}", numbers.next());
            let query = query(numbers.next() as u16, &name);
            socket.send(&query).await.unwrap();
            sent += 1;
        }
        while socket.try_recv(&mut buffer).is_ok() {}
    }
    sent
}

#[tokio::test]
async fn a_flood_of_random_names_costs_another_client_no_answer() {
    let place = Place::loopback();
    let Some(hung) = coredns(&place, 2, "hung.", "* A 192.0.2.7").await else {
        return;
    };
    let text = format!("{SOA}* A 192.0.2.8\n");
    let example = Zone::unsigned(&place, "example.", &text);
    let Some(public) =
        Authoritative::start(&place, place.socket_address(3, 5353), &[example]).await
    else {
        return;
    };
    let zones =
        zone(".", &[public.address().to_string()]) + &zone("hung.", &[hung.address().to_string()]);
    let node = limited(&place, &zones, "limits: {exempt: []}\n").await;
    hung.peer.pause();
    // One client floods a domain whose servers do not answer, which takes all that it can get; another
    // one that is answered.
    let [dead, living] = [
        client(&place, 9, &node).await,
        client(&place, 10, &node).await,
    ];
    let is_over = AtomicBool::new(false);
    let enough = |_| is_over.load(Ordering::Relaxed);
    let labels = [("limit", "waiting")];
    let measuring = async {
        // A machine that is fast is done before there are many.
        wait::until("more than may wait", Duration::from_secs(60), async || {
            let met = node.admin.metric("nodedns_limited_total", &labels).await;
            if met > 0.0 { Ok(()) } else { Err("none") }
        })
        .await;
        let names: Vec<String> = (0..50)
            .map(|number| format!("m{number}.example."))
            .collect();
        let misses = answered(&node, &place, &names).await;
        let hits = answered(&node, &place, &names).await;
        is_over.store(true, Ordering::Relaxed);
        (misses.len(), hits.len())
    };
    let all = async {
        tokio::join!(
            flood(&dead, "hung.", enough),
            flood(&living, "example.", enough),
            measuring
        )
    };
    let (_, _, (misses, hits)) = timeout(Duration::from_secs(120), all).await.unwrap();
    assert_eq!((misses, hits), (50, 50), "of 50 each");
    assert_eq!(node.admin.metric("nodedns_panics_total", &[]).await, 0.0);
}

#[tokio::test]
async fn millions_of_names_under_one_domain_leave_what_is_asked_for_in_the_cache() {
    const HOT: usize = 1_000;
    let place = Place::loopback();
    let text = format!("{SOA}* {TTL} A 192.0.2.8\n");
    let example = Zone::unsigned(&place, "example.", &text);
    let Some(public) =
        Authoritative::start(&place, place.socket_address(3, 5353), &[example]).await
    else {
        return;
    };
    let Some(cluster) = coredns(&place, 2, "cluster.local.", "* A 10.96.0.1").await else {
        return;
    };
    let zones = zone(".", &[public.address().to_string()])
        + &zone("cluster.local.", &[cluster.address().to_string()]);
    let node = limited(
        &place,
        &zones,
        "cache: {size: 16MiB}\nlimits: {exempt: []}\n",
    )
    .await;
    let hot: Vec<String> = (0..HOT)
        .map(|number| format!("hot{number}.example."))
        .collect();
    let inner: Vec<String> = (0..50)
        .map(|number| format!("s{number}.cluster.local."))
        .collect();
    for names in [&hot, &hot, &inner, &inner] {
        assert_eq!(answered(&node, &place, names).await.len(), names.len());
    }
    wait::until("a second to pass", Duration::from_secs(10), async || {
        let ttls = answered(&node, &place, &hot[HOT - 1..]).await;
        if ttls[0] < TTL {
            Ok(())
        } else {
            Err("its TTL is whole")
        }
    })
    .await;
    let hog = client(&place, 9, &node).await;
    let count = 50_000 * tests::scale() as usize;
    let is_over = AtomicBool::new(false);
    let flooding = async {
        flood(&hog, "example.", |number| number >= count).await;
        is_over.store(true, Ordering::Relaxed);
    };
    let (mut asked, mut fetched, mut most) = (0, 0, 0);
    let measuring = async {
        while !is_over.load(Ordering::Relaxed) {
            let ttls = answered(&node, &place, &hot).await;
            assert_eq!(ttls.len(), HOT);
            assert_eq!(answered(&node, &place, &inner).await.len(), inner.len());
            asked += HOT;
            // What is not whole any more was kept.
            fetched += ttls.iter().filter(|ttl| **ttl == TTL).count();
            most = most.max(resident(&node.peer));
        }
    };
    tokio::join!(flooding, measuring);
    let questions = node.admin.metric("nodedns_upstream_queries_total", &[]);
    println!(
        "{count} random names, {} questions to servers, {fetched} of {asked} hot names asked for again, {} MiB at most",
        questions.await,
        most >> 20
    );
    assert!(
        fetched * 100 < asked,
        "{fetched} of {asked} hot names had to be asked for again"
    );
    // The cache, the questions that wait, and the program itself.
    assert!(most < 96 << 20, "{} MiB", most >> 20);
}

/// Seconds; of all names in the zone of the flood.
const TTL: u32 = 86_400;
