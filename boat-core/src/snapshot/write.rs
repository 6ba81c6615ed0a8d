//! Writing a snapshot.

use std::io::{self, Write};

use super::{
    ABOUT, About, END, HEAD_BYTES, MAGIC, PREDICTOR, SECTION_BYTES_MAX, SECTION_HEAD_BYTES, VERSION,
    section_checksum,
};
use crate::FrozenState;
use crate::apply::Applier;
use crate::log::files::File;

/// Sections gather up to this many bytes before they are written.
const BUFFER_BYTES: usize = 256 << 10;
/// The predictor's state is cut into sections of this many bytes.
const PREDICTOR_SECTION_BYTES: usize = 256 << 10;
/// A sync follows so many bytes, so that the log's next sync does not wait for all of a snapshot.
const SYNC_BYTES: u64 = 8 << 20;

/// Everything that goes into a snapshot, as it was after one entry.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) about: About,
    pub(crate) applier: Applier,
    pub(crate) predictor: FrozenState,
}

impl Frozen {
    /// Writes all of it into an empty file, durably: its length and its checksum.
    ///
    /// # Errors
    /// What the file system says; the file is to be removed then. [`io::ErrorKind::InvalidData`] (or another kind, from the
    /// predictor) for a state that cannot be written.
    pub(crate) fn write_to(self, file: &dyn File) -> io::Result<(u64, u32)> {
        let Frozen { about, applier, predictor } = self;
        let mut writer = SnapshotWriter::new(file);
        writer.section(ABOUT, &about.encode())?;
        applier.write_state(&mut |tag, payload| writer.section(tag, payload))?;
        let mut state = StateWriter { writer: &mut writer, waiting: Vec::new() };
        predictor.write_to(&mut state)?;
        state.flush()?;
        writer.finish()
    }
}

/// Writes the sections of a snapshot, one after the other.
pub(crate) struct SnapshotWriter<'a> {
    file: &'a dyn File,
    buffer: Vec<u8>,
    /// Where the buffer begins in the file.
    offset: u64,
    synced: u64,
    /// Of the section before.
    checksum: u32,
}

impl<'a> SnapshotWriter<'a> {
    pub(crate) fn new(file: &'a dyn File) -> Self {
        let mut buffer = MAGIC.to_vec();
        buffer.extend_from_slice(&VERSION.to_le_bytes());
        let checksum = crc32c::crc32c(&buffer);
        buffer.extend_from_slice(&checksum.to_le_bytes());
        SnapshotWriter { file, buffer, offset: 0, synced: 0, checksum }
    }

    pub(crate) fn section(&mut self, tag: u32, payload: &[u8]) -> io::Result<()> {
        if payload.len() > SECTION_BYTES_MAX as usize {
            let why = format!("a section of {} bytes is too long for a snapshot", payload.len());
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        self.checksum = section_checksum(self.checksum, tag, payload);
        let head = [self.checksum, tag, payload.len() as u32];
        self.buffer.extend(head.into_iter().flat_map(u32::to_le_bytes));
        self.buffer.extend_from_slice(payload);
        if self.buffer.len() >= BUFFER_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.offset)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(2 * BUFFER_BYTES);
        if self.offset - self.synced >= SYNC_BYTES {
            self.file.sync_data()?;
            self.synced = self.offset;
        }
        Ok(())
    }

    /// Ends the file and syncs it: its length and its checksum.
    fn finish(mut self) -> io::Result<(u64, u32)> {
        let bytes = self.offset + (self.buffer.len() + SECTION_HEAD_BYTES + 8) as u64;
        self.section(END, &bytes.to_le_bytes())?;
        self.write()?;
        self.file.sync_data()?;
        debug_assert!(bytes > HEAD_BYTES && self.offset == bytes);
        Ok((bytes, self.checksum))
    }
}

/// Cuts what a predictor writes into sections.
struct StateWriter<'a, 'f> {
    writer: &'a mut SnapshotWriter<'f>,
    waiting: Vec<u8>,
}

impl Write for StateWriter<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PREDICTOR_SECTION_BYTES - self.waiting.len());
        self.waiting.extend_from_slice(bytes.get(..count).unwrap_or_default());
        if self.waiting.len() == PREDICTOR_SECTION_BYTES {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            self.writer.section(PREDICTOR, &self.waiting)?;
            self.waiting.clear();
        }
        Ok(())
    }
}
