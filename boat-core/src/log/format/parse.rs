//! Reading a batch, which may be anything.

use bytes::Bytes;

use super::batch::{
    BODY_BYTES_MAX, BatchHeader, BatchKind, CHECKSUM_BYTES, ENTRY_HEADER_BYTES, FLAG_HARD_STATE,
    FLAG_MEMBERSHIP, FLAG_START, HEADER_BYTES, get_hard_state,
};
use super::{ALIGNMENT, membership};
use crate::Membership;
use crate::codec::{Malformed, Reader};
use crate::log::{EntryKind, HardState, LogEntry, LogStart};

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
    if flags & !(FLAG_HARD_STATE | FLAG_MEMBERSHIP | FLAG_START) != 0 {
        return Err(NoBatch::Bad("a batch has unknown flags"));
    }
    Ok(BatchHeader { checksum, body_bytes, synced, previous, entries, first_index, kind, flags })
}

/// What a batch says beside its entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct BatchState {
    pub(crate) hard_state: Option<HardState>,
    pub(crate) membership: Option<Membership>,
    pub(crate) start: Option<LogStart>,
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
    pub(crate) fn state(&self, reader: &mut Reader<'_>) -> Result<BatchState, Malformed> {
        let flagged = |flag| self.flags & flag != 0;
        let mut state = BatchState::default();
        if flagged(FLAG_HARD_STATE) {
            state.hard_state = Some(get_hard_state(reader)?);
        }
        if flagged(FLAG_MEMBERSHIP) {
            let count = reader.u32()? as usize;
            state.membership = Some(membership::get(reader.slice(count)?)?);
        }
        if flagged(FLAG_START) {
            state.start = Some(LogStart { index: reader.u64()?, term: reader.u64()? });
        }
        Ok(state)
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
        if self.flags & FLAG_START != 0 {
            reader.slice(16)?;
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

#[cfg(test)]
mod tests {
    use super::super::batch::{Place, put_write, write_bytes};
    use super::*;
    use crate::log::LogWrite;

    const PLACE: Place = Place { segment: 3, offset: 640, synced: 320, previous: 99 };

    fn write() -> LogWrite {
        let entry = |index, kind, data: &'static [u8]| LogEntry { index, term: 5, kind, data: data.into() };
        LogWrite {
            entries: vec![
                entry(7, EntryKind::Normal, b"seven"),
                entry(8, EntryKind::MembershipChange, b""),
                entry(9, EntryKind::Normal, b"nine, longer"),
            ],
            hard_state: Some(HardState { term: 5, vote: 1, commit: 6 }),
            membership: Some(Membership { index: 6, ..Membership::default() }),
            start: Some(LogStart { index: 4, term: 2 }),
        }
    }

    fn encoded() -> Vec<u8> {
        let (write, mut bytes, mut membership) = (write(), Vec::new(), Vec::new());
        membership::put(&mut membership, write.membership.as_ref().unwrap());
        put_write(&mut bytes, PLACE, &write, Some(&membership));
        assert_eq!(bytes.len() as u64, write_bytes(&write, membership.len() + 4));
        bytes
    }

    fn check_here(bytes: &[u8], file_bytes_left: u64) -> Result<BatchHeader, NoBatch> {
        check(bytes, PLACE.segment, PLACE.offset, file_bytes_left)
    }

    #[test]
    fn a_batch_reads_back_as_it_was_written() {
        let block = Bytes::from(encoded());
        let header = check_here(&block, block.len() as u64).unwrap();
        assert_eq!((header.synced, header.previous, header.total_bytes()), (320, 99, block.len() as u64));
        let mut reader = Reader::new(&block[HEADER_BYTES..], "batch body");
        let LogWrite { hard_state, membership, start, .. } = write();
        assert_eq!(header.state(&mut reader).unwrap(), BatchState { hard_state, membership, start });
        let mut terms = Vec::new();
        header.terms(reader, |index, term| terms.push((index, term))).unwrap();
        assert_eq!(terms, [(7, 5), (8, 5), (9, 5)]);
        for (low, high) in [(0, 99), (8, 99), (7, 9), (9, 9)] {
            let mut entries = Vec::new();
            header.entries(&block, 0, (low, high), &mut entries).unwrap();
            let expected = write().entries.into_iter().filter(|entry| (low..high).contains(&entry.index));
            assert_eq!(entries, expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_prefix_is_incomplete_where_the_file_has_more_and_bad_where_it_ends() {
        let bytes = encoded();
        let whole = bytes.len() as u64;
        for cut in 0..bytes.len() {
            let needed = if cut < HEADER_BYTES { HEADER_BYTES as u64 } else { whole };
            assert_eq!(check_here(&bytes[..cut], whole).unwrap_err(), NoBatch::Longer(needed));
            let ended = check_here(&bytes[..cut], cut as u64).unwrap_err();
            assert!(
                matches!(ended, NoBatch::Bad(_)) || (cut < 1 && ended == NoBatch::Empty),
                "{cut} {ended:?}"
            );
        }
    }

    #[test]
    fn no_flipped_bit_and_no_other_place_is_a_batch() {
        let bytes = encoded();
        let left = bytes.len() as u64;
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(check_here(&flipped, left).is_err(), "{bit}");
        }
        assert!(check(&bytes, PLACE.segment + 1, PLACE.offset, left).is_err());
        assert!(check(&bytes, PLACE.segment, PLACE.offset + 8, left).is_err());
        assert_eq!(check_here(&[0; 200], 200).unwrap_err(), NoBatch::Empty);
    }

    #[test]
    fn a_length_is_refused_before_anything_is_reserved() {
        let mut bytes = encoded();
        bytes[4..8].copy_from_slice(&(u32::MAX - 7).to_le_bytes());
        assert_eq!(
            check_here(&bytes, u64::MAX).unwrap_err(),
            NoBatch::Bad("a batch has an impossible length")
        );
        bytes[4..8].copy_from_slice(&(1u32 << 20).to_le_bytes());
        assert_eq!(check_here(&bytes, 1 << 10).unwrap_err(), NoBatch::Bad("the file ends within a batch"));
    }
}
