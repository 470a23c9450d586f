//! Which of our crates may depend on which.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::workspace;

/// The whole picture: a crate, and those of ours that it may name.
const ARROWS: [(&str, &[&str]); 6] = [
    ("daemon", &[]),
    ("rivers", &["daemon"]),
    ("nodedns", &["daemon"]),
    ("control", &["daemon", "nodedns", "rivers"]),
    ("bench", &["control", "daemon", "nodedns", "rivers"]),
    ("tests", &[]),
];

#[test]
fn crates_depend_only_as_drawn() {
    let drawn: BTreeMap<&str, &[&str]> = ARROWS.into();
    let found = dependencies();
    let members: BTreeSet<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(
        members,
        drawn.keys().copied().collect(),
        "draw every member of the workspace"
    );

    for (member, dependencies) in &found {
        let ours = dependencies
            .iter()
            .map(String::as_str)
            .filter(|name| members.contains(name));
        for dependency in ours {
            assert!(
                drawn[member.as_str()].contains(&dependency),
                "{member}/Cargo.toml names {dependency}, which it may not"
            );
        }
    }
}

/// Each member of the workspace with what its manifest names, for building or for its tests.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let packages = workspace::packages();
    let named = packages.iter().map(|package| {
        let dependencies = package["dependencies"].as_array().unwrap();
        (name(package), dependencies.iter().map(name).collect())
    });
    named.collect()
}

fn name(entry: &Value) -> String {
    entry["name"].as_str().unwrap().to_owned()
}
