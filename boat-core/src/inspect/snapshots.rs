//! The snapshots of a directory.

use std::path::Path;

use serde::Serialize;

use super::view::name;
use super::{InspectError, StoppedDirectory};
use crate::apply::{Applier, SessionLimits};
use crate::directory::SNAPSHOTS;
use crate::log::LogError;
use crate::log::files::ReadOnlyFiles;
use crate::snapshot::{SnapshotReader, list, path};

/// One snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotView {
    /// Its file's name.
    pub file: String,
    /// Its file's length.
    pub bytes: u64,
    /// The last entry that it covers.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
    /// The last position that it covers.
    pub position: u64,
    /// The running digest after that position, 32 hexadecimal digits.
    pub digest: String,
    /// When it was taken by its node's clock, in milliseconds since the Unix epoch.
    pub taken_ms: u64,
}

fn directory(stopped: &StoppedDirectory) -> std::path::PathBuf {
    stopped.path.join(SNAPSHOTS)
}

/// What the snapshots say that they are, newest first; the damaged ones apart.
///
/// # Errors
/// [`InspectError::Log`] with an error of the file system.
pub(super) fn views(
    stopped: &StoppedDirectory,
) -> Result<(Vec<SnapshotView>, Vec<InspectError>), InspectError> {
    let directory = directory(stopped);
    let (mut views, mut damaged) = (Vec::new(), Vec::new());
    for index in list(&ReadOnlyFiles, &directory)? {
        let path = path(&directory, index);
        match SnapshotReader::open(&ReadOnlyFiles, &path) {
            Ok(reader) => views.push(view(&path, &reader)),
            Err(error) if error.is_damage() => damaged.push(error.into()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok((views, damaged))
}

fn view(path: &Path, reader: &SnapshotReader) -> SnapshotView {
    let about = reader.about();
    SnapshotView {
        file: name(path),
        bytes: reader.bytes(),
        index: about.index,
        term: about.term,
        position: about.position,
        digest: about.digest.to_string(),
        taken_ms: about.taken_ms,
    }
}

/// Reads every snapshot from its first byte to its last. How many were sound, and how many bytes they have.
///
/// # Errors
/// The first damage, oldest snapshot first; an error of the file system.
pub(super) fn verify(stopped: &StoppedDirectory) -> Result<(u64, u64), InspectError> {
    let directory = directory(stopped);
    let (mut count, mut bytes) = (0, 0);
    for index in list(&ReadOnlyFiles, &directory)?.into_iter().rev() {
        let path = path(&directory, index);
        let mut reader = SnapshotReader::open(&ReadOnlyFiles, &path)?;
        // Its sections must be an applier's, and what it says of itself must be so.
        reader.applier(SessionLimits { session_outcomes_max: u32::MAX, ..SessionLimits::default() })?;
        let name = reader.verify()?;
        if name.index != index {
            return Err(LogError::corrupt(&path, 0, "its name is another snapshot's").into());
        }
        count += 1;
        bytes += name.bytes;
    }
    Ok((count, bytes))
}

/// The applier of the oldest sound snapshot as of an entry in `covered`: what the log that is left goes on from.
///
/// # Errors
/// [`InspectError::NoPositions`] where there is none; an error of the file system.
pub(super) fn applier(
    stopped: &StoppedDirectory,
    covered: (u64, u64),
    limits: SessionLimits,
) -> Result<Applier, InspectError> {
    let directory = directory(stopped);
    let indexes = list(&ReadOnlyFiles, &directory)?;
    for index in indexes.into_iter().rev().filter(|index| (covered.0..=covered.1).contains(index)) {
        let opened = SnapshotReader::open(&ReadOnlyFiles, &path(&directory, index));
        match opened.and_then(|mut reader| reader.applier(limits)) {
            Ok(applier) => return Ok(applier),
            Err(error) if error.is_damage() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(InspectError::NoPositions("the log was cut, and no sound snapshot says what stands before it"))
}
