//! The sequential scan: how replay reads the log.

use std::sync::Arc;

use super::blocks::{Blocks, Step};
use super::reader::Shared;
use super::{LogEntry, LogError};

/// A scan over a range of entries. Made by [`LogReader::scan`](super::LogReader::scan).
#[derive(Debug)]
pub struct Scan {
    shared: Arc<Shared>,
    next: u64,
    end: u64,
    block_bytes: usize,
    bytes: u64,
    /// The walk through the present span, and the index behind it.
    walk: Option<(Blocks, u64)>,
}

impl Scan {
    pub(super) fn new(shared: Arc<Shared>, next: u64, end: u64, block_bytes: usize) -> Scan {
        Scan { shared, next, end, block_bytes, bytes: 0, walk: None }
    }

    /// The index of the entry that comes next.
    pub fn next_index(&self) -> u64 {
        self.next
    }

    /// How many bytes of batches were passed over so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Replaces what is in `entries` by the next entries, as many as one block of the file holds, and says whether there
    /// were any.
    ///
    /// Nothing is copied: the entries' data are slices of the block. Once `entries` and what was cloned from them are
    /// gone, the block's memory is used again, so a caller that is done with one block before it asks for the next makes
    /// the scan run within a fixed amount of memory.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] where the bytes are not what was written; [`LogError::Io`]; [`LogError::OutOfRange`] if the
    /// entry that comes next was overwritten in the meantime.
    pub fn next_block(&mut self, entries: &mut Vec<LogEntry>) -> Result<bool, LogError> {
        entries.clear();
        while self.next < self.end {
            let Some((blocks, span_end)) = &mut self.walk else {
                self.find()?;
                continue;
            };
            match blocks.step() {
                Step::Fill(_) if !entries.is_empty() => return Ok(true),
                Step::Fill(needed) => blocks.fill(needed)?,
                Step::Batch(header, at) => {
                    let begins = blocks.offset - header.total_bytes();
                    self.bytes += header.total_bytes();
                    let corrupt = |why| LogError::corrupt(&blocks.path, begins, why);
                    if header.entries > 0 && header.first_index > self.next {
                        return Err(corrupt("entries are missing before this batch"));
                    }
                    let high = (*span_end).min(self.end);
                    let malformed = |_| corrupt("a batch is malformed");
                    header.entries(blocks.block(), at, (self.next, high), entries).map_err(malformed)?;
                    self.next = entries.last().map_or(self.next, |entry| entry.index + 1);
                    if self.next >= *span_end {
                        self.walk = None;
                    }
                }
                Step::End => return Err(missing(blocks, "entries are missing at the end")),
                Step::NoBatch(why) => return Err(missing(blocks, why.unwrap_or("a batch is missing"))),
            }
        }
        Ok(!entries.is_empty())
    }

    /// Finds the span that holds the next entry.
    fn find(&mut self) -> Result<(), LogError> {
        let Some(start) = self.shared.start_for(self.next)? else {
            let (first_index, end_index) = {
                let view = self.shared.view();
                (view.catalog.first_index(), view.catalog.end_index())
            };
            let (low, high) = (self.next, self.end);
            return Err(LogError::OutOfRange { low, high, first_index, last_index: end_index - 1 });
        };
        let range = (start.offset, start.span.end_offset);
        let blocks = Blocks::new(start.file, start.path, start.span.segment, range, self.block_bytes);
        self.walk = Some((blocks, start.span.end_index));
        Ok(())
    }
}

fn missing(blocks: &Blocks, why: &'static str) -> LogError {
    LogError::corrupt(&blocks.path, blocks.offset, why)
}
