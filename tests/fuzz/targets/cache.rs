//! The cache of discovered upstreams: whatever is in the file, no address is taken that no API server can
//! be at.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rivers::discover::cache;

fuzz_target!(|content: &[u8]| {
    for upstream in cache::parse(content).into_iter().flatten() {
        assert!(!upstream.is_loopback() && upstream.port != 0);
    }
});
