//! The state of a simulated disk, and what single calls do to it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::calls::{CallKind, Fault};
use super::change::{Change, NameChange, put};

#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) contents: BTreeMap<u64, Content>,
    pub(super) names: BTreeMap<PathBuf, u64>,
    pub(super) names_synced: BTreeMap<PathBuf, u64>,
    pub(super) names_unsynced: Vec<NameChange>,
    pub(super) directories: BTreeSet<PathBuf>,
    pub(super) next_content: u64,
    /// Handles of an earlier life fail.
    pub(super) life: u64,
    pub(super) stopped: bool,
    pub(super) calls: BTreeMap<CallKind, u64>,
    pub(super) armed: Option<(CallKind, u64, Fault)>,
    pub(super) bytes_max: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) now: Vec<u8>,
    pub(super) synced: Vec<u8>,
    pub(super) unsynced: Vec<Change>,
}

pub(super) fn stopped() -> io::Error {
    io::Error::other("the simulated machine has stopped")
}

impl Disk {
    pub(super) fn restart(&mut self) {
        self.life += 1;
        self.stopped = false;
        self.armed = None;
        let named = self.names.values().chain(self.names_synced.values()).copied();
        // A loss of power may bring back a name whose end was not synced.
        let unsynced = self.names_unsynced.iter().filter_map(NameChange::content);
        let used: BTreeSet<u64> = named.chain(unsynced).collect();
        self.contents.retain(|id, _| used.contains(id));
    }

    /// Counts a call and says which fault strikes it.
    pub(super) fn call(&mut self, kind: CallKind) -> io::Result<Option<Fault>> {
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
    pub(super) fn plain<T>(
        &mut self,
        kind: CallKind,
        act: impl FnOnce(&mut Disk) -> io::Result<T>,
    ) -> io::Result<T> {
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

    pub(super) fn content(&mut self, id: u64) -> io::Result<&mut Content> {
        self.contents.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn bytes(&self) -> u64 {
        let named = self.names.values().filter_map(|id| self.contents.get(id));
        named.map(|content| content.now.len() as u64).sum()
    }

    pub(super) fn write(&mut self, id: u64, bytes: &[u8], offset: u64, kind: CallKind) -> io::Result<()> {
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

    pub(super) fn put(&mut self, id: u64, bytes: &[u8], offset: usize) -> io::Result<()> {
        let content = self.content(id)?;
        put(&mut content.now, offset, bytes);
        content.unsynced.push(Change::Write { offset, bytes: bytes.to_vec() });
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
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
pub(super) fn trim(path: PathBuf) -> PathBuf {
    path.components().collect()
}
