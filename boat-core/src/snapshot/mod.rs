//! Snapshots: the state after one entry, so that the log up to there need not be kept (design D4).
//!
//! A snapshot is one file: what it is of, the applier's state, and the predictor's. It is written under a temporary name,
//! synced and renamed, so a file that has its name is whole, or was damaged later: every section is covered by a checksum
//! that covers the one before. The files are drawn in `docs/log-format.md`.

mod about;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod incoming;
mod proof;
mod read;
mod store;
mod transfer;
mod write;

pub(crate) use about::About;
pub use about::SnapshotName;
pub(crate) use incoming::Incoming;
pub(crate) use proof::raise_commit;
pub(crate) use read::SnapshotReader;
pub(crate) use store::{Kept, SnapshotStore, list, path};
pub(crate) use transfer::{Done, Job, Transfer};
pub(crate) use write::Frozen;

/// The version of the format.
const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"BOATSNAP";
/// Magic, version and checksum.
const HEAD_BYTES: u64 = 16;
/// Checksum, tag and length of a section.
const SECTION_HEAD_BYTES: usize = 12;
/// The longest section's payload. What a file says is checked against it before anything is reserved.
const SECTION_BYTES_MAX: u32 = 256 << 20;

const END: u32 = 0;
const ABOUT: u32 = 1;
const PREDICTOR: u32 = 32;

/// The checksum of a section: of the checksum before it, its tag, its length and its payload.
fn section_checksum(previous: u32, tag: u32, payload: &[u8]) -> u32 {
    let head = [previous, tag, payload.len() as u32].map(u32::to_le_bytes).concat();
    crc32c::crc32c_append(crc32c::crc32c(&head), payload)
}

#[cfg(test)]
mod tests;
