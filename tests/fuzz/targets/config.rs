//! The configuration file: whatever is in it, an answer in one sentence, or a configuration that can be run.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use rivers::config::Config;

fuzz_target!(|text: &str| {
    match Config::parse(Path::new("rivers.yml"), text) {
        Ok(config) => assert!(config.listeners.iter().all(|one| !one.upstreams.is_empty())),
        Err(error) => assert!(error.to_string().starts_with("rivers.yml:")),
    }
});
