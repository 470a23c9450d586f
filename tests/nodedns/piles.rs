//! Questions piled up in the name of another while a server is slow, so that their answers leave in one burst
//! (DNSBomb): what comes back is worth no more than what was sent.

use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use tests::dns::{Question, RecordType};
use tests::place::Place;
use tests::wait;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::limits::limited;
use crate::node::{Node, zone};
use crate::servers::coredns;

/// What came back.
#[derive(Debug, Default)]
struct Burst {
    answers: usize,
    /// Those that have all their records.
    whole: usize,
    /// Those that say to ask again over TCP.
    cut: usize,
    failed: usize,
    bytes: usize,
}

#[tokio::test]
async fn answers_that_were_piled_up_are_worth_no_more_than_their_questions() {
    let place = Place::loopback();
    let many: String = (1..=60)
        .map(|last| format!("many A 192.0.2.{last}\n"))
        .collect();
    let Some(slow) = coredns(&place, 2, "slow.", &many).await else {
        return;
    };
    let Some(well) = coredns(&place, 3, "well.", "* A 192.0.2.8").await else {
        return;
    };
    let zones = zone("slow.", &[slow.address().to_string()])
        + &zone("well.", &[well.address().to_string()]);
    // The limits that everybody has.
    let node = limited(&place, &zones, "limits: {exempt: []}\n").await;
    let asked_at_once = 100;
    slow.peer.pause();

    // The victim, in whose name others ask. What its sockets hold is all that comes.
    let mut sockets = Vec::new();
    let mut asked = 0;
    let mut bytes = 0;
    for _ in 0..16 {
        let victim = UdpSocket::bind((place.address(9), 0)).await.unwrap();
        victim.connect(node.address).await.unwrap();
        for _ in 0..64 {
            let wire = Question::new("many.slow.", RecordType::A).wire();
            bytes += wire.len();
            victim.send(&wire).await.unwrap();
        }
        asked += 64;
        node.misses(f64::from(asked)).await;
        sockets.push(victim);
    }
    // Others have their answers meanwhile, those that the cache has and those that it has not.
    let first = other(&place, &node, "n.well.").await;
    let mut number = 0;
    wait::until(
        "two seconds by the TTL",
        Duration::from_secs(10),
        async || {
            number += 1;
            other(&place, &node, &format!("n{number}.well.")).await;
            match first - other(&place, &node, "n.well.").await {
                2.. => Ok(()),
                past => Err(format!("{past} s")),
            }
        },
    )
    .await;
    slow.peer.resume();

    let mut burst = Burst::default();
    for victim in &sockets {
        for _ in 0..64 {
            burst.add(&receive(victim).await);
        }
    }
    println!("{asked} questions of {bytes} bytes: {burst:?}");
    assert_eq!(burst.answers, usize::try_from(asked).unwrap(), "{burst:?}");
    let of_a_kind = burst.whole + burst.cut + burst.failed;
    assert_eq!(of_a_kind, burst.answers, "{burst:?}");
    assert!(burst.cut > 0, "{burst:?}");
    assert!(burst.whole <= asked_at_once, "{burst:?}");
    assert!(
        burst.bytes <= 2 * bytes + asked_at_once * 1_232,
        "{burst:?}"
    );
    let labels = [("limit", "pile")];
    let met = node.admin.metric("nodedns_limited_total", &labels).await;
    assert!((met - burst.cut as f64).abs() < 0.5, "{met}: {burst:?}");
    // Whoever did ask himself comes back over TCP, and the answer is there.
    let question = Question::new("many.slow.", RecordType::A).tcp();
    let reply = question.from(place.address(9)).ask(node.address).await;
    assert_eq!(reply.unwrap().data(RecordType::A).len(), 60);
    assert_eq!(node.admin.metric("nodedns_panics_total", &[]).await, 0.0);
}

impl Burst {
    fn add(&mut self, packet: &[u8]) {
        let message = Message::from_vec(packet).unwrap();
        self.answers += 1;
        self.bytes += packet.len();
        self.whole += usize::from(message.answers.len() == 60);
        self.cut += usize::from(message.metadata.truncation);
        self.failed += usize::from(message.metadata.response_code == ResponseCode::ServFail);
    }
}

/// Each question has an answer, of whatever kind.
async fn receive(victim: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 4_096];
    let received = timeout(Duration::from_secs(10), victim.recv(&mut buffer)).await;
    buffer.truncate(received.expect("an answer to each").unwrap());
    buffer
}

/// Asks as another client, and gives the TTL.
async fn other(place: &Place, node: &Node, name: &str) -> u32 {
    let question = Question::new(name, RecordType::A).from(place.address(8));
    let reply = question.ask(node.address).await.unwrap();
    assert_eq!(reply.data(RecordType::A), ["192.0.2.8"], "{name}");
    reply.message.answers[0].ttl
}
