//! See `boat_clipper::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    boat_core::fuzzing::attack(&boat_clipper::fuzzing::targets(), "query_answer", input);
});
