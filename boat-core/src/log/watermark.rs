//! What the log had synced, kept apart from it: a log that lost what it acknowledged is recognized.
//!
//! The file `watermark` has two slots of 4 KiB. Writes that are not synced always go to the same slot; once it was
//! synced, the next ones go to the other. So one slot at least is whole at any time.
//!
//! ```text
//! slot   0  magic "BOATMARK"
//!        8  version u32 = 1
//!       12  checksum u32        crc32c of the rest of the slot
//!       16  sequence u64        the higher one counts
//!       24  term u64 | vote u64 | last_index u64 | last_term u64 | segment u64 | synced_bytes u64
//!       72  zeros
//! ```

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::LogError;
use super::files::{File, Files, write_file_atomically};
use super::format::{VERSION, patch};
use crate::codec::{Malformed, Reader};

/// The name of the file in the log's directory.
pub(super) const FILE_NAME: &str = "watermark";
const MAGIC: [u8; 8] = *b"BOATMARK";
pub(super) const SLOT_BYTES: usize = 4096;
/// What stands before the zeros.
const HEAD_BYTES: usize = 72;
const CHECKED_FROM: usize = 16;

/// How far a log has come: its hard state's term and vote, its last entry, and where its bytes end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watermark {
    /// The hard state's term.
    pub term: u64,
    /// The hard state's vote.
    pub vote: u64,
    /// The last entry's index.
    pub last_index: u64,
    /// The last entry's term.
    pub last_term: u64,
    /// The id of the last segment; 0 when there is none yet.
    pub segment: u64,
    /// Up to where the last segment reaches, in bytes.
    pub segment_bytes: u64,
}

impl Watermark {
    /// Whether a log that is `self` lacks something that a log that was `synced` had.
    ///
    /// The last index counts without its term: an overwritten suffix may have had a higher one.
    pub(super) fn is_behind(&self, synced: &Watermark) -> bool {
        let other_vote = self.term == synced.term && synced.vote != 0 && self.vote != synced.vote;
        self.term < synced.term
            || other_vote
            || self.last_index < synced.last_index
            || (self.segment, self.segment_bytes) < (synced.segment, synced.segment_bytes)
    }

    /// A whole slot.
    pub(super) fn encode(&self, sequence: u64) -> Vec<u8> {
        let mut out = self.encode_head(sequence).to_vec();
        out.resize(SLOT_BYTES, 0);
        out
    }

    /// A slot without its zeros.
    fn encode_head(&self, sequence: u64) -> [u8; HEAD_BYTES] {
        let Watermark { term, vote, last_index, last_term, segment, segment_bytes } = *self;
        let numbers = [sequence, term, vote, last_index, last_term, segment, segment_bytes];
        let mut head = [0; HEAD_BYTES];
        patch(&mut head, 0, &MAGIC);
        patch(&mut head, 8, &VERSION.to_le_bytes());
        for (number, place) in numbers.into_iter().zip((CHECKED_FROM..).step_by(8)) {
            patch(&mut head, place, &number.to_le_bytes());
        }
        let checksum = behind_zeros(crc32c::crc32c(head.get(CHECKED_FROM..).unwrap_or_default()));
        patch(&mut head, 12, &checksum.to_le_bytes());
        head
    }

    /// The slot's sequence and watermark; `None` if it is damaged or was never written.
    fn decode(slot: &[u8]) -> Result<Option<(u64, Watermark)>, Malformed> {
        let mut reader = Reader::new(slot, "watermark");
        let (magic, version, checksum) = (reader.array()?, reader.u32()?, reader.u32()?);
        let whole =
            slot.len() == SLOT_BYTES && slot.get(CHECKED_FROM..).map(crc32c::crc32c) == Some(checksum);
        if magic != MAGIC || version != VERSION || !whole {
            return Ok(None);
        }
        let sequence = reader.u64()?;
        let (term, vote, last_index, last_term) =
            (reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?);
        let (segment, segment_bytes) = (reader.u64()?, reader.u64()?);
        Ok(Some((sequence, Watermark { term, vote, last_index, last_term, segment, segment_bytes })))
    }
}

/// The checksum of what had this one, and a slot's zeros behind it. A checksum's state is linear over its bits, so what the zeros make
/// of each says what they make of all: each sync asks, and four thousand zeros take longer than everything else about a note.
fn behind_zeros(checksum: u32) -> u32 {
    static ZEROS: LazyLock<[u32; 32]> = LazyLock::new(|| {
        let zeros = [0; SLOT_BYTES - HEAD_BYTES];
        std::array::from_fn(|bit| !crc32c::crc32c_append(!(1 << bit), &zeros))
    });
    let set = ZEROS.iter().enumerate().filter(|(bit, _)| !checksum >> bit & 1 == 1);
    !set.fold(0, |state, (_, made_of_it)| state ^ made_of_it)
}

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Watermark { term, vote, last_index, last_term, segment, segment_bytes } = self;
        write!(f, "term {term} with vote {vote}, entry {last_index} of term {last_term}, ")?;
        write!(f, "segment {segment:016x} up to byte {segment_bytes}")
    }
}

/// What the watermark of a log says, without changing anything; `None` if there is none.
pub(super) fn read(files: &dyn Files, directory: &Path) -> Result<Option<Watermark>, LogError> {
    let path = directory.join(FILE_NAME);
    match files.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LogError::io("open", &path)(error)),
        Ok(file) => newest_slot(&*file, &path).map(|(_, watermark, _)| Some(watermark)),
    }
}

/// Of the slots that are whole, the one with the higher sequence: that, its watermark, and which slot it is.
fn newest_slot(file: &dyn File, path: &Path) -> Result<(u64, Watermark, usize), LogError> {
    let mut bytes = vec![0; 2 * SLOT_BYTES];
    let count = file.read_at(&mut bytes, 0).map_err(LogError::io("read", path))?;
    bytes.truncate(count);
    let slots = bytes.chunks(SLOT_BYTES).enumerate();
    let whole = slots.filter_map(|(slot, bytes)| Some((Watermark::decode(bytes).ok()??, slot)));
    let newest = whole.max_by_key(|((sequence, _), _)| *sequence);
    let ((sequence, watermark), slot) =
        newest.ok_or_else(|| LogError::corrupt(path, 0, "neither slot of the watermark is whole"))?;
    Ok((sequence, watermark, slot))
}

/// The file that keeps the watermark.
#[derive(Debug)]
pub(super) struct WatermarkFile {
    file: Box<dyn File>,
    path: PathBuf,
    /// The slot that takes the writes; the other one is durable.
    slot: usize,
    /// What is written: a head, and zeros that stay.
    bytes: Vec<u8>,
    sequence: u64,
    written: Watermark,
    durable: Watermark,
    synced_at_ms: Option<u64>,
}

impl WatermarkFile {
    /// Makes the file of a new log.
    pub(super) fn create(files: &dyn Files, directory: &Path) -> Result<WatermarkFile, LogError> {
        let path = directory.join(FILE_NAME);
        let mut bytes = Watermark::default().encode(1);
        bytes.resize(2 * SLOT_BYTES, 0);
        write_file_atomically(files, &path, &bytes).map_err(LogError::growing(&path, bytes.len() as u64))?;
        let file = files.open(&path).map_err(LogError::io("open", &path))?;
        let zero = Watermark::default();
        Ok(WatermarkFile {
            file,
            path,
            slot: 1,
            bytes: vec![0; SLOT_BYTES],
            sequence: 1,
            written: zero,
            durable: zero,
            synced_at_ms: None,
        })
    }

    /// Opens the file; `None` if there is none. One slot may be damaged: a crash can tear the one that takes the writes.
    pub(super) fn open(files: &dyn Files, directory: &Path) -> Result<Option<WatermarkFile>, LogError> {
        let path = directory.join(FILE_NAME);
        let file = match files.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(LogError::io("open", &path))?,
        };
        let (sequence, written, slot) = newest_slot(&*file, &path)?;
        let (bytes, durable, synced_at_ms) = (vec![0; SLOT_BYTES], written, None);
        let mut opened = WatermarkFile { file, path, slot, bytes, sequence, written, durable, synced_at_ms };
        // What was read may so far stand in the page cache only.
        opened.write_slot()?;
        opened.sync()?;
        Ok(Some(opened))
    }

    /// What the file says.
    pub(super) fn get(&self) -> Watermark {
        self.written
    }

    /// Whether [`WatermarkFile::lower`] must come before entries behind `last_index` are overwritten.
    pub(super) fn is_above(&self, last_index: u64) -> bool {
        self.written.last_index.max(self.durable.last_index) > last_index
    }

    /// Makes durable, before a write that overwrites entries, that the log may end at `last_index`.
    pub(super) fn lower(&mut self, last_index: u64, last_term: u64) -> Result<(), LogError> {
        self.written = Watermark { last_index, last_term, ..self.written };
        self.sequence += 1;
        self.write_slot()?;
        self.sync()
    }

    /// Notes what the log has synced; syncs the note itself where term or vote changed, or when it is time.
    pub(super) fn raise(&mut self, now: Watermark, now_ms: u64, interval_ms: u64) -> Result<(), LogError> {
        if now != self.written {
            self.written = now;
            self.sequence += 1;
            self.write_slot()?;
        }
        let voted = (now.term, now.vote) != (self.durable.term, self.durable.vote);
        if voted || self.is_due(now_ms, interval_ms) {
            self.sync()?;
            self.synced_at_ms = Some(now_ms);
        }
        Ok(())
    }

    /// Whether the file says something that has not been synced for `interval_ms`.
    pub(super) fn is_due(&self, now_ms: u64, interval_ms: u64) -> bool {
        let waited = self.synced_at_ms.is_none_or(|synced| now_ms.saturating_sub(synced) >= interval_ms);
        waited && self.written != self.durable
    }

    /// Syncs the file; from now on the other slot takes the writes.
    fn sync(&mut self) -> Result<(), LogError> {
        self.file.sync_data().map_err(LogError::io("sync", &self.path))?;
        self.durable = self.written;
        self.slot = 1 - self.slot;
        Ok(())
    }

    fn write_slot(&mut self) -> Result<(), LogError> {
        let offset = (self.slot * SLOT_BYTES) as u64;
        // Whole, though only the head changes: where a kill may end a write anywhere, as the simulator's does, a write of the head alone
        // would nearly always lose what stood there (its seed 702336).
        patch(&mut self.bytes, 0, &self.written.encode_head(self.sequence));
        self.file.write_at(&self.bytes, offset).map_err(LogError::io("write", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_the_checksum_of_the_whole_slot() {
        let mut watermark = Watermark::default();
        for number in (0..64).map(|bit| 1 << bit) {
            watermark =
                Watermark { term: number, segment_bytes: !number, last_index: number + 7, ..watermark };
            let slot = watermark.encode(number);
            assert_eq!(slot.len(), SLOT_BYTES);
            let checksum = crc32c::crc32c(&slot[CHECKED_FROM..]);
            assert_eq!(slot[12..16], checksum.to_le_bytes());
            assert_eq!(Watermark::decode(&slot), Ok(Some((number, watermark))));
        }
    }
}
