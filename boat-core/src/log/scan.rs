//! The sequential scan: how replay reads the log.

use std::sync::Arc;

use super::ahead::Ahead;
use super::blocks::{Blocks, Step};
use super::reader::Shared;
use super::{LogEntry, LogError};

/// How many blocks a scan reads itself before it has others read ahead: a short one needs no thread.
const ALONE_BLOCKS: u32 = 8;

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
    reading: Reading,
}

/// Who reads the blocks.
#[derive(Debug)]
enum Reading {
    /// The scan.
    Alone,
    /// The scan, for so many blocks more; then another thread.
    AloneFor(u32),
    /// Another thread.
    Ahead(Box<Ahead>),
}

impl Scan {
    pub(super) fn new(shared: Arc<Shared>, next: u64, end: u64, block_bytes: usize) -> Scan {
        Scan { shared, next, end, block_bytes, bytes: 0, walk: None, reading: Reading::Alone }
    }

    pub(super) fn ahead(self) -> Scan {
        Scan { reading: Reading::AloneFor(ALONE_BLOCKS), ..self }
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
                Step::Fill(needed) => self.reading.fill(blocks, needed, self.block_bytes)?,
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

impl Reading {
    fn fill(&mut self, blocks: &mut Blocks, needed: u64, block_bytes: usize) -> Result<(), LogError> {
        match self {
            Reading::Alone => blocks.fill(needed),
            // A batch longer than a block is read at once. Where there is one there are more, and what is read ahead of
            // them in blocks would be of no use.
            _ if needed > block_bytes as u64 => {
                *self = Reading::AloneFor(ALONE_BLOCKS);
                blocks.fill(needed)
            }
            Reading::Ahead(ahead) => blocks.fill_from(ahead, needed),
            Reading::AloneFor(left) if *left > 0 => {
                *left -= 1;
                blocks.fill(needed)
            }
            Reading::AloneFor(_) => {
                *self =
                    Ahead::start(block_bytes).map_or(Reading::Alone, |ahead| Reading::Ahead(ahead.into()));
                self.fill(blocks, needed, block_bytes)
            }
        }
    }
}

fn missing(blocks: &Blocks, why: &'static str) -> LogError {
    LogError::corrupt(&blocks.path, blocks.offset, why)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::files::{CallKind, Fault, SimFiles};
    use super::super::{EntryKind, Log, LogConfig, LogWrite};
    use super::*;
    use crate::Membership;

    const BLOCK_BYTES: usize = 4 << 10;

    /// A log of several segments, some of whose batches are longer than a block.
    fn written(files: &SimFiles) -> Log {
        let config = LogConfig { segment_bytes: 256 << 10, ..LogConfig::default() };
        let (mut log, _) =
            Log::open(Arc::new(files.clone()), Path::new("/log"), config, Membership::default()).unwrap();
        for index in 1..=4_000_u64 {
            let bytes = if index % 500 < 4 { 3 * BLOCK_BYTES } else { index as usize % 300 };
            let data = vec![index as u8; bytes].into();
            let entry = LogEntry { index, term: 1, kind: EntryKind::Normal, data };
            log.append(&LogWrite { entries: vec![entry], ..LogWrite::default() }).unwrap();
        }
        log.flush().unwrap();
        log
    }

    fn all(mut scan: Scan) -> Result<Vec<LogEntry>, LogError> {
        let (mut all, mut block) = (Vec::new(), Vec::new());
        while scan.next_block(&mut block)? {
            all.append(&mut block);
        }
        Ok(all)
    }

    fn scan(log: &Log, from: u64, to: u64) -> Scan {
        Scan::new(log.reader().shared, from, to, BLOCK_BYTES)
    }

    #[test]
    fn what_is_read_ahead_is_what_stands_there() {
        let log = written(&SimFiles::new());
        for (from, to) in [(1, 4_001), (7, 3_000), (1_990, 2_010), (4_000, 4_001)] {
            let (ahead, alone) =
                (all(scan(&log, from, to).ahead()).unwrap(), all(scan(&log, from, to)).unwrap());
            assert!(ahead == alone, "{from}..{to}: {} and {} entries", ahead.len(), alone.len());
        }
        // One that is given up in the middle takes its thread with it.
        let mut given_up = scan(&log, 1, 4_001).ahead();
        let mut block = Vec::new();
        while !matches!(given_up.reading, Reading::Ahead(_)) {
            assert!(given_up.next_block(&mut block).unwrap());
        }
        drop(given_up);
        assert_eq!(block.first().map(|entry| entry.term), Some(1));
    }

    #[test]
    fn a_failure_ahead_ends_the_scan() {
        let files = SimFiles::new();
        let log = written(&files);
        files.fail(CallKind::Read, 60, Fault::Error);
        let failed = all(scan(&log, 1, 4_001).ahead()).map(|entries| entries.len());
        assert!(files.has_failed() && matches!(failed, Err(LogError::Io { .. })), "{failed:?}");
    }
}
