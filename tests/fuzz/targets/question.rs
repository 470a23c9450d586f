//! Packets of clients: read or refused, and whatever is answered is a message.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|packet: &[u8]| nodedns::fuzzing::question(packet));
