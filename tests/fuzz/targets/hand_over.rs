//! What another process says in a hand-over: it is refused, or is what we would say of the same connections.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    rivers::fuzzing::hand_over(input);
});
