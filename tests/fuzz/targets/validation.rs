//! The validator on recorded answers, mutated: it ends, within the budget of one question.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|recorded: &[u8]| {
    let _ = nodedns::fuzzing::validation(recorded);
});
