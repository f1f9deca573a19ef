//! See `acp::fuzzing`.
#![no_main]

// What is looked for is compiled before the first input is timed.
libfuzzer_sys::fuzz_target!(
    init: acp::fuzzing::tokens(b"\0\"a@b.example\""),
    |data: &[u8]| acp::fuzzing::tokens(data)
);
