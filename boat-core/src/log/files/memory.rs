//! Files that live in memory and end with the process: a cluster that keeps nothing, but otherwise is the real one.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::{File, Files};

/// Contents are kept in pieces of this size, so that a file that grows is never copied.
const PIECE_BYTES: usize = 256 << 10;

/// A file system in memory. Syncing costs nothing and promises nothing: what a node wrote here is gone with the last clone of
/// this value. For clusters in one process (tests, benches, models whose state need not outlive the program), through
/// [`NodeBuilder::files`](crate::NodeBuilder::files).
///
/// ```
/// use std::path::Path;
/// use boat_core::log::files::{Files, MemoryFiles};
///
/// let files = MemoryFiles::new();
/// files.create_directory(Path::new("a"))?;
/// files.create(Path::new("a/b"))?.write_at(b"hello", 2)?;
/// let mut read = [0; 9];
/// assert_eq!(files.open(Path::new("a/b"))?.read_at(&mut read, 0)?, 7);
/// assert_eq!(&read[..7], b"\0\0hello");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryFiles(Arc<Mutex<Tree>>);

#[derive(Debug, Default)]
struct Tree {
    files: BTreeMap<PathBuf, MemoryFile>,
    directories: BTreeSet<PathBuf>,
}

impl MemoryFiles {
    /// A file system that holds nothing.
    pub fn new() -> Self {
        MemoryFiles::default()
    }

    fn lock(&self) -> MutexGuard<'_, Tree> {
        // Entries are added and removed whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files for MemoryFiles {
    fn may_wait(&self) -> bool {
        false
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = self.lock().files.entry(path.to_owned()).or_default().clone();
        file.set_len(0)?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = self.lock().files.get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = self.lock();
        if let Some(file) = tree.files.remove(from) {
            tree.files.insert(to.to_owned(), file);
            return Ok(());
        }
        if !tree.directories.remove(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let moved = |path: &Path| path.strip_prefix(from).ok().map(|rest| to.join(rest));
        tree.directories = tree.directories.iter().map(|path| moved(path).unwrap_or(path.clone())).collect();
        tree.directories.insert(to.to_owned());
        let files = std::mem::take(&mut tree.files);
        tree.files = files.into_iter().map(|(path, file)| (moved(&path).unwrap_or(path), file)).collect();
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.lock().files.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let tree = self.lock();
        if !tree.directories.contains(directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let all = tree.files.keys().chain(&tree.directories);
        let within = all.filter(|path| path.parent() == Some(directory));
        let mut names: Vec<String> =
            within.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect();
        names.sort();
        Ok(names)
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        self.lock().directories.extend(directory.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn sync_directory(&self, _directory: &Path) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self, _directory: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

/// A file in memory: the same for all who opened it.
#[derive(Debug, Clone, Default)]
struct MemoryFile(Arc<RwLock<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    /// All of [`PIECE_BYTES`]; what is behind `bytes` is zero.
    pieces: Vec<Box<[u8]>>,
    bytes: usize,
}

/// An offset or a length, as memory counts.
fn in_memory(count: u64) -> io::Result<usize> {
    usize::try_from(count).map_err(|_| io::ErrorKind::StorageFull.into())
}

impl MemoryFile {
    fn change<T>(&self, act: impl FnOnce(&mut Contents) -> T) -> T {
        act(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Contents {
    fn grow(&mut self, bytes: usize) {
        self.bytes = self.bytes.max(bytes);
        let pieces = self.bytes.div_ceil(PIECE_BYTES);
        if pieces > self.pieces.len() {
            self.pieces.resize_with(pieces, || vec![0; PIECE_BYTES].into_boxed_slice());
        }
    }

    fn write(&mut self, bytes: &[u8], offset: usize) {
        self.grow(offset.saturating_add(bytes.len()));
        let (mut place, mut rest) = (offset, bytes);
        while let Some(piece) = self.pieces.get_mut(place / PIECE_BYTES).filter(|_| !rest.is_empty()) {
            let room = piece.get_mut(place % PIECE_BYTES..).unwrap_or_default();
            let count = room.len().min(rest.len());
            let (now, later) = rest.split_at(count);
            if let Some(room) = room.get_mut(..count) {
                room.copy_from_slice(now);
            }
            (place, rest) = (place + count, later);
        }
    }

    fn read(&self, buffer: &mut [u8], offset: usize) -> usize {
        let wanted = buffer.len().min(self.bytes.saturating_sub(offset));
        let mut read = 0;
        while read < wanted {
            let place = offset + read;
            let piece = self.pieces.get(place / PIECE_BYTES).map(AsRef::as_ref).unwrap_or_default();
            let here = piece.get(place % PIECE_BYTES..).unwrap_or_default();
            let count = here.len().min(wanted - read);
            match (buffer.get_mut(read..read + count), here.get(..count)) {
                (Some(room), Some(here)) if count > 0 => room.copy_from_slice(here),
                _ => break,
            }
            read += count;
        }
        read
    }

    fn set_len(&mut self, bytes: usize) {
        self.pieces.truncate(bytes.div_ceil(PIECE_BYTES));
        let kept = bytes % PIECE_BYTES;
        if bytes < self.bytes
            && kept > 0
            && let Some(behind) = self.pieces.last_mut().and_then(|piece| piece.get_mut(kept..))
        {
            behind.fill(0);
        }
        self.bytes = bytes;
        self.grow(bytes);
    }
}

impl File for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let contents = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Ok(contents.read(buffer, in_memory(offset)?))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = in_memory(offset)?;
        self.change(|contents| contents.write(bytes, offset));
        Ok(())
    }

    fn allocate(&self, offset: u64, count: u64) -> io::Result<()> {
        let (offset, count) = (in_memory(offset)?, in_memory(count)?);
        self.change(|contents| {
            let end = offset.saturating_add(count);
            let known = contents.bytes.clamp(offset, end);
            contents.grow(end);
            // What stands behind the former end is zero already.
            let zeros = [0; 4096];
            let mut place = offset;
            while place < known {
                let now = zeros.get(..zeros.len().min(known - place)).unwrap_or(&zeros);
                contents.write(now, place);
                place += now.len();
            }
        });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let bytes = in_memory(bytes)?;
        self.change(|contents| contents.set_len(bytes));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.read().unwrap_or_else(PoisonError::into_inner).bytes as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain vector: whatever is written, cut or filled, across pieces and behind the end.
        #[test]
        fn a_file_holds_what_was_written(
            steps in vec((0_u8..4, 0_usize..3 * PIECE_BYTES, 0_usize..PIECE_BYTES + 100), 1..12),
        ) {
            let (file, mut model) = (MemoryFile::default(), Vec::new());
            for (n, (step, offset, count)) in (1_u8..).zip(steps) {
                match step {
                    0 | 1 => {
                        let bytes = if step == 0 { vec![n; count] } else { vec![0; count] };
                        match step {
                            0 => file.write_at(&bytes, offset as u64).unwrap(),
                            _ => file.allocate(offset as u64, count as u64).unwrap(),
                        }
                        if count > 0 || step == 1 || offset > model.len() {
                            model.resize(model.len().max(offset + count), 0);
                        }
                        model[offset..offset + count].copy_from_slice(&bytes);
                    }
                    2 => {
                        file.set_len(offset as u64).unwrap();
                        model.resize(offset, 0);
                    }
                    _ => {
                        let mut read = vec![7; count];
                        let got = file.read_at(&mut read, offset as u64).unwrap();
                        let end = model.len().min(offset + count);
                        prop_assert_eq!(&read[..got], model.get(offset..end).unwrap_or_default());
                    }
                }
                prop_assert_eq!(file.len().unwrap(), model.len() as u64);
            }
            let mut whole = vec![7; model.len() + 1];
            prop_assert_eq!(file.read_at(&mut whole, 0).unwrap(), model.len());
            prop_assert_eq!(&whole[..model.len()], &model[..]);
        }
    }

    #[test]
    fn a_directory_is_renamed_with_what_is_in_it() {
        let files = MemoryFiles::new();
        files.create_directory(Path::new("a/log")).unwrap();
        files.create(Path::new("a/log/1")).unwrap().write_at(b"x", 0).unwrap();
        files.rename(Path::new("a/log"), Path::new("a/aside")).unwrap();
        assert_eq!(files.list(Path::new("a")).unwrap(), ["aside"]);
        assert_eq!(files.list(Path::new("a/aside")).unwrap(), ["1"]);
        assert_eq!(files.list(Path::new("a/log")).unwrap_err().kind(), io::ErrorKind::NotFound);
        files.remove(Path::new("a/aside/1")).unwrap();
        assert_eq!(files.open(Path::new("a/aside/1")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
