//! See `acp::fuzzing`.
#![no_main]

// What is looked for is compiled before the first input is timed.
libfuzzer_sys::fuzz_target!(
    init: (0..2).for_each(|how| acp::fuzzing::edits(&[how, b'x'])),
    |data: &[u8]| acp::fuzzing::edits(data)
);
