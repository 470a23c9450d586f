//! The first bytes of a client: what may be sent twice is a lone ClientHello and nothing else.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| rivers::fuzzing::client_hello(bytes));
