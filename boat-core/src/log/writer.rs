//! The write half of the log.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use super::catalog::Span;
use super::files::Files;
use super::format::batch::{self, BODY_BYTES_MAX};
use super::format::membership;
use super::format::sections::Sections;
use super::format::segment::{self, SegmentHeader};
use super::reader::Shared;
use super::recover::{self, Recovered};
use super::segment::{ActiveSegment, PreparedSegment};
use super::state::LogState;
use super::watermark::{Watermark, WatermarkFile};
use super::{LogConfig, LogError, LogReader, LogStart, LogWrite};
use crate::Membership;

/// The durable log of one node: the only thing that writes to its directory.
///
/// # Contract
/// - [`append`](Log::append) adds one write, whole or not at all, in memory. Only [`sync`](Log::sync) makes it durable;
///   [`flush`](Log::flush) makes it readable, as `sync` does.
/// - After a crash the log holds everything up to the last `sync` that returned, and of what was appended later some
///   number of whole writes from the first on.
/// - After a failed write or sync every later call fails with [`LogError::Poisoned`]: the node must stop. Errors that
///   [`LogError::is_harmless`] changed nothing, and the log goes on.
/// - One process at a time may open a directory; keeping others out is the caller's.
#[derive(Debug)]
pub struct Log {
    pub(super) shared: Arc<Shared>,
    pub(super) config: LogConfig,
    pub(super) segment: ActiveSegment,
    pub(super) state: LogState,
    pub(super) watermark: WatermarkFile,
    /// Batches that are not written yet, and what readers are to be told of them then.
    pub(super) buffer: Vec<u8>,
    pub(super) waiting: Vec<Waiting>,
    /// The buffer overwrites entries behind this index (and its term), which the watermark counts as synced.
    pub(super) lower: Option<(u64, u64)>,
    /// Segments hold nothing live any more, and can be removed once that is durable.
    pub(super) has_cut: bool,
    /// What the first failure said.
    pub(super) poisoned: Option<String>,
}

/// What a batch that is not written yet changes for readers.
#[derive(Debug)]
pub(super) enum Waiting {
    /// Where its entries will stand.
    Entries(Span),
    /// The log begins here; `whole` where nothing of what was there goes on.
    Start { first_index: u64, whole: bool },
}

impl Log {
    /// Opens the log in `directory`, making one where there is none. The directory is made if it is missing.
    ///
    /// `genesis_membership` is what holds until the log itself says otherwise.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Version`] and [`LogError::Regressed`] say that the directory must not be used
    /// under this identity any more; nothing in it was changed but temporaries. [`LogError::Full`] and [`LogError::Io`]
    /// say that it could not be opened now.
    pub fn open(
        files: Arc<dyn Files>,
        directory: &Path,
        config: LogConfig,
        genesis_membership: Membership,
    ) -> Result<(Log, Recovered), LogError> {
        recover::open(files, directory, config.checked(), genesis_membership)
    }

    /// Adds a write to those that wait to be written. All of it will be there after a crash, or nothing.
    ///
    /// An empty write does nothing. Once more than [`LogConfig::buffer_bytes_max`] wait, they are written (not synced).
    ///
    /// # Errors
    /// [`LogError::Refused`] if it breaks a rule: entries contiguous and behind the commit, terms that do not fall, a
    /// commit within the log, a membership within the log and not older than the last one, a start within what is
    /// committed. [`LogError::Full`] if the disk
    /// has no space for it. Else the log is poisoned.
    pub fn append(&mut self, write: &LogWrite) -> Result<(), LogError> {
        self.guarded(|log| log.append_unguarded(write))
    }

    /// Writes what waits, without syncing it: enough for a commit index alone.
    ///
    /// # Errors
    /// [`LogError::Io`] poisons the log.
    pub fn flush(&mut self) -> Result<(), LogError> {
        self.guarded(Log::write_buffer)
    }

    /// Makes everything that was appended durable, with one sync for all of it.
    ///
    /// `now_ms` is any clock in milliseconds that does not go back; it only says when to sync the watermark, too.
    ///
    /// # Errors
    /// [`LogError::Io`] poisons the log.
    pub fn sync(&mut self, now_ms: u64) -> Result<(), LogError> {
        self.guarded(|log| log.sync_unguarded(now_ms))
    }

    /// Whether [`Log::sync_watermark`] is due: `watermark_sync_ms` have passed and the log has grown.
    pub fn watermark_due(&self, now_ms: u64) -> bool {
        self.watermark.is_due(now_ms, self.config.watermark_sync_ms)
    }

    /// Syncs the watermark if it is due. For a log that has fallen silent; [`Log::sync`] does it, too.
    ///
    /// # Errors
    /// [`LogError::Io`] poisons the log.
    pub fn sync_watermark(&mut self, now_ms: u64) -> Result<(), LogError> {
        let interval_ms = self.config.watermark_sync_ms;
        self.guarded(|log| log.watermark.raise(log.watermark.get(), now_ms, interval_ms))
    }

    /// Zero-fills one step ahead of the writes if less than one is left, and says whether it did. For a log thread that
    /// has nothing else to do; appends do it themselves where nobody has.
    ///
    /// # Errors
    /// [`LogError::Full`] if the disk has no space. [`LogError::Io`] poisons the log.
    pub fn allocate_ahead(&mut self) -> Result<bool, LogError> {
        self.guarded(|log| {
            let end = (log.segment.offset + log.config.allocate_bytes).min(log.config.segment_bytes);
            let allocates = end > log.segment.allocated;
            log.segment.allocate(end, &log.config)?;
            Ok(allocates)
        })
    }

    /// Reads what was written, from any thread.
    pub fn reader(&self) -> LogReader {
        LogReader { shared: Arc::clone(&self.shared) }
    }

    fn guarded<T>(&mut self, act: impl FnOnce(&mut Log) -> Result<T, LogError>) -> Result<T, LogError> {
        if let Some(first) = &self.poisoned {
            return Err(LogError::Poisoned(first.clone()));
        }
        let result = act(self);
        if let Err(error) = &result
            && !error.is_harmless()
        {
            self.poisoned = Some(error.to_string());
        }
        result
    }

    fn append_unguarded(&mut self, write: &LogWrite) -> Result<(), LogError> {
        if write.is_empty() {
            return Ok(());
        }
        self.state.check(write).map_err(LogError::Refused)?;
        let membership = write.membership.as_ref().map(|change| {
            let mut bytes = Vec::new();
            membership::put(&mut bytes, change);
            bytes
        });
        let batch_bytes = batch::write_bytes(write, membership.as_ref().map_or(0, |bytes| bytes.len() + 4));
        if batch_bytes > u64::from(BODY_BYTES_MAX) {
            return Err(LogError::Refused("it is longer than a batch may be"));
        }
        self.make_room(batch_bytes)?;
        let begins = self.segment.offset;
        let place = self.segment.place();
        self.segment.previous = batch::put_write(&mut self.buffer, place, write, membership.as_deref());
        self.segment.offset += batch_bytes;
        self.note(write, begins);
        if self.buffer.len() > self.config.buffer_bytes_max { self.write_buffer() } else { Ok(()) }
    }

    /// Takes a write, whose batch begins at `offset`, into what the log knows.
    fn note(&mut self, write: &LogWrite, offset: u64) {
        if let Some(start) = write.start {
            self.note_start(start);
        }
        if let (Some(first), Some(last)) = (write.entries.first(), write.entries.last()) {
            let kept = first.index - 1;
            if first.index <= self.state.last_index {
                self.lower_to(kept);
            }
            self.waiting.push(Waiting::Entries(Span {
                segment: self.segment.id,
                first_index: first.index,
                end_index: last.index + 1,
                offset,
                end_offset: self.segment.offset,
            }));
        }
        for entry in &write.entries {
            self.state.push_entry(entry.index, entry.term);
        }
        self.state.set(write.hard_state, write.membership.clone());
    }

    fn note_start(&mut self, start: LogStart) {
        let whole = self.state.begin_behind(start);
        if whole {
            self.lower_to(start.index);
        }
        self.waiting.push(Waiting::Start { first_index: self.state.first_index, whole });
        self.has_cut = true;
    }

    /// The log may end at `last_index` after the next write.
    fn lower_to(&mut self, last_index: u64) {
        if self.watermark.is_above(last_index) {
            let lower = (last_index, self.state.term(last_index));
            self.lower = Some(self.lower.map_or(lower, |known| known.min(lower)));
        }
    }

    /// Removes the segments before the first one that holds something live, once nothing names them any more.
    pub(super) fn remove_cut(&mut self) -> Result<(), LogError> {
        if !std::mem::take(&mut self.has_cut) {
            return Ok(());
        }
        let Shared { files, directory, .. } = &*self.shared;
        let first = self.shared.view().catalog.first_segment().unwrap_or(self.segment.id);
        let names = files.list(directory).map_err(LogError::io("list", directory))?;
        for id in recover::segments(&names).range(..first) {
            let path = segment::path(directory, *id);
            files.remove(&path).map_err(LogError::io("remove", &path))?;
        }
        Ok(())
    }

    /// Makes sure that `batch_bytes` fit into allocated space, in the next segment if need be.
    fn make_room(&mut self, batch_bytes: u64) -> Result<(), LogError> {
        let fits = self.segment.offset + batch_bytes <= self.config.segment_bytes;
        if !fits && self.segment.offset > self.segment.header_bytes {
            self.rotate()?;
        }
        self.segment.allocate(self.segment.offset + batch_bytes, &self.config)
    }

    fn write_buffer(&mut self) -> Result<(), LogError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if let Some((last_index, last_term)) = self.lower.take() {
            self.watermark.lower(last_index, last_term)?;
        }
        let segment = &mut self.segment;
        segment.file.write_at(&self.buffer, segment.written).map_err(LogError::io("write", &segment.path))?;
        segment.written = segment.offset;
        self.buffer.clear();
        self.buffer.shrink_to(self.config.buffer_bytes_max);
        let mut view = self.shared.view.write().unwrap_or_else(PoisonError::into_inner);
        for waiting in self.waiting.drain(..) {
            match waiting {
                Waiting::Entries(span) => view.catalog.push(span),
                Waiting::Start { first_index, whole } => view.catalog.begin_at(first_index, whole),
            }
        }
        view.written = self.segment.written;
        Ok(())
    }

    fn sync_unguarded(&mut self, now_ms: u64) -> Result<(), LogError> {
        self.write_buffer()?;
        let segment = &mut self.segment;
        if segment.synced < segment.written {
            segment.file.sync_data().map_err(LogError::io("sync", &segment.path))?;
            segment.synced = segment.written;
        }
        let now = self.reached();
        self.watermark.raise(now, now_ms, self.config.watermark_sync_ms)?;
        self.remove_cut()
    }

    /// How far the log is written.
    pub(super) fn reached(&self) -> Watermark {
        self.state.reached(self.segment.id, self.segment.written)
    }

    /// Seals the segment and goes on in a new one. The new one is made first, so that a full disk changes nothing.
    pub(super) fn rotate(&mut self) -> Result<(), LogError> {
        self.write_buffer()?;
        let mut footer = Vec::new();
        let sections = self.state.footer_sections(&self.shared.view().catalog, self.segment.id);
        let previous = segment::put_footer(&mut footer, self.segment.place(), &sections);
        let header = self.next_header(previous);
        let (files, directory) = (&*self.shared.files, &*self.shared.directory);
        let next = PreparedSegment::create(files, directory, &header, &self.config)?;
        if let Err(error) = self.segment.allocate_footer(footer.len() as u64) {
            next.discard(files);
            return Err(error);
        }
        self.segment.seal(&footer)?;
        self.go_on_in(next)
    }

    /// The header of the segment behind this one, whose last batch has the checksum `previous`.
    pub(super) fn next_header(&self, previous: u32) -> SegmentHeader {
        SegmentHeader {
            segment: self.segment.id + 1,
            previous,
            next_index: self.state.last_index + 1,
            sections: Sections {
                spans: self.shared.view().catalog.spans().to_vec(),
                ..self.state.sections()
            },
        }
    }

    /// Makes `next` the segment that is written to; the present one is sealed.
    pub(super) fn go_on_in(&mut self, next: PreparedSegment) -> Result<(), LogError> {
        self.segment = next.publish(&*self.shared.files, &self.shared.directory)?;
        let mut view = self.shared.view.write().unwrap_or_else(PoisonError::into_inner);
        view.catalog.start_segment();
        view.segment = self.segment.id;
        view.file = Arc::clone(&self.segment.file);
        view.written = self.segment.written;
        Ok(())
    }
}
