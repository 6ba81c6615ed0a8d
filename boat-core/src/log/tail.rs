//! What stands behind the last batch of a log.

use std::path::Path;

use super::LogError;
use super::files::File;
use super::format::ALIGNMENT;
use super::format::batch::HEADER_BYTES;
use super::format::parse::{self, NoBatch};

/// How much is read at once.
const STEP_BYTES: usize = 1 << 20;

/// What an examination found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail {
    /// Behind the last byte that is not zero, if there is one.
    pub(super) dirty_end: Option<u64>,
    /// Whether a whole batch further on says that the place where the log ends had been synced.
    pub(super) is_vouched_for: bool,
}

/// Examines `[from, end)` of segment `id`, where `from` is behind its last whole batch.
pub(super) fn examine(
    file: &dyn File,
    path: &Path,
    id: u64,
    (from, end): (u64, u64),
) -> Result<Tail, LogError> {
    let mut tail = Tail { dirty_end: None, is_vouched_for: false };
    let mut at = from;
    while at < end {
        let bytes = read(file, path, at, end.min(at + STEP_BYTES as u64))?;
        let dirty = bytes.iter().rposition(|byte| *byte != 0);
        if let Some(last) = dirty {
            tail.dirty_end = Some(at + last as u64 + 1);
            tail.is_vouched_for |= has_voucher(file, path, id, (at, end), (&bytes, from))?;
        }
        // A header that straddles two steps is found whole in the second.
        let step = bytes.len().saturating_sub(HEADER_BYTES - ALIGNMENT as usize) as u64;
        at = if at + bytes.len() as u64 == end { end } else { at + step };
    }
    Ok(tail)
}

/// Whether one of the batches that begin in `bytes`, which stand at `at`, was written when `bad` had been synced.
fn has_voucher(
    file: &dyn File,
    path: &Path,
    id: u64,
    (at, end): (u64, u64),
    (bytes, bad): (&[u8], u64),
) -> Result<bool, LogError> {
    for (place, candidate) in (at..).step_by(ALIGNMENT as usize).zip(bytes.chunks(ALIGNMENT as usize)) {
        // The second field of a header is the segment's id: look for that, and check the rest where it stands.
        let begins = place.wrapping_sub(ALIGNMENT);
        if candidate != id.to_le_bytes() || begins < bad || place < ALIGNMENT {
            continue;
        }
        let header = read(file, path, begins, end.min(begins + HEADER_BYTES as u64))?;
        let whole = match parse::check(&header, id, begins, end - begins) {
            Err(NoBatch::Longer(total)) => read(file, path, begins, begins + total)?,
            _ => header,
        };
        if parse::check(&whole, id, begins, end - begins).is_ok_and(|batch| batch.synced > bad) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes `[from, to)` again as it is. Where an earlier process met a failed sync, the page cache may show bytes that the
/// disk never got and count them as clean; only a new write makes the next sync carry them.
pub(super) fn rewrite(file: &dyn File, path: &Path, (from, to): (u64, u64)) -> Result<(), LogError> {
    let mut at = from;
    while at < to {
        let bytes = read(file, path, at, to.min(at + STEP_BYTES as u64))?;
        file.write_at(&bytes, at).map_err(LogError::io("write", path))?;
        at += bytes.len() as u64;
    }
    Ok(())
}

fn read(file: &dyn File, path: &Path, from: u64, to: u64) -> Result<Vec<u8>, LogError> {
    let mut bytes = vec![0; (to - from) as usize];
    let count = file.read_at(&mut bytes, from).map_err(LogError::io("read", path))?;
    if count == bytes.len() {
        Ok(bytes)
    } else {
        Err(LogError::corrupt(path, from, "the file is shorter than it was"))
    }
}
