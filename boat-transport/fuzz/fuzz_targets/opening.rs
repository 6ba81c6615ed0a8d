//! See `boat_transport::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    boat_core::fuzzing::attack(&boat_transport::fuzzing::targets(), "opening", input);
});
