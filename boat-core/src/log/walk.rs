//! The walk over the last segment, from which a log is rebuilt.

use std::path::Path;
use std::sync::Arc;

use super::blocks::{BLOCK_BYTES, Blocks, Step};
use super::catalog::{Catalog, Span};
use super::files::{File, Files};
use super::format::batch::{BatchHeader, BatchKind, HEADER_BYTES};
use super::format::parse::BatchState;
use super::format::segment::{self, SegmentHeader};
use super::segment::ActiveSegment;
use super::state::LogState;
use super::{LogConfig, LogError, Watermark};
use crate::codec::{Malformed, Reader};

/// The last segment after a walk over all of its batches.
pub(super) struct Walked {
    pub(super) state: LogState,
    pub(super) catalog: Catalog,
    pub(super) segment: ActiveSegment,
    /// Whether the last batch is a footer.
    pub(super) sealed: bool,
    /// What stands at the end instead of a batch; `None` for nothing.
    pub(super) stop: Option<&'static str>,
}

/// Reads the last segment, which says of the others what is needed of them.
pub(super) fn walk(
    files: &dyn Files,
    directory: &Path,
    id: u64,
    config: &LogConfig,
) -> Result<Walked, LogError> {
    let Begun { mut walked, mut blocks, .. } = begin(files, directory, id, config)?;
    loop {
        match blocks.next()? {
            Step::Batch(batch, at) => walked.take(&batch, at, &blocks)?,
            Step::End | Step::Fill(_) => break,
            Step::NoBatch(why) => {
                walked.stop = why;
                break;
            }
        }
        if walked.sealed {
            break;
        }
    }
    Ok(walked)
}

/// A walk that has seen the header of its segment.
pub(super) struct Begun {
    pub(super) header: SegmentHeader,
    pub(super) walked: Walked,
    /// The batches to come, up to the end of the file.
    pub(super) blocks: Blocks,
}

/// Reads the header of a segment.
pub(super) fn begin(
    files: &dyn Files,
    directory: &Path,
    id: u64,
    config: &LogConfig,
) -> Result<Begun, LogError> {
    let path = segment::path(directory, id);
    let file: Arc<dyn File> = files.open(&path).map_err(LogError::io("open", &path))?.into();
    let (header, header_bytes, checksum) = SegmentHeader::read(&*file, &path, id)?;
    let file_bytes = file.len().map_err(LogError::io("read", &path))?;
    let state = LogState::from_sections(&header.sections, header.next_index);
    let spans = header.sections.spans.clone();
    let catalog = Catalog::new(state.first_index, spans, config.index_stride_bytes);
    let segment = ActiveSegment {
        id,
        path: path.clone(),
        file: Arc::clone(&file),
        header_bytes,
        synced: header_bytes,
        written: header_bytes,
        offset: header_bytes,
        allocated: file_bytes,
        previous: checksum,
    };
    let walked = Walked { state, catalog, segment, sealed: false, stop: None };
    let mut blocks = Blocks::new(file, path, id, (header_bytes, file_bytes), BLOCK_BYTES);
    blocks.previous = Some(checksum);
    Ok(Begun { header, walked, blocks })
}

impl Walked {
    /// How far the log is written, as far as was walked.
    pub(super) fn reached(&self) -> Watermark {
        self.state.reached(self.segment.id, self.segment.written)
    }

    /// Takes the next batch into what is known.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] when what it says cannot come next.
    pub(super) fn take(&mut self, batch: &BatchHeader, at: usize, blocks: &Blocks) -> Result<(), LogError> {
        let begins = self.segment.offset;
        if batch.kind == BatchKind::Footer {
            self.sealed = true;
        } else if let Err(Malformed(why)) = self.take_write(batch, at, blocks) {
            // Its checksum is right, so this was written: no torn write, but a bug or a forgery.
            return Err(LogError::corrupt(&blocks.path, begins, why));
        }
        let ends = begins + batch.total_bytes();
        if batch.entries > 0 {
            self.catalog.push(Span {
                segment: self.segment.id,
                first_index: batch.first_index,
                end_index: batch.end_index(),
                offset: begins,
                end_offset: ends,
            });
        }
        self.segment.offset = ends;
        self.segment.written = ends;
        self.segment.previous = batch.checksum;
        Ok(())
    }

    fn take_write(&mut self, batch: &BatchHeader, at: usize, blocks: &Blocks) -> Result<(), Malformed> {
        let body = blocks.block().get(at + HEADER_BYTES..at + batch.total_bytes() as usize);
        let mut reader = Reader::new(body.ok_or(Malformed("batch"))?, "batch body");
        let BatchState { hard_state, membership, start } = batch.state(&mut reader)?;
        let state = &mut self.state;
        if let Some(start) = start {
            let commit = hard_state.unwrap_or(state.hard_state).commit;
            state.check_start(start, commit).map_err(Malformed)?;
            let whole = state.begin_behind(start);
            self.catalog.begin_at(state.first_index, whole);
        }
        if batch.entries > 0 {
            let first = batch.first_index;
            if first > state.last_index + 1 || first <= state.hard_state.commit || first < state.first_index {
                return Err(Malformed("batch: its entries do not follow those before it"));
            }
            let mut term_before = state.term(first - 1);
            let mut falls = false;
            batch.terms(reader, |index, term| {
                falls |= term < term_before;
                term_before = term;
                state.push_entry(index, term);
            })?;
            if falls {
                return Err(Malformed("batch: its terms fall"));
            }
        }
        state.set(hard_state, membership);
        if state.hard_state.commit > state.last_index {
            return Err(Malformed("batch: its commit lies beyond its entries"));
        }
        Ok(())
    }
}
