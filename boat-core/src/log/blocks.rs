//! Reading a segment batch by batch, in large blocks.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::LogError;
use super::ahead::Ahead;
use super::files::File;
use super::format::batch::BatchHeader;
use super::format::parse::{self, NoBatch};

/// How much of a segment is read at once: enough for the disk, and little enough to stay in a core's cache.
pub(super) const BLOCK_BYTES: usize = 256 << 10;

/// Walks over the batches of one segment from a given offset.
#[derive(Debug)]
pub(super) struct Blocks {
    file: Arc<dyn File>,
    pub(super) path: PathBuf,
    segment: u64,
    /// Where the next batch begins in the file.
    pub(super) offset: u64,
    /// Where the walk ends.
    pub(super) end: u64,
    block_bytes: usize,
    /// What was read last, and where in it the next batch begins.
    block: Bytes,
    at: usize,
    /// The checksum that the next batch names as its predecessor's, once known.
    pub(super) previous: Option<u32>,
}

/// What stands next.
pub(super) enum Step {
    /// A batch, which begins at this place in the block.
    Batch(BatchHeader, usize),
    /// More must be read: at least so many bytes from [`Blocks::offset`] on.
    Fill(u64),
    /// The walk has reached its end.
    End,
    /// There is no batch: nothing was written here, or (`Some`) what is there is none.
    NoBatch(Option<&'static str>),
}

impl Blocks {
    pub(super) fn new(
        file: Arc<dyn File>,
        path: PathBuf,
        segment: u64,
        range: (u64, u64),
        block_bytes: usize,
    ) -> Self {
        let (offset, end) = range;
        Blocks { file, path, segment, offset, end, block_bytes, block: Bytes::new(), at: 0, previous: None }
    }

    /// The block that batches are found in.
    pub(super) fn block(&self) -> &Bytes {
        &self.block
    }

    /// The next batch, without reading from the file.
    pub(super) fn step(&mut self) -> Step {
        let left = self.end.saturating_sub(self.offset);
        if left == 0 {
            return Step::End;
        }
        let rest = self.block.get(self.at..).unwrap_or_default();
        let header = match parse::check(rest, self.segment, self.offset, left) {
            Ok(header) => header,
            Err(NoBatch::Longer(needed)) => return Step::Fill(needed),
            Err(NoBatch::Empty) => return Step::NoBatch(None),
            Err(NoBatch::Bad(why)) => return Step::NoBatch(Some(why)),
        };
        if self.previous.is_some_and(|previous| previous != header.previous) {
            return Step::NoBatch(Some("a batch does not follow the one before it"));
        }
        self.previous = Some(header.checksum);
        let at = self.at;
        self.offset += header.total_bytes();
        self.at += header.total_bytes() as usize;
        Step::Batch(header, at)
    }

    /// Reads at least `needed` bytes from [`Blocks::offset`] on. The buffer is used again if nobody holds a part of it.
    pub(super) fn fill(&mut self, needed: u64) -> Result<(), LogError> {
        let left = self.end.saturating_sub(self.offset);
        let wanted = left.min(needed.max(self.block_bytes as u64)) as usize;
        let mut buffer = match std::mem::take(&mut self.block).try_into_mut() {
            Ok(mut buffer) => {
                buffer.resize(wanted, 0);
                buffer
            }
            Err(_shared) => BytesMut::zeroed(wanted),
        };
        let count = self.file.read_at(&mut buffer, self.offset).map_err(LogError::io("read", &self.path))?;
        buffer.truncate(count);
        self.block = buffer.freeze();
        self.at = 0;
        if (count as u64) < needed.min(left) {
            return Err(self.shorter(self.offset + count as u64));
        }
        Ok(())
    }

    /// Like [`Blocks::fill`], with what `ahead` has read.
    pub(super) fn fill_from(&mut self, ahead: &mut Ahead, needed: u64) -> Result<(), LogError> {
        let old = std::mem::take(&mut self.block);
        let tail = old.get(self.at..).unwrap_or_default();
        if !ahead.is_at(&self.file, self.offset + tail.len() as u64) {
            ahead.begin(&self.file, (self.offset + tail.len() as u64, self.end));
        }
        let next = ahead.next(tail).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.shorter(self.offset),
            _ => LogError::io("read", &self.path)(error),
        })?;
        if let Some((block, at)) = next {
            (self.block, self.at) = (block, at);
        }
        ahead.give_back(old);
        // A batch longer than blocks are read ahead is read by itself.
        if ((self.block.len() - self.at) as u64) < needed { self.fill(needed) } else { Ok(()) }
    }

    fn shorter(&self, at: u64) -> LogError {
        LogError::corrupt(&self.path, at, "the file is shorter than it was")
    }

    /// The next batch, reading where it must.
    pub(super) fn next(&mut self) -> Result<Step, LogError> {
        loop {
            match self.step() {
                // Ends: each round asks for more than the one before, and never for more than a batch may have.
                Step::Fill(needed) => self.fill(needed)?,
                step => return Ok(step),
            }
        }
    }
}
