//! unbound.conf, of which nodedns makes a file of its own.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| nodedns::fuzzing::unbound(content));
