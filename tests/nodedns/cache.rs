//! The cache of the running process, as a person sees it: over its control socket.

use tests::coredns::CoreDns;
use tests::launch::Output;
use tests::place::Place;
use tests::program;

use crate::node::{Node, zone};
use crate::servers::coredns;

const NAMES: &str = "www 3600 A 192.0.2.7\nalias 3600 CNAME www";

#[tokio::test]
async fn what_is_kept_is_shown_and_forgotten_by_name() {
    let place = Place::loopback();
    let Some(server) = server(&place).await else {
        return;
    };
    let zones = zone(".", &[server.address().to_string()]);
    let node = Node::start(&place, &zones).await;
    for name in ["www.example.", "alias.example.", "none.example."] {
        node.addresses(name).await;
    }
    let dump = cache(&place, &["dump", "example"]).await.success();
    let lines: Vec<&str> = dump.lines().collect();
    assert_eq!(lines.len(), 3, "{dump}");
    assert!(
        lines[0].starts_with("alias.example. A  NOERROR, 2 records, for "),
        "{dump}"
    );
    assert!(
        lines[1].starts_with("none.example. A  NXDOMAIN, 0 records, for "),
        "{dump}"
    );
    assert!(
        lines[2].starts_with("www.example. A  NOERROR, 1 records, for "),
        "{dump}"
    );
    let stats = cache(&place, &["stats"]).await.success();
    assert!(stats.starts_with("3 answers in "), "{stats}");

    // The alias leads to it.
    let flushed = cache(&place, &["flush", "www.example"]).await.success();
    assert_eq!(flushed, "forgot 2 answers\n");
    let misses = node.lookups("miss").await;
    node.addresses("www.example.").await;
    node.addresses("none.example.").await;
    assert_eq!(node.lookups("miss").await - misses, 1.0);

    let json = cache(&place, &["dump", "www.example", "-o", "json"])
        .await
        .success();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["answers"][0]["name"], "www.example.", "{json}");
    let wrong = cache(&place, &["flush", "a..b"]).await;
    assert_eq!(wrong.code(), 2, "{wrong}");
    drop(node);
    let gone = cache(&place, &["stats"]).await;
    assert_eq!(gone.code(), 1, "{gone}");
    assert!(gone.stderr.contains("is it running"), "{gone}");
}

async fn cache(place: &Place, arguments: &[&str]) -> Output {
    program::nodedns(place)
        .arg("cache")
        .args(arguments)
        .run()
        .await
}

async fn server(place: &Place) -> Option<CoreDns> {
    coredns(place, 2, "example.", NAMES).await
}
