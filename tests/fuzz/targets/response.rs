//! Messages of servers, record by record: what is made of them is a message again.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|packet: &[u8]| nodedns::fuzzing::response(packet));
