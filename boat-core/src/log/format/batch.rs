//! A batch: one atomic write. All integers are little-endian.
//!
//! ```text
//!  0  checksum u32      crc32c of everything behind it, padding included
//!  4  body_bytes u32    a multiple of 8
//!  8  segment u64       the segment's id
//! 16  offset u64        where this batch begins in its file
//! 24  synced u64        up to where the file was known synced when this was written
//! 32  previous u32      checksum of the batch (or segment header) before
//! 36  entries u32       how many entries the body ends with
//! 40  first_index u64   the first entry's index; 0 without entries
//! 48  kind u8           1 a write, 2 a segment's footer
//! 49  flags u8          1 hard state, 2 membership, 4 start
//! 50  zero u8 x6
//! 56  body, padded with zeros to a multiple of 8:
//!     where flagged     term u64 | vote u64 | commit u64
//!     where flagged     bytes u32 | membership
//!     where flagged     index u64 | term u64: the log begins behind this entry
//!     per entry         data_bytes u32 | kind u8 | zero u8 x3 | term u64 | data
//! ```

use super::{aligned, pad, patch};
use crate::codec::{Malformed, Reader};
use crate::log::{EntryKind, HardState, LogEntry, LogStart, LogWrite};

/// Bytes before a batch's body.
pub(crate) const HEADER_BYTES: usize = 56;
/// The longest body, in bytes. What a disk says is checked against it before anything is reserved.
pub(crate) const BODY_BYTES_MAX: u32 = 256 << 20;
/// Bytes before an entry's data.
pub(crate) const ENTRY_HEADER_BYTES: usize = 16;

pub(super) const FLAG_HARD_STATE: u8 = 1;
pub(super) const FLAG_MEMBERSHIP: u8 = 2;
pub(super) const FLAG_START: u8 = 4;
pub(super) const CHECKSUM_BYTES: usize = 4;

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) synced: u64,
    pub(crate) previous: u32,
}

/// What a batch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BatchKind {
    Write,
    Footer,
}

/// The fixed part of a batch, its checksum verified.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchHeader {
    pub(crate) checksum: u32,
    pub(crate) body_bytes: u32,
    pub(crate) synced: u64,
    pub(crate) previous: u32,
    pub(crate) entries: u32,
    pub(crate) first_index: u64,
    pub(crate) kind: BatchKind,
    pub(super) flags: u8,
}

/// Bytes that a write takes in its segment.
pub(crate) fn write_bytes(write: &LogWrite, membership_bytes: usize) -> u64 {
    let hard_state = if write.hard_state.is_some() { 24 } else { 0 };
    let start = if write.start.is_some() { 16 } else { 0 };
    let entries =
        write.entries.iter().map(|entry| (ENTRY_HEADER_BYTES + entry.data.len()) as u64).sum::<u64>();
    aligned(HEADER_BYTES as u64 + hard_state + membership_bytes as u64 + start + entries)
}

/// Appends a write as one batch and gives its checksum. `membership` is `write.membership` in bytes.
pub(crate) fn put_write(out: &mut Vec<u8>, place: Place, write: &LogWrite, membership: Option<&[u8]>) -> u32 {
    let start = out.len();
    let first_index = write.entries.first().map_or(0, |entry| entry.index);
    let hard_state = if write.hard_state.is_some() { FLAG_HARD_STATE } else { 0 };
    let flags = hard_state | if membership.is_some() { FLAG_MEMBERSHIP } else { 0 };
    let flags = flags | if write.start.is_some() { FLAG_START } else { 0 };
    put_header(out, place, write.entries.len() as u32, first_index, BatchKind::Write, flags);
    if let Some(state) = write.hard_state {
        put_hard_state(out, state);
    }
    if let Some(bytes) = membership {
        out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(bytes);
    }
    if let Some(LogStart { index, term }) = write.start {
        out.extend([index, term].into_iter().flat_map(u64::to_le_bytes));
    }
    for entry in &write.entries {
        put_entry(out, entry);
    }
    seal(out, start)
}

/// Appends a footer batch with `body` and gives its checksum.
pub(crate) fn put_footer(out: &mut Vec<u8>, place: Place, body: &[u8]) -> u32 {
    let start = out.len();
    put_header(out, place, 0, 0, BatchKind::Footer, 0);
    out.extend_from_slice(body);
    seal(out, start)
}

fn put_header(out: &mut Vec<u8>, place: Place, entries: u32, first_index: u64, kind: BatchKind, flags: u8) {
    out.extend_from_slice(&[0; 8]); // Checksum and length: filled in by `seal`.
    out.extend_from_slice(&place.segment.to_le_bytes());
    out.extend_from_slice(&place.offset.to_le_bytes());
    out.extend_from_slice(&place.synced.to_le_bytes());
    out.extend_from_slice(&place.previous.to_le_bytes());
    out.extend_from_slice(&entries.to_le_bytes());
    out.extend_from_slice(&first_index.to_le_bytes());
    let kind = match kind {
        BatchKind::Write => 1,
        BatchKind::Footer => 2,
    };
    out.extend_from_slice(&[kind, flags, 0, 0, 0, 0, 0, 0]);
}

pub(crate) fn put_hard_state(out: &mut Vec<u8>, state: HardState) {
    for part in [state.term, state.vote, state.commit] {
        out.extend_from_slice(&part.to_le_bytes());
    }
}

pub(crate) fn get_hard_state(reader: &mut Reader<'_>) -> Result<HardState, Malformed> {
    Ok(HardState { term: reader.u64()?, vote: reader.u64()?, commit: reader.u64()? })
}

fn put_entry(out: &mut Vec<u8>, entry: &LogEntry) {
    let kind = match entry.kind {
        EntryKind::Normal => 0,
        EntryKind::MembershipChange => 1,
    };
    let mut head = [0; ENTRY_HEADER_BYTES];
    patch(&mut head, 0, &(entry.data.len() as u32).to_le_bytes());
    patch(&mut head, 4, &[kind]);
    patch(&mut head, 8, &entry.term.to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(&entry.data);
}

/// Pads the batch that began at `start`, fills in its length and its checksum.
fn seal(out: &mut Vec<u8>, start: usize) -> u32 {
    pad(out, start);
    let body_bytes = (out.len() - start - HEADER_BYTES) as u32;
    patch(out, start + CHECKSUM_BYTES, &body_bytes.to_le_bytes());
    let checksum = crc32c::crc32c(out.get(start + CHECKSUM_BYTES..).unwrap_or_default());
    patch(out, start, &checksum.to_le_bytes());
    checksum
}
