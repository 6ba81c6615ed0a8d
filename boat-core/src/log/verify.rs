//! Reading a whole log to see whether it is sound.

use std::path::Path;
use std::sync::Arc;

use super::blocks::{BLOCK_BYTES, Blocks, Step};
use super::files::{File, Files};
use super::format::batch::BatchKind;
use super::format::segment::{self, SegmentHeader};
use super::{LogError, LogReader};

impl LogReader {
    /// Reads every segment from its first byte to its last, overwritten entries included, and checks each checksum and
    /// that each batch and segment follows the one before it. Takes as long as reading the files does.
    ///
    /// # Errors
    /// The first [`LogError::Corrupt`] (or [`LogError::Version`]) that is found, oldest segment first.
    pub fn verify(&self) -> Result<(), LogError> {
        let (active, written) = {
            let view = self.shared.view();
            (view.segment, view.written)
        };
        let mut previous = 0;
        for id in 1..active {
            previous = verify_segment(&*self.shared.files, &self.shared.directory, id, previous, None)?;
        }
        verify_segment(&*self.shared.files, &self.shared.directory, active, previous, Some(written))?;
        Ok(())
    }
}

/// Checks one segment, up to `written` where it is not sealed, and gives the checksum that the next one must name.
fn verify_segment(
    files: &dyn Files,
    directory: &Path,
    id: u64,
    previous: u32,
    written: Option<u64>,
) -> Result<u32, LogError> {
    let path = segment::path(directory, id);
    let file: Arc<dyn File> = files.open(&path).map_err(LogError::io("open", &path))?.into();
    let (header, header_bytes, checksum) = SegmentHeader::read(&*file, &path, id)?;
    if header.previous != previous {
        return Err(LogError::corrupt(&path, 0, "the segment does not follow the one before it"));
    }
    let file_bytes = file.len().map_err(LogError::io("read", &path))?;
    let end = written.unwrap_or(file_bytes);
    let mut blocks = Blocks::new(Arc::clone(&file), path.clone(), id, (header_bytes, end), BLOCK_BYTES);
    blocks.previous = Some(checksum);
    let mut sealed = false;
    loop {
        let why = match blocks.next()? {
            Step::Batch(_, _) if sealed => "a batch stands behind the footer",
            Step::Batch(batch, _) => {
                sealed = batch.kind == BatchKind::Footer;
                continue;
            }
            Step::End | Step::Fill(_) => break,
            Step::NoBatch(why) => why.unwrap_or("a batch is missing"),
        };
        return Err(LogError::corrupt(&path, blocks.offset, why));
    }
    if written.is_none() {
        segment::read_footer(&*file, &path, id)?;
    }
    Ok(blocks.previous.unwrap_or(checksum))
}
