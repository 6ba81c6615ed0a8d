//! A disk in memory that crashes, tears and fails on demand, the same way for the same seed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{File, Files};

/// What a disk may lose less than: writes are torn at multiples of this.
const SECTOR_BYTES: usize = 512;

/// The kinds of calls that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallKind {
    /// [`Files::create`].
    Create,
    /// [`Files::open`].
    Open,
    /// [`Files::rename`].
    Rename,
    /// [`Files::remove`].
    Remove,
    /// [`Files::list`].
    List,
    /// [`Files::create_directory`].
    CreateDirectory,
    /// [`Files::sync_directory`].
    SyncDirectory,
    /// [`Files::free_bytes`].
    FreeBytes,
    /// [`File::read_at`].
    Read,
    /// [`File::write_at`].
    Write,
    /// [`File::allocate`].
    Allocate,
    /// [`File::sync_data`].
    SyncData,
    /// [`File::set_len`].
    SetLen,
    /// [`File::len`].
    Len,
}

impl CallKind {
    /// Every kind.
    pub const ALL: [CallKind; 14] = [
        CallKind::Create,
        CallKind::Open,
        CallKind::Rename,
        CallKind::Remove,
        CallKind::List,
        CallKind::CreateDirectory,
        CallKind::SyncDirectory,
        CallKind::FreeBytes,
        CallKind::Read,
        CallKind::Write,
        CallKind::Allocate,
        CallKind::SyncData,
        CallKind::SetLen,
        CallKind::Len,
    ];
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An input/output error; the call has no effect.
    Error,
    /// An error after half of the bytes were written. For calls that write nothing, the same as [`Fault::Error`].
    Short,
    /// No space is left; half of the bytes were written.
    Full,
    /// The machine stops before the call: it and every later call fails until [`SimFiles::crash`].
    StopBefore,
    /// The machine stops after the call.
    StopAfter,
}

/// A file system in memory. Clones share it.
///
/// It keeps what was synced apart from what was only written, for contents and for directory entries, so that
/// [`SimFiles::crash`] can lose and tear the rest. Every random choice comes from the seed that the caller gives.
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

#[derive(Debug, Default)]
struct Disk {
    contents: BTreeMap<u64, Content>,
    names: BTreeMap<PathBuf, u64>,
    names_synced: BTreeMap<PathBuf, u64>,
    names_unsynced: Vec<NameChange>,
    directories: BTreeSet<PathBuf>,
    next_content: u64,
    /// Handles of an earlier life fail.
    life: u64,
    stopped: bool,
    calls: BTreeMap<CallKind, u64>,
    armed: Option<(CallKind, u64, Fault)>,
    bytes_max: Option<u64>,
}

#[derive(Debug, Default)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

#[derive(Debug, Clone)]
enum NameChange {
    Put(PathBuf, u64),
    Move(PathBuf, PathBuf, u64),
    Gone(PathBuf),
}

#[derive(Debug)]
struct SimFile {
    disk: SimFiles,
    content: u64,
    life: u64,
}

impl Change {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes } => put(image, *offset, bytes),
            Change::SetLen(count) => image.resize(*count, 0),
        }
    }

    /// Applies a random part, or all, or nothing.
    fn apply_torn(&self, image: &mut Vec<u8>, random: &mut ChaCha8Rng) {
        let whole = random.gen_bool(0.4);
        match self {
            _ if whole => self.apply(image),
            Change::Write { offset, bytes } if random.gen_bool(0.7) => {
                if random.gen_bool(0.3) {
                    let kept = random.gen_range(0..=bytes.len());
                    put(image, *offset, bytes.get(..kept).unwrap_or(bytes));
                } else {
                    put_sectors(image, *offset, bytes, random);
                }
            }
            _ => {}
        }
    }
}

/// Writes a random choice of the disk sectors that `bytes` covers.
fn put_sectors(image: &mut Vec<u8>, offset: usize, bytes: &[u8], random: &mut ChaCha8Rng) {
    let mut at = 0;
    while at < bytes.len() {
        let end = bytes.len().min(at + SECTOR_BYTES - (offset + at) % SECTOR_BYTES);
        if random.gen_bool(0.5) {
            put(image, offset + at, bytes.get(at..end).unwrap_or_default());
        }
        at = end;
    }
}

fn put(image: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if image.len() < offset + bytes.len() {
        image.resize(offset + bytes.len(), 0);
    }
    if let Some(place) = image.get_mut(offset..offset + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            NameChange::Put(path, content) => {
                names.insert(path, content);
            }
            NameChange::Move(from, to, content) => {
                names.remove(&from);
                names.insert(to, content);
            }
            NameChange::Gone(path) => {
                names.remove(&path);
            }
        }
    }

    fn in_directory(&self, directory: &Path) -> bool {
        match self {
            NameChange::Put(path, _) | NameChange::Gone(path) => path.parent() == Some(directory),
            NameChange::Move(from, to, _) => {
                from.parent() == Some(directory) || to.parent() == Some(directory)
            }
        }
    }
}

fn stopped() -> io::Error {
    io::Error::other("the simulated machine has stopped")
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

    /// Limits the bytes of all files together; `None` for no limit. What grows past it meets a full disk.
    pub fn set_bytes_max(&self, bytes_max: Option<u64>) {
        self.disk().bytes_max = bytes_max;
    }

    /// The bytes that a reader of `path` sees now.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = self.disk();
        disk.names.get(path).and_then(|content| disk.contents.get(content)).map(|content| content.now.clone())
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

impl Disk {
    fn restart(&mut self) {
        self.life += 1;
        self.stopped = false;
        self.armed = None;
        let used: BTreeSet<u64> = self.names.values().chain(self.names_synced.values()).copied().collect();
        self.contents.retain(|id, _| used.contains(id));
    }

    /// Counts a call and says which fault strikes it.
    fn call(&mut self, kind: CallKind) -> io::Result<Option<Fault>> {
        if self.stopped {
            return Err(stopped());
        }
        let count = self.calls.entry(kind).or_insert(0);
        let this = *count;
        *count += 1;
        let fault =
            self.armed.filter(|(armed, at, _)| (*armed, *at) == (kind, this)).map(|(_, _, fault)| fault);
        if fault.is_some() {
            self.armed = None;
        }
        match fault {
            Some(Fault::StopBefore) => {
                self.stopped = true;
                Err(stopped())
            }
            other => Ok(other),
        }
    }

    /// Carries out a call that writes no bytes.
    fn plain<T>(&mut self, kind: CallKind, act: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        match self.call(kind)? {
            None => act(self),
            Some(Fault::StopAfter) => {
                act(self)?;
                self.stopped = true;
                Err(stopped())
            }
            Some(Fault::Full) => Err(io::ErrorKind::StorageFull.into()),
            Some(_) => Err(io::Error::other("a simulated fault")),
        }
    }

    fn content(&mut self, id: u64) -> io::Result<&mut Content> {
        self.contents.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn bytes(&self) -> u64 {
        let named = self.names.values().filter_map(|id| self.contents.get(id));
        named.map(|content| content.now.len() as u64).sum()
    }

    fn write(&mut self, id: u64, bytes: &[u8], offset: u64, kind: CallKind) -> io::Result<()> {
        let fault = self.call(kind)?;
        let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        let grows = (offset + bytes.len()).saturating_sub(self.content(id)?.now.len()) as u64;
        let full = self.bytes_max.is_some_and(|bytes_max| grows > 0 && self.bytes() + grows > bytes_max);
        match fault {
            Some(Fault::Error) => Err(io::Error::other("a simulated fault")),
            Some(Fault::Short) => {
                self.put(id, half, offset)?;
                Err(io::ErrorKind::WriteZero.into())
            }
            fault if full || fault == Some(Fault::Full) => {
                self.put(id, half, offset)?;
                Err(io::ErrorKind::StorageFull.into())
            }
            fault => {
                self.put(id, bytes, offset)?;
                self.stopped = fault == Some(Fault::StopAfter);
                if self.stopped { Err(stopped()) } else { Ok(()) }
            }
        }
    }

    fn put(&mut self, id: u64, bytes: &[u8], offset: usize) -> io::Result<()> {
        let content = self.content(id)?;
        put(&mut content.now, offset, bytes);
        content.unsynced.push(Change::Write { offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if let Some(content) = self.names.remove(from) {
            self.names.insert(to.to_owned(), content);
            self.names_unsynced.push(NameChange::Move(from.to_owned(), to.to_owned(), content));
            return Ok(());
        }
        if !self.directories.contains(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        // A directory: its own name is what changes, so what it holds moves in one step, durably.
        let moved =
            |path: &PathBuf| path.strip_prefix(from).map_or_else(|_| path.clone(), |rest| to.join(rest));
        self.directories = self.directories.iter().map(moved).map(trim).collect();
        self.names = self.names.iter().map(|(path, id)| (moved(path), *id)).collect();
        self.names_synced = self.names_synced.iter().map(|(path, id)| (moved(path), *id)).collect();
        for change in &mut self.names_unsynced {
            *change = match change {
                NameChange::Put(path, id) => NameChange::Put(moved(path), *id),
                NameChange::Move(a, b, id) => NameChange::Move(moved(a), moved(b), *id),
                NameChange::Gone(path) => NameChange::Gone(moved(path)),
            };
        }
        Ok(())
    }
}

/// `join("")` leaves a slash behind.
fn trim(path: PathBuf) -> PathBuf {
    path.components().collect()
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
        self.disk()?.plain(CallKind::SyncData, |disk| {
            let content = disk.content(self.content)?;
            for change in std::mem::take(&mut content.unsynced) {
                change.apply(&mut content.synced);
            }
            Ok(())
        })
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
