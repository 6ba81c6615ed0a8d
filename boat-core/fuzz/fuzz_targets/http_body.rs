//! See `boat_core::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    boat_core::fuzzing::attack(&boat_core::fuzzing::targets(), "http_body", input);
});
