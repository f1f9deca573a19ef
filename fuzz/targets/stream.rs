//! See `acp::fuzzing`.
#![no_main]

// What is looked for is compiled before the first input is timed.
libfuzzer_sys::fuzz_target!(
    init: (0..8).for_each(|how| acp::fuzzing::stream(&[how, 0, b'x'])),
    |data: &[u8]| acp::fuzzing::stream(data)
);
