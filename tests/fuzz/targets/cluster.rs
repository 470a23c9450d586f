//! cluster.yml: whatever is in it, an answer in one sentence, or a cluster with a control plane.

#![no_main]

use std::path::Path;

use control::cluster::Cluster;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match Cluster::parse(Path::new("cluster.yml"), bytes) {
        Ok(cluster) => assert!(cluster.control_plane().next().is_some()),
        Err(error) => assert!(error.to_string().starts_with("cluster.yml:")),
    }
});
