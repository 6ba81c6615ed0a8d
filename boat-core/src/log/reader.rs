//! The read half of the log.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use super::catalog::{Catalog, Point, Span};
use super::files::{File, Files};
use super::format::segment;
use super::scan::Scan;
use super::{LogEntry, LogError, blocks};

/// How many sealed segments are kept open, with their points.
const SEALED_OPEN_MAX: usize = 8;
/// The least that is read at once for [`LogReader::entries`].
const READ_BYTES_MIN: usize = 16 << 10;

/// Reads entries of a [`Log`](super::Log), from any thread, while it is being written.
///
/// It sees what has been written, synced or not: everything up to the last [`sync`](super::Log::sync) or
/// [`flush`](super::Log::flush). Clones share their open files.
#[derive(Debug, Clone)]
pub struct LogReader {
    pub(super) shared: Arc<Shared>,
}

/// What the writer tells the readers.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) files: Arc<dyn Files>,
    pub(super) directory: PathBuf,
    pub(super) view: RwLock<View>,
    sealed: Mutex<VecDeque<Arc<Sealed>>>,
}

#[derive(Debug)]
pub(super) struct View {
    pub(super) catalog: Catalog,
    /// The last segment, its file, and up to where it is written.
    pub(super) segment: u64,
    pub(super) file: Arc<dyn File>,
    pub(super) written: u64,
}

#[derive(Debug)]
struct Sealed {
    segment: u64,
    file: Arc<dyn File>,
    points: Vec<Point>,
}

/// Where to read on: the span, its file, and the offset of a batch at or before the index that was asked for.
pub(super) struct Start {
    pub(super) span: Span,
    pub(super) file: Arc<dyn File>,
    pub(super) path: PathBuf,
    pub(super) offset: u64,
}

impl Shared {
    pub(super) fn new(files: Arc<dyn Files>, directory: PathBuf, view: View) -> Shared {
        Shared { files, directory, view: RwLock::new(view), sealed: Mutex::default() }
    }

    pub(super) fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where to begin to read for `index`, if it is there.
    pub(super) fn start_for(&self, index: u64) -> Result<Option<Start>, LogError> {
        match self.try_start_for(index) {
            // It may have been cut off, and its segment removed, after it was looked up.
            Err(LogError::Io { .. }) if self.view().catalog.span_of(index).is_none() => Ok(None),
            found => found,
        }
    }

    fn try_start_for(&self, index: u64) -> Result<Option<Start>, LogError> {
        let view = self.view();
        let Some(span) = view.catalog.span_of(index) else { return Ok(None) };
        let path = segment::path(&self.directory, span.segment);
        if span.segment == view.segment {
            let offset = span.start_for(index, view.catalog.points());
            return Ok(Some(Start { span, file: Arc::clone(&view.file), path, offset }));
        }
        drop(view);
        let sealed = self.sealed(span.segment)?;
        let offset = span.start_for(index, &sealed.points);
        Ok(Some(Start { span, file: Arc::clone(&sealed.file), path, offset }))
    }

    /// Opens a sealed segment and reads its footer, or takes it from those that are open.
    fn sealed(&self, id: u64) -> Result<Arc<Sealed>, LogError> {
        let mut open = self.sealed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = open.iter().position(|sealed| sealed.segment == id)
            && let Some(found) = open.remove(at)
        {
            open.push_front(Arc::clone(&found));
            return Ok(found);
        }
        let path = segment::path(&self.directory, id);
        let file: Arc<dyn File> = self.files.open(&path).map_err(LogError::io("open", &path))?.into();
        let file_bytes = file.len().map_err(LogError::io("read", &path))?;
        let (footer, _) = segment::read_footer(&*file, &path, id, file_bytes)?;
        let sealed = Arc::new(Sealed { segment: id, file, points: footer.points });
        open.truncate(SEALED_OPEN_MAX - 1);
        open.push_front(Arc::clone(&sealed));
        Ok(sealed)
    }
}

impl LogReader {
    /// The first index and the index behind the last one.
    fn bounds(&self) -> (u64, u64) {
        let view = self.shared.view();
        (view.catalog.first_index(), view.catalog.end_index())
    }

    /// The first index: 1 where nothing was cut. In an empty log, that of the entry to come.
    pub fn first_index(&self) -> u64 {
        self.bounds().0
    }

    /// The last index that has been written; one less than the first in an empty log.
    pub fn last_index(&self) -> u64 {
        self.bounds().1.saturating_sub(1)
    }

    fn check_range(&self, low: u64, high: u64) -> Result<(), LogError> {
        let (first_index, end_index) = self.bounds();
        if low < first_index || high > end_index || low > high {
            return Err(LogError::OutOfRange { low, high, first_index, last_index: end_index - 1 });
        }
        Ok(())
    }

    /// The entries with indexes in `[low, high)`: all of them, or as many as have at most `bytes_max` bytes of data
    /// together, but at least one. Their data are slices of the blocks that were read, so an entry that is kept for long
    /// keeps such a block.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] if the log does not hold them all; [`LogError::Corrupt`], [`LogError::Io`].
    pub fn entries(&self, low: u64, high: u64, bytes_max: u64) -> Result<Vec<LogEntry>, LogError> {
        self.check_range(low, high)?;
        let block_bytes = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let block_bytes = block_bytes.clamp(READ_BYTES_MIN, blocks::BLOCK_BYTES);
        let mut scan = Scan::new(Arc::clone(&self.shared), low, high, block_bytes);
        let (mut found, mut block, mut bytes) = (Vec::new(), Vec::new(), 0u64);
        while scan.next_block(&mut block)? {
            for entry in block.drain(..) {
                bytes = bytes.saturating_add(entry.data.len() as u64);
                if bytes > bytes_max && !found.is_empty() {
                    return Ok(found);
                }
                found.push(entry);
            }
        }
        Ok(found)
    }

    /// Scans the entries with indexes in `[from_index, to_index)` in order, in large blocks.
    ///
    /// Entries above the commit may be replaced while a scan runs; scan committed ones.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] if the log does not hold them all.
    pub fn scan(&self, from_index: u64, to_index: u64) -> Result<Scan, LogError> {
        self.check_range(from_index, to_index)?;
        Ok(Scan::new(Arc::clone(&self.shared), from_index, to_index, blocks::BLOCK_BYTES))
    }

    /// Like [`LogReader::scan`], but once the scan proves long, a thread of its own reads ahead of it: for replay, where
    /// another core has nothing to do.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] if the log does not hold them all.
    pub fn scan_ahead(&self, from_index: u64, to_index: u64) -> Result<Scan, LogError> {
        self.scan(from_index, to_index).map(Scan::ahead)
    }
}
