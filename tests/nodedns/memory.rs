//! A full cache: the memory of the process grows by what `cache.size` says, whatever the answers are.

use std::fmt::Write as _;
use std::time::Duration;

use tests::authoritative::{Authoritative, Denial, Zone};
use tests::dns::{Question, RecordType};
use tests::place::Place;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::limits::{limited, resident};

/// Answers of one kind.
struct Kind {
    name: &'static str,
    /// Of the wildcard that gives them.
    record: String,
    asked: RecordType,
    is_signed: bool,
}

fn kinds() -> [Kind; 4] {
    let texts = |count| {
        (0..count).fold("TXT".to_owned(), |mut record, _| {
            write!(record, " {}", "x".repeat(200)).unwrap();
            record
        })
    };
    let kind = |name, record, asked, is_signed| Kind {
        name,
        record,
        asked,
        is_signed,
    };
    [
        kind("tiny", "A 192.0.2.7".to_owned(), RecordType::A, false),
        kind("plain", texts(1), RecordType::TXT, false),
        kind("big", texts(5), RecordType::TXT, false),
        kind("signed", "A 192.0.2.7".to_owned(), RecordType::A, true),
    ]
}

/// With `TEST_SCALE=4` or more of 64 MiB as well.
#[tokio::test]
async fn a_full_cache_takes_as_much_memory_as_it_may() {
    let sizes = [16, 64];
    let sizes = &sizes[..if tests::scale() < 4 { 1 } else { 2 }];
    let mut off = Vec::new();
    for kind in kinds() {
        for mebibytes in sizes {
            let Some(measured) = measure(&kind, *mebibytes).await else {
                return;
            };
            let [quarter, full] = measured.steps;
            let share = full.grown / (mebibytes << 20) as f64;
            println!(
                "{}, {mebibytes} MiB: {} answers kept; a quarter full {quarter:?}, full {full:?}: {share:.3}",
                kind.name, measured.entries
            );
            assert!(measured.is_full, "{}", kind.name);
            // A tenth, and what is on its way while it is measured.
            let most = 0.1 + 1.0 / *mebibytes as f64;
            if (share - 1.0).abs() > most {
                off.push((kind.name, share));
            }
        }
    }
    assert!(off.is_empty(), "{off:?}");
}

struct Measured {
    /// When a quarter is full, by when there is what is needed once, and at the end.
    steps: [Step; 2],
    is_full: bool,
    entries: f64,
}

/// Bytes since the beginning.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// That answers take, as nodedns says.
    said: f64,
    /// That the process takes more.
    grown: f64,
}

async fn measure(kind: &Kind, mebibytes: u64) -> Option<Measured> {
    let place = Place::loopback();
    let text = format!(
        "@ SOA ns host 1 3600 600 86400 3600\n@ NS ns\nns A 192.0.2.1\n* 36000 {}\n",
        kind.record
    );
    let zone = if kind.is_signed {
        Zone::signed(&place, "example.", &text, Denial::Nsec)?
    } else {
        Zone::unsigned(&place, "example.", &text)
    };
    let (zones, anchors) = if kind.is_signed {
        let anchor = place.folder().join("example.ds");
        std::fs::write(&anchor, zone.ds()).unwrap();
        let anchors = format!(
            "trust_anchors: {{files: ['{}'], follow_rollovers: false}}\n",
            anchor.display()
        );
        ("", anchors)
    } else {
        (", validate: false", String::new())
    };
    let address = place.socket_address(2, 5353);
    let _server = Authoritative::start(&place, address, &[zone]).await?;
    let zones = format!("- {{name: ., authoritative: ['{address}']{zones}}}\n");
    let lines = format!(
        "cache: {{size: {mebibytes}MiB, inner_share: 0}}\nlimits: {{exempt: [127.0.0.0/8]}}\n{anchors}"
    );
    let node = limited(&place, &zones, &lines).await;
    let client = UdpSocket::bind((place.address(9), 0)).await.unwrap();
    client.connect(node.address).await.unwrap();
    let mut asked = ask(&client, kind, 0, 500).await;
    let before = resident(&node.peer) as f64;
    let step = async || Step {
        said: node.admin.metric("nodedns_cache_bytes", &[]).await,
        grown: resident(&node.peer) as f64 - before,
    };
    let mut steps = [step().await; 2];
    let most = mebibytes << 13;
    let evicted = async || {
        node.admin
            .metric("nodedns_cache_evictions_total", &[])
            .await
    };
    while evicted().await < 2_000.0 && asked < most {
        asked = ask(&client, kind, asked, 1_000).await;
        if steps[0].said < (mebibytes << 18) as f64 {
            steps[0] = step().await;
        }
    }
    steps[1] = step().await;
    Some(Measured {
        steps,
        is_full: evicted().await >= 2_000.0,
        entries: node.admin.metric("nodedns_cache_entries", &[]).await,
    })
}

/// Asks for so many names from that one on, a few at a time; gives the next.
async fn ask(client: &UdpSocket, kind: &Kind, from: u64, count: u64) -> u64 {
    let mut buffer = vec![0; 4_096];
    let (mut next, mut waiting) = (from, 0);
    while next < from + count || waiting > 0 {
        while waiting < 50 && next < from + count {
            let mut question = Question::new(&format!("n{next}.example."), kind.asked);
            if kind.is_signed {
                question = question.dnssec_ok();
            }
            client.send(&question.wire()).await.unwrap();
            (next, waiting) = (next + 1, waiting + 1);
        }
        match timeout(Duration::from_secs(2), client.recv(&mut buffer)).await {
            Ok(received) => {
                received.unwrap();
                waiting -= 1;
            }
            // Some are lost: it is not answers that count here.
            Err(_) => waiting = 0,
        }
    }
    next
}
