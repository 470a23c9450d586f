//! The seeds of the fuzz targets (`tests/fuzz`), through the same functions: what once was a fault stays
//! mended.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rivers::{
    config::{Config, address::Address, listen::ListenAddress},
    discover::cache,
    fuzzing,
};

/// The inputs of one target, each with its file.
fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("tests/fuzz/seeds")
        .join(target);
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let inputs: Vec<_> = files
        .map(|file| (file.clone(), fs::read(file).unwrap()))
        .collect();
    assert!(!inputs.is_empty());
    inputs
}

/// The inputs that are texts.
fn texts(target: &str) -> impl Iterator<Item = (PathBuf, String)> {
    let inputs = seeds(target).into_iter();
    inputs.filter_map(|(file, content)| Some((file, String::from_utf8(content).ok()?)))
}

#[test]
fn addresses_print_as_they_are_read() {
    for (file, text) in texts("address") {
        if let Ok(address) = text.parse::<Address>() {
            assert_eq!(address.to_string().parse(), Ok(address), "{file:?}");
        }
        if let Ok(listen) = text.parse::<ListenAddress>() {
            assert_eq!(listen.to_string().parse(), Ok(listen), "{file:?}");
        }
    }
}

#[test]
fn caches_give_only_addresses_that_an_api_server_can_be_at() {
    let mut taken = 0;
    for (file, content) in seeds("cache") {
        for upstream in cache::parse(&content).into_iter().flatten() {
            taken += 1;
            assert!(!upstream.is_loopback() && upstream.port != 0, "{file:?}");
        }
    }
    assert!(taken > 0);
}

#[test]
fn configurations_can_be_run_or_are_refused_in_a_sentence() {
    let mut taken = 0;
    for (file, text) in texts("config") {
        match Config::parse(Path::new("rivers.yml"), &text) {
            Ok(config) => {
                taken += 1;
                assert!(config.listeners.iter().all(|one| !one.upstreams.is_empty()));
            }
            Err(error) => assert!(error.to_string().starts_with("rivers.yml:"), "{file:?}"),
        }
    }
    assert!(taken > 0);
}

#[test]
fn a_lone_client_hello_is_told_from_all_else() {
    for (_, bytes) in seeds("client_hello") {
        fuzzing::client_hello(&bytes);
    }
}

#[test]
fn what_is_said_in_a_hand_over_is_understood_or_refused() {
    for (file, said) in seeds("hand_over") {
        let understood = fuzzing::hand_over(&said);
        let expected = match file.file_name().unwrap().to_str().unwrap() {
            "whole" => 5,
            "too_few_bytes" | "too_long" => 0,
            _ => 1,
        };
        assert_eq!(understood, expected, "{file:?}");
    }
}
