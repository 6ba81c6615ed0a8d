//! The segment that is being written.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{File, Files, temporary_of};
use super::format::batch::Place;
use super::format::segment::{self, SECTIONS_BYTES_MAX, SegmentHeader};
use super::{LogConfig, LogError};

/// The last segment of a log, open for writing.
#[derive(Debug)]
pub(super) struct ActiveSegment {
    pub(super) id: u64,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn File>,
    /// Where the first batch begins.
    pub(super) header_bytes: u64,
    /// Up to where it is known synced.
    pub(super) synced: u64,
    /// Up to where it is written.
    pub(super) written: u64,
    /// Up to where it will be, with what waits in the buffer.
    pub(super) offset: u64,
    /// How long the file is: zeros from `written` on.
    pub(super) allocated: u64,
    /// The checksum of the last batch, or of the header.
    pub(super) previous: u32,
}

/// A segment that is whole and synced but has not got its name yet.
pub(super) struct PreparedSegment {
    segment: ActiveSegment,
    temporary: PathBuf,
}

impl ActiveSegment {
    /// Where the next batch will stand.
    pub(super) fn place(&self) -> Place {
        Place { segment: self.id, offset: self.offset, synced: self.synced, previous: self.previous }
    }

    /// Makes sure that the file has zeros up to `end`, and some ahead.
    ///
    /// # Errors
    /// [`LogError::Full`]: the file is as before. [`LogError::Io`].
    pub(super) fn allocate(&mut self, end: u64, config: &LogConfig) -> Result<(), LogError> {
        if end <= self.allocated {
            return Ok(());
        }
        let ahead = (self.allocated + config.allocate_bytes).min(config.segment_bytes);
        self.grow(ahead.max(end))
    }

    fn grow(&mut self, end: u64) -> Result<(), LogError> {
        let count = end - self.allocated;
        let grown = self.file.allocate(self.allocated, count);
        match grown.map_err(LogError::growing(&self.path, count)) {
            Ok(()) => {
                self.allocated = end;
                Ok(())
            }
            Err(full @ LogError::Full { .. }) => {
                // Give back what the failed call took.
                self.file.set_len(self.allocated).map_err(LogError::io("shorten", &self.path))?;
                Err(full)
            }
            Err(other) => Err(other),
        }
    }

    /// Makes room for the footer, of `count` bytes.
    pub(super) fn allocate_footer(&mut self, count: u64) -> Result<(), LogError> {
        let end = self.written + count;
        if end > self.allocated { self.grow(end) } else { Ok(()) }
    }

    /// Ends the segment with `footer`; from then on it never changes.
    pub(super) fn seal(&mut self, footer: &[u8]) -> Result<(), LogError> {
        let end = self.written + footer.len() as u64;
        self.file.write_at(footer, self.written).map_err(LogError::io("write", &self.path))?;
        self.trim(end)?;
        self.file.sync_data().map_err(LogError::io("sync", &self.path))
    }

    /// Cuts the zeros off that are not needed any more.
    pub(super) fn trim(&mut self, end: u64) -> Result<(), LogError> {
        self.file.set_len(end).map_err(LogError::io("shorten", &self.path))?;
        self.allocated = end;
        Ok(())
    }
}

impl PreparedSegment {
    /// Writes a new segment under a temporary name, and syncs it.
    ///
    /// # Errors
    /// [`LogError::Full`], and then nothing is left of it; [`LogError::Io`].
    pub(super) fn create(
        files: &dyn Files,
        directory: &Path,
        header: &SegmentHeader,
        config: &LogConfig,
    ) -> Result<PreparedSegment, LogError> {
        let path = segment::path(directory, header.segment);
        let temporary = temporary_of(&path);
        let (bytes, checksum) = header.encode();
        let header_bytes = bytes.len() as u64;
        if header_bytes > SECTIONS_BYTES_MAX {
            return Err(LogError::Refused("the log has more segments than a header can name"));
        }
        let allocated = (header_bytes + config.allocate_bytes).min(config.segment_bytes.max(header_bytes));
        let made = files.create(&temporary).and_then(|file| {
            file.allocate(0, allocated)?;
            file.write_at(&bytes, 0)?;
            file.sync_data()?;
            Ok(Arc::from(file))
        });
        let file = made.map_err(|error| {
            // Whatever the removal says: the first error is the one to report, and opening removes what is left.
            let _ = files.remove(&temporary);
            LogError::growing(&path, allocated)(error)
        })?;
        let segment = ActiveSegment {
            id: header.segment,
            path,
            file,
            header_bytes,
            synced: header_bytes,
            written: header_bytes,
            offset: header_bytes,
            allocated,
            previous: checksum,
        };
        Ok(PreparedSegment { segment, temporary })
    }

    /// Gives the segment its name, durably.
    pub(super) fn publish(self, files: &dyn Files, directory: &Path) -> Result<ActiveSegment, LogError> {
        files.rename(&self.temporary, &self.segment.path).map_err(LogError::io("rename", &self.temporary))?;
        files.sync_directory(directory).map_err(LogError::io("sync", directory))?;
        Ok(self.segment)
    }

    /// Removes it again.
    pub(super) fn discard(self, files: &dyn Files) {
        // Opening removes temporaries, so one that stays does no harm.
        let _ = files.remove(&self.temporary);
    }
}
