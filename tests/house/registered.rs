//! Every folder of tests here is built and run.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::workspace;

#[test]
fn each_folder_with_a_main_is_a_test_binary() {
    let folders = fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap();
    let written: BTreeSet<_> = folders
        .map(|entry| entry.unwrap().path().join("main.rs"))
        .filter(|main| main.exists())
        .collect();
    let registered: BTreeSet<_> = workspace::packages()
        .iter()
        .filter(|package| package["name"] == "tests")
        .flat_map(|package| package["targets"].as_array().unwrap())
        .filter(|target| target["kind"][0] == "test")
        .map(|target| Path::new(target["src_path"].as_str().unwrap()).to_owned())
        .collect();
    assert_eq!(
        written, registered,
        "left: what is there; right: what Cargo.toml names"
    );
}
