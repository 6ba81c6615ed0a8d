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
//! 49  flags u8          1 hard state, 2 membership
//! 50  zero u8 x6
//! 56  body, padded with zeros to a multiple of 8:
//!     where flagged     term u64 | vote u64 | commit u64
//!     where flagged     bytes u32 | membership
//!     per entry         data_bytes u32 | kind u8 | zero u8 x3 | term u64 | data
//! ```

use bytes::Bytes;

use super::{ALIGNMENT, aligned, membership, pad, patch};
use crate::Membership;
use crate::codec::{Malformed, Reader};
use crate::log::{EntryKind, HardState, LogEntry, LogWrite};

/// Bytes before a batch's body.
pub(crate) const HEADER_BYTES: usize = 56;
/// The longest body, in bytes. What a disk says is checked against it before anything is reserved.
pub(crate) const BODY_BYTES_MAX: u32 = 256 << 20;
/// Bytes before an entry's data.
pub(crate) const ENTRY_HEADER_BYTES: usize = 16;

const FLAG_HARD_STATE: u8 = 1;
const FLAG_MEMBERSHIP: u8 = 2;
const CHECKSUM_BYTES: usize = 4;

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
    flags: u8,
}

/// Why there is no batch where one could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoBatch {
    /// The header is all zeros: nothing was written here.
    Empty,
    /// The batch is this many bytes long, more than were given, but not more than the file has.
    Longer(u64),
    /// What is there is not a batch of this place.
    Bad(&'static str),
}

impl From<Malformed> for NoBatch {
    fn from(Malformed(what): Malformed) -> Self {
        NoBatch::Bad(what)
    }
}

/// Bytes that a write takes in its segment.
pub(crate) fn write_bytes(write: &LogWrite, membership_bytes: usize) -> u64 {
    let hard_state = if write.hard_state.is_some() { 24 } else { 0 };
    let entries =
        write.entries.iter().map(|entry| (ENTRY_HEADER_BYTES + entry.data.len()) as u64).sum::<u64>();
    aligned(HEADER_BYTES as u64 + hard_state + membership_bytes as u64 + entries)
}

/// Appends a write as one batch and gives its checksum. `membership` is `write.membership` in bytes.
pub(crate) fn put_write(out: &mut Vec<u8>, place: Place, write: &LogWrite, membership: Option<&[u8]>) -> u32 {
    let start = out.len();
    let first_index = write.entries.first().map_or(0, |entry| entry.index);
    let hard_state = if write.hard_state.is_some() { FLAG_HARD_STATE } else { 0 };
    let flags = hard_state | if membership.is_some() { FLAG_MEMBERSHIP } else { 0 };
    put_header(out, place, write.entries.len() as u32, first_index, BatchKind::Write, flags);
    if let Some(state) = write.hard_state {
        put_hard_state(out, state);
    }
    if let Some(bytes) = membership {
        out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(bytes);
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

/// The batch that `bytes` begin with, checked against its place and its checksum.
///
/// `file_bytes_left` is how much the file holds from `offset` on: no batch is longer.
///
/// # Errors
/// [`NoBatch`] says why there is none.
pub(crate) fn check(
    bytes: &[u8],
    segment: u64,
    offset: u64,
    file_bytes_left: u64,
) -> Result<BatchHeader, NoBatch> {
    let Some((head, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return match file_bytes_left {
            left if left >= HEADER_BYTES as u64 => Err(NoBatch::Longer(HEADER_BYTES as u64)),
            _ if bytes.iter().all(|byte| *byte == 0) => Err(NoBatch::Empty),
            _ => Err(NoBatch::Bad("the file ends within a batch header")),
        };
    };
    let header = parse(head, segment, offset)?;
    let total = header.total_bytes();
    if header.body_bytes > BODY_BYTES_MAX || !u64::from(header.body_bytes).is_multiple_of(ALIGNMENT) {
        return Err(NoBatch::Bad("a batch has an impossible length"));
    }
    if total > file_bytes_left {
        return Err(NoBatch::Bad("the file ends within a batch"));
    }
    let whole = usize::try_from(total).ok().and_then(|total| bytes.get(CHECKSUM_BYTES..total));
    let Some(covered) = whole else { return Err(NoBatch::Longer(total)) };
    if crc32c::crc32c(covered) != header.checksum {
        return Err(NoBatch::Bad("a batch's checksum does not match"));
    }
    Ok(header)
}

fn parse(head: &[u8; HEADER_BYTES], segment: u64, offset: u64) -> Result<BatchHeader, NoBatch> {
    let mut reader = Reader::new(head, "batch header");
    let (checksum, body_bytes) = (reader.u32()?, reader.u32()?);
    let place = (reader.u64()?, reader.u64()?);
    if place != (segment, offset) {
        let empty = head.iter().all(|byte| *byte == 0);
        return Err(if empty {
            NoBatch::Empty
        } else {
            NoBatch::Bad("a batch names another place as its own")
        });
    }
    let (synced, previous, entries, first_index) =
        (reader.u64()?, reader.u32()?, reader.u32()?, reader.u64()?);
    let kind = match reader.u8()? {
        1 => BatchKind::Write,
        2 => BatchKind::Footer,
        _ => return Err(NoBatch::Bad("a batch is of an unknown kind")),
    };
    let flags = reader.u8()?;
    if flags & !(FLAG_HARD_STATE | FLAG_MEMBERSHIP) != 0 {
        return Err(NoBatch::Bad("a batch has unknown flags"));
    }
    Ok(BatchHeader { checksum, body_bytes, synced, previous, entries, first_index, kind, flags })
}

impl BatchHeader {
    /// Header and body, in bytes.
    pub(crate) fn total_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.body_bytes)
    }

    /// The index behind the last entry.
    pub(crate) fn end_index(&self) -> u64 {
        self.first_index.saturating_add(u64::from(self.entries))
    }

    /// Reads what stands before the entries; the reader is left at the first of them.
    ///
    /// # Errors
    /// [`Malformed`] when the body is not what the header announces.
    pub(crate) fn state(
        &self,
        reader: &mut Reader<'_>,
    ) -> Result<(Option<HardState>, Option<Membership>), Malformed> {
        let flagged = |flag| self.flags & flag != 0;
        let hard_state = if flagged(FLAG_HARD_STATE) { Some(get_hard_state(reader)?) } else { None };
        if !flagged(FLAG_MEMBERSHIP) {
            return Ok((hard_state, None));
        }
        let count = reader.u32()? as usize;
        Ok((hard_state, Some(membership::get(reader.slice(count)?)?)))
    }

    /// Like [`BatchHeader::state`], without making anything of it.
    ///
    /// # Errors
    /// [`Malformed`] when the body is not what the header announces.
    pub(crate) fn skip_state(&self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        if self.flags & FLAG_HARD_STATE != 0 {
            get_hard_state(reader)?;
        }
        if self.flags & FLAG_MEMBERSHIP != 0 {
            let count = reader.u32()? as usize;
            reader.slice(count)?;
        }
        Ok(())
    }

    /// Appends to `entries` those with an index in `[low, high)`. Their data are slices of `block`, in which the batch
    /// begins at `at`.
    ///
    /// # Errors
    /// [`Malformed`] when the body is not what the header announces.
    pub(crate) fn entries(
        &self,
        block: &Bytes,
        at: usize,
        (low, high): (u64, u64),
        entries: &mut Vec<LogEntry>,
    ) -> Result<(), Malformed> {
        let malformed = Malformed("batch body");
        let end = at + HEADER_BYTES + self.body_bytes as usize;
        let body = block.get(at + HEADER_BYTES..end).ok_or(malformed)?;
        let mut reader = Reader::new(body, "batch body");
        self.skip_state(&mut reader)?;
        entries.reserve((self.entries as usize).min(body.len() / ENTRY_HEADER_BYTES));
        for index in self.first_index..self.end_index().min(high) {
            let (data_bytes, kind, term) = entry_head(&mut reader)?;
            let data = reader.slice(data_bytes)?;
            if index < low {
                continue;
            }
            let data_end = at + HEADER_BYTES + reader.offset_in(body);
            let data =
                if data.is_empty() { Bytes::new() } else { block.slice(data_end - data_bytes..data_end) };
            entries.push(LogEntry { index, term, kind, data });
        }
        Ok(())
    }

    /// The terms of the entries, in order: `each(index, term)`.
    ///
    /// # Errors
    /// [`Malformed`] when the entries are not exactly what is left in `reader`, padding aside.
    pub(crate) fn terms(
        &self,
        mut reader: Reader<'_>,
        mut each: impl FnMut(u64, u64),
    ) -> Result<(), Malformed> {
        for index in self.first_index..self.end_index() {
            let (data_bytes, _, term) = entry_head(&mut reader)?;
            reader.slice(data_bytes)?;
            each(index, term);
        }
        if reader.rest_bytes() < ALIGNMENT as usize { Ok(()) } else { Err(reader.malformed()) }
    }
}

fn entry_head(reader: &mut Reader<'_>) -> Result<(usize, EntryKind, u64), Malformed> {
    let mut head = Reader::new(reader.slice(ENTRY_HEADER_BYTES)?, "entry header");
    let data_bytes = head.u32()? as usize;
    let kind = match head.u32()? {
        0 => EntryKind::Normal,
        1 => EntryKind::MembershipChange,
        _ => return Err(head.malformed()),
    };
    Ok((data_bytes, kind, head.u64()?))
}
