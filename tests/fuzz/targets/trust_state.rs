//! What nodedns keeps on disk of trust, and what comes over its control socket.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| nodedns::fuzzing::state(content));
