//! A snapshot that comes from another node, piece by piece.

use std::path::PathBuf;

use super::store::Kept;
use super::{About, SnapshotName, SnapshotReader, SnapshotStore};
use crate::log::LogError;
use crate::log::files::File;

const SUFFIX: &str = ".incoming";

/// A snapshot of which some of the bytes are here. What is there stays when the process ends, so that the rest can be asked
/// for; whether all of it is sound is looked at in the end.
#[derive(Debug)]
pub(crate) struct Incoming {
    name: SnapshotName,
    path: PathBuf,
    file: Box<dyn File>,
    /// How many bytes are here, from the first on.
    bytes: u64,
}

fn file_name(name: SnapshotName) -> String {
    let SnapshotName { index, term, bytes, checksum } = name;
    format!("{index:016x}-{term:016x}-{bytes:016x}-{checksum:08x}{SUFFIX}")
}

impl Incoming {
    /// Begins to take a snapshot, or goes on where an earlier process ended. One at a time: what is there of another one is
    /// dropped.
    ///
    /// # Errors
    /// [`LogError::Full`], and nothing was changed; [`LogError::Io`].
    pub(crate) fn begin(store: &SnapshotStore, name: SnapshotName) -> Result<Incoming, LogError> {
        let (files, directory) = (&**store.files(), store.directory());
        files.create_directory(directory).map_err(LogError::io("make", directory))?;
        let path = directory.join(file_name(name));
        let mut known = false;
        for other in files.list(directory).map_err(LogError::io("list", directory))? {
            if other.ends_with(SUFFIX) && directory.join(&other) != path {
                let other = directory.join(&other);
                files.remove(&other).map_err(LogError::io("remove", &other))?;
            }
            known |= path.ends_with(&other);
        }
        let file = match known {
            true => files.open(&path).map_err(LogError::io("open", &path))?,
            false => files.create(&path).map_err(LogError::growing(&path, 0))?,
        };
        let mut bytes = file.len().map_err(LogError::io("read", &path))?;
        if bytes >= name.bytes {
            // An earlier process had it whole, and may have failed to sync it: then nobody knows what of it is on the disk, and
            // another sync would say nothing of that.
            file.set_len(0).map_err(LogError::io("shorten", &path))?;
            bytes = 0;
        }
        Ok(Incoming { name, path, file, bytes })
    }

    /// How many bytes are here, from the first on.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds the bytes from `offset` on. What does not come next is left out.
    ///
    /// # Errors
    /// [`LogError::Full`], and nothing was changed; [`LogError::Io`].
    pub(crate) fn put(&mut self, offset: u64, bytes: &[u8]) -> Result<(), LogError> {
        let end = offset.saturating_add(bytes.len() as u64);
        if offset != self.bytes || end > self.name.bytes {
            return Ok(());
        }
        let written = self.file.write_at(bytes, offset);
        if let Err(error) = written.map_err(LogError::growing(&self.path, bytes.len() as u64)) {
            if error.is_harmless() {
                self.file.set_len(self.bytes).map_err(LogError::io("shorten", &self.path))?;
            }
            return Err(error);
        }
        self.bytes = end;
        Ok(())
    }

    /// Syncs and verifies it, and gives it its name, durably. It counts from [`SnapshotStore::installed`] on.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] (or [`LogError::Version`]): it is not the snapshot that was sent, and was dropped.
    /// [`LogError::Io`].
    pub(crate) fn finish(self, store: &SnapshotStore) -> Result<About, LogError> {
        let files = &**store.files();
        self.file.sync_data().map_err(LogError::io("sync", &self.path))?;
        let verified = SnapshotReader::open(files, &self.path).and_then(|mut reader| {
            let name = reader.verify()?;
            Ok((name, reader.about().clone()))
        });
        let error = match verified {
            Ok((name, about)) if name == self.name => {
                store.arrived(&self.path, Kept { name, about: about.clone() })?;
                return Ok(about);
            }
            Ok(_) => LogError::corrupt(&self.path, 0, "it is another snapshot than the one that was offered"),
            Err(error) => error,
        };
        if error.is_damage() {
            files.remove(&self.path).map_err(LogError::io("remove", &self.path))?;
        }
        Err(error)
    }
}
