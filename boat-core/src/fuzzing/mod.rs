//! Decoders, and what must hold whatever bytes they are given (promise S13).
//!
//! This module is here for Boat's own proof, and no part of its interface: it changes with the formats. Each decoder has
//! one [`Target`], and everybody who attacks that decoder goes through it, so that they cannot drift apart: the fuzz target
//! of the same name in the crate's `fuzz` folder, which looks for inputs by coverage, and the crate's test `fuzzing`, which
//! draws them in every test run ([`hold`]).
//!
//! A target reads its input as a peer, a client or a disk would give it. Where a checksum stands before what is to be tried,
//! it is set right first, and the input is tried as it came, too. What was read is written and read again: it must be the same.

pub(crate) mod file;
mod formats;
mod hold;

use std::fmt::Debug;

pub use self::hold::{Allocated, hold};

/// One decoder.
pub struct Target {
    /// Its name, which is that of its fuzz target.
    pub name: &'static str,
    /// Reads an input.
    pub run: fn(&[u8]) -> Verdict,
    /// Inputs that are read whole: where a search may begin.
    pub samples: fn() -> Vec<Vec<u8>>,
}

/// What became of an input.
pub type Verdict = Result<Read, Broken>;

/// Whether an input was what it should be. Both are well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// It was read.
    Whole,
    /// It was refused.
    Refused,
}

/// Something was read that did not come back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

/// How much memory a decoder may take at once for an input of so many bytes, that of its answer included: what an input
/// claims about lengths and counts must not count.
pub fn allocated_bytes_max(input_bytes: usize) -> usize {
    ALLOCATED_BYTES + ALLOCATED_PER_BYTE * input_bytes
}

/// What small things take, whatever the input.
const ALLOCATED_BYTES: usize = 64 << 10;
/// How much longer what was read may be than its bytes: twenty times for an entry without data, for reading it, writing it and
/// reading it again.
const ALLOCATED_PER_BYTE: usize = 64;

/// The decoders of this crate.
pub fn targets() -> Vec<Target> {
    let mut targets = formats::targets();
    targets.extend(crate::log::fuzzing::targets());
    targets.extend(crate::snapshot::fuzzing::targets());
    #[cfg(feature = "http")]
    targets.extend(crate::http::fuzzing::targets());
    targets
}

/// Gives one input to a target, for a fuzzer, which takes a panic for a finding.
///
/// # Panics
/// When the input was not read as it should be, or there is no such target.
#[expect(clippy::panic, reason = "a fuzzer looks for panics")]
pub fn attack(targets: &[Target], name: &str, input: &[u8]) {
    let Some(target) = targets.iter().find(|target| target.name == name) else {
        panic!("there is no target {name}");
    };
    if let Err(broken) = (target.run)(input) {
        panic!("{name}: {broken}");
    }
}

/// Judges what a decoder made of an input: what was read is written and read once more.
pub fn round_trip<T: PartialEq + Debug, E: Debug>(
    read: Result<T, E>,
    read_again: impl FnOnce(&T) -> Result<T, E>,
) -> Verdict {
    let Ok(value) = read else { return Ok(Read::Refused) };
    match read_again(&value) {
        Ok(again) if again == value => Ok(Read::Whole),
        other => Err(Broken(format!("{value:?} was read, was written, and was read as {other:?}"))),
    }
}

/// Tries an input as it came, and once more with its checksums set right.
pub(crate) fn both(input: &[u8], sealed: Vec<u8>, run: impl Fn(&[u8]) -> Verdict) -> Verdict {
    match run(input)? {
        Read::Whole => Ok(Read::Whole),
        Read::Refused => run(&sealed),
    }
}
