//! What rivers/README.md says of fields and metrics is what the program has.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tests::place::Place;
use tests::program;

use crate::scene::{Rivers, echo, exchange};

fn readme() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rivers/README.md");
    fs::read_to_string(file).unwrap()
}

/// The first cells of the table below a heading of this name, without their quotes.
fn rows<'a>(text: &'a str, heading: &str) -> BTreeSet<&'a str> {
    let section = text.split_once(&format!("\n## {heading}\n")).unwrap().1;
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with("|---"));
    rows.skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('|').nth(1).unwrap().trim().trim_matches('`'))
        .collect()
}

/// rivers itself names the fields that it knows where it meets one that it does not.
#[tokio::test]
async fn the_reference_has_every_field_and_no_other() {
    let place = Place::loopback();
    let file = place.folder().join("rivers.yml");
    let mut known = BTreeSet::new();
    for (within, content) in [
        ("", "unknown: 1"),
        ("listeners[].", "listeners: [{unknown: 1}]"),
        ("listeners[].health.", "listeners: [{health: {unknown: 1}}]"),
        (
            "listeners[].discovery.",
            "listeners: [{discovery: {unknown: 1}}]",
        ),
        ("log.", "log: {unknown: 1}"),
    ] {
        fs::write(&file, content).unwrap();
        let said = program::rivers(&place)
            .args(["check", "--config"])
            .arg(&file)
            .run()
            .await;
        assert_eq!(said.code(), 2, "{said}");
        let expected = said.stderr.split_once("expected ").unwrap().1;
        let names = expected.split('`').skip(1).step_by(2);
        known.extend(names.map(|name| format!("{within}{name}")));
    }
    // What stands in rows of its own.
    for parts in [
        "listeners",
        "listeners[].health",
        "listeners[].discovery",
        "log",
    ] {
        assert!(known.remove(parts), "{parts} of {known:?}");
    }
    let text = readme();
    let described: BTreeSet<String> = rows(&text, "Configuration")
        .into_iter()
        .map(str::to_owned)
        .collect();
    assert_eq!(described, known);
}

#[tokio::test]
async fn the_table_of_metrics_has_all_that_are_served() {
    let place = Place::loopback();
    let server = place.socket_address(2, 6443);
    echo(server).await;
    let rivers = Rivers::start(&place, &[server], &[]).await;
    exchange(&mut rivers.client().await).await.unwrap();
    rivers.ready().await;
    let (_, metrics) = rivers.admin.get("/metrics").await.unwrap();
    let served: BTreeSet<&str> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    assert!(served.len() > 10, "{metrics}");
    let text = readme();
    let described = rows(&text, "Metrics");
    let missing: Vec<_> = served.difference(&described).collect();
    assert!(missing.is_empty(), "{missing:?} in {described:?}");
}
