//! A disk in memory that crashes, tears and fails on demand, the same way for the same seed.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{File, Files};
use change::Change;
use change::NameChange;
use disk::{Content, Disk, stopped};

mod calls;
mod change;
mod disk;

pub use calls::{CallKind, Fault};

/// A file system in memory. Clones share it.
///
/// It keeps what was synced apart from what was only written, for contents and for directory entries, so that
/// [`SimFiles::crash`] can lose and tear the rest. A sync that fails drops what it should have made durable: it stays
/// readable, but a later sync does not carry it ([why](https://wiki.postgresql.org/wiki/Fsync_Errors)). Every random choice comes from the seed that the caller gives.
///
/// ```
/// # use boat_core::log::files::{Files, SimFiles, read_file};
/// # use std::path::Path;
/// let disk = SimFiles::new();
/// disk.create_directory(Path::new("d"))?;
/// let file = disk.create(Path::new("d/x"))?;
/// file.write_at(b"synced", 0)?;
/// file.sync_data()?;
/// disk.sync_directory(Path::new("d"))?;
/// file.write_at(b"not", 6)?;
/// disk.crash(7);
/// assert!(read_file(&disk, Path::new("d/x"), 100)?.starts_with(b"synced"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct SimFiles(Arc<Mutex<Disk>>);

#[derive(Debug)]
struct SimFile {
    disk: SimFiles,
    content: u64,
    life: u64,
}

impl SimFiles {
    /// An empty disk without limit.
    pub fn new() -> Self {
        SimFiles::default()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loses power: what was synced stays, of the rest a random part does. Open files are closed, faults disarmed.
    pub fn crash(&self, seed: u64) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut disk = self.disk();
        for content in disk.contents.values_mut() {
            for change in std::mem::take(&mut content.unsynced) {
                change.apply_torn(&mut content.synced, &mut random);
            }
            content.now.clone_from(&content.synced);
        }
        let mut names = std::mem::take(&mut disk.names_synced);
        for change in std::mem::take(&mut disk.names_unsynced) {
            if random.gen_bool(0.5) {
                change.apply(&mut names);
            }
        }
        disk.names_synced = names.clone();
        disk.names = names;
        disk.restart();
    }

    /// The system has had the time to write everything back: all that a reader sees is there after any crash.
    pub(crate) fn write_back(&self) {
        let mut disk = self.disk();
        for content in disk.contents.values_mut() {
            content.synced.clone_from(&content.now);
            content.unsynced.clear();
        }
        disk.names_synced = disk.names.clone();
        disk.names_unsynced.clear();
    }

    /// Kills the process but not the machine: everything that was written stays. Open files are closed, faults disarmed.
    pub fn kill(&self) {
        self.disk().restart();
    }

    /// Makes the `nth` call of `kind` from now on (counted from 0) fail, once.
    pub fn fail(&self, kind: CallKind, nth: u64, fault: Fault) {
        let mut disk = self.disk();
        let at = disk.calls.get(&kind).copied().unwrap_or(0) + nth;
        disk.armed = Some((kind, at, fault));
    }

    /// Whether the fault that was armed by [`SimFiles::fail`] has struck (or none was armed).
    pub fn has_failed(&self) -> bool {
        self.disk().armed.is_none()
    }

    /// How many calls of `kind` there have been.
    pub fn calls(&self, kind: CallKind) -> u64 {
        self.disk().calls.get(&kind).copied().unwrap_or(0)
    }

    /// The bytes of all files together.
    pub fn bytes(&self) -> u64 {
        self.disk().bytes()
    }

    /// Limits the bytes of all files together; `None` for no limit. What grows past it meets a full disk.
    pub fn set_bytes_max(&self, bytes_max: Option<u64>) {
        self.disk().bytes_max = bytes_max;
    }

    /// The bytes that a reader of `path` sees now.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = self.disk();
        disk.names.get(path).and_then(|content| disk.contents.get(content)).map(|content| content.now.clone())
    }

    /// The bytes of the file at `path` that would be there after any crash.
    pub fn synced(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = self.disk();
        let content = disk.names_synced.get(path).and_then(|content| disk.contents.get(content));
        content.map(|content| content.synced.clone())
    }

    /// Puts other bytes under `path`, synced, as bit rot or a bad restore would.
    pub fn set_contents(&self, path: &Path, bytes: Vec<u8>) {
        let mut disk = self.disk();
        let id = disk.next_content;
        disk.next_content += 1;
        disk.contents.insert(id, Content { now: bytes.clone(), synced: bytes, unsynced: Vec::new() });
        disk.names.insert(path.to_owned(), id);
        disk.names_synced.insert(path.to_owned(), id);
    }

    /// A disk of its own with everything that this one holds, synced: a backup.
    #[must_use]
    pub fn copy(&self) -> SimFiles {
        let disk = self.disk();
        let copy_content = |content: &Content| Content {
            now: content.now.clone(),
            synced: content.now.clone(),
            unsynced: Vec::new(),
        };
        SimFiles(Arc::new(Mutex::new(Disk {
            contents: disk.contents.iter().map(|(id, content)| (*id, copy_content(content))).collect(),
            names: disk.names.clone(),
            names_synced: disk.names.clone(),
            directories: disk.directories.clone(),
            next_content: disk.next_content,
            ..Disk::default()
        })))
    }

    fn handle(&self, disk: &Disk, content: u64) -> Box<dyn File> {
        Box::new(SimFile { disk: self.clone(), content, life: disk.life })
    }
}

impl Files for SimFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut disk = self.disk();
        let id = disk.plain(CallKind::Create, |disk| {
            let directory = path.parent().unwrap_or(Path::new(""));
            if !directory.as_os_str().is_empty() && !disk.directories.contains(directory) {
                return Err(io::ErrorKind::NotFound.into());
            }
            if let Some(id) = disk.names.get(path).copied() {
                let content = disk.content(id)?;
                content.now.clear();
                content.unsynced.push(Change::SetLen(0));
                return Ok(id);
            }
            let id = disk.next_content;
            disk.next_content += 1;
            disk.contents.insert(id, Content::default());
            disk.names.insert(path.to_owned(), id);
            disk.names_unsynced.push(NameChange::Put(path.to_owned(), id));
            Ok(id)
        })?;
        Ok(self.handle(&disk, id))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut disk = self.disk();
        let found =
            |disk: &mut Disk| disk.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into());
        let id = disk.plain(CallKind::Open, found)?;
        Ok(self.handle(&disk, id))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk().plain(CallKind::Rename, |disk| disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk().plain(CallKind::Remove, |disk| {
            disk.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
            disk.names_unsynced.push(NameChange::Gone(path.to_owned()));
            Ok(())
        })
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.disk().plain(CallKind::List, |disk| {
            if !disk.directories.contains(directory) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let inside =
                disk.names.keys().chain(&disk.directories).filter(|path| path.parent() == Some(directory));
            let names = inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
            Ok(names.collect::<BTreeSet<_>>().into_iter().collect())
        })
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        self.disk().plain(CallKind::CreateDirectory, |disk| {
            let all = directory.ancestors().filter(|path| !path.as_os_str().is_empty());
            disk.directories.extend(all.map(Path::to_owned));
            Ok(())
        })
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.disk().plain(CallKind::SyncDirectory, |disk| {
            let unsynced = std::mem::take(&mut disk.names_unsynced);
            for change in unsynced {
                if change.in_directory(directory) {
                    change.apply(&mut disk.names_synced);
                } else {
                    disk.names_unsynced.push(change);
                }
            }
            Ok(())
        })
    }

    fn free_bytes(&self, _directory: &Path) -> io::Result<u64> {
        self.disk().plain(CallKind::FreeBytes, |disk| {
            Ok(disk.bytes_max.map_or(u64::MAX, |bytes_max| bytes_max.saturating_sub(disk.bytes())))
        })
    }
}

impl SimFile {
    fn disk(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.disk.disk();
        if disk.life == self.life { Ok(disk) } else { Err(stopped()) }
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk()?.plain(CallKind::Read, |disk| {
            let content = disk.content(self.content)?;
            let from = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
            let rest = content.now.get(from..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            for (to, byte) in buffer.iter_mut().zip(rest) {
                *to = *byte;
            }
            Ok(count)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk()?.write(self.content, bytes, offset, CallKind::Write)
    }

    fn allocate(&self, offset: u64, count: u64) -> io::Result<()> {
        let count = usize::try_from(count).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.disk()?.write(self.content, &vec![0; count], offset, CallKind::Allocate)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk()?;
        let synced = disk.plain(CallKind::SyncData, |disk| {
            let content = disk.content(self.content)?;
            for change in std::mem::take(&mut content.unsynced) {
                change.apply(&mut content.synced);
            }
            Ok(())
        });
        if synced.is_err() && !disk.stopped {
            // As Linux does: readers still see what was written, but no later sync will carry it to the disk.
            disk.content(self.content)?.unsynced.clear();
        }
        synced
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.disk()?.plain(CallKind::SetLen, |disk| {
            let count = usize::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
            let content = disk.content(self.content)?;
            content.now.resize(count, 0);
            content.unsynced.push(Change::SetLen(count));
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.disk()?.plain(CallKind::Len, |disk| Ok(disk.content(self.content)?.now.len() as u64))
    }
}

#[cfg(test)]
mod tests;
