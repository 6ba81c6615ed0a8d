//! Which snapshots a node keeps.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{About, Frozen, SnapshotName, SnapshotReader};
use crate::log::LogError;
use crate::log::files::{Files, TEMPORARY_SUFFIX, temporary_of};

/// How many are kept: the newest, and the one before it for the case that the newest is damaged.
pub(crate) const SNAPSHOTS_KEPT: usize = 2;
const SUFFIX: &str = ".snapshot";

/// The snapshots of one directory.
#[derive(Debug)]
pub(crate) struct SnapshotStore {
    files: Arc<dyn Files>,
    directory: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Newest first.
    kept: Vec<Kept>,
    /// Came from another node, whole and durable, and is not installed yet.
    arrived: Option<Kept>,
    /// Snapshots of this node's own up to here hold a state that was wrong.
    wrong_up_to: u64,
}

/// A snapshot that is there, as far as its node knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) name: SnapshotName,
    pub(crate) about: About,
}

impl Known {
    fn newest(&self) -> Option<&Kept> {
        self.kept.iter().chain(&self.arrived).max_by_key(|kept| kept.name.index)
    }
}

/// The snapshot that a file name stands for, by its index.
pub(crate) fn index_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().filter(|index| *index > 0 && format!("{index:016x}") == digits)
}

/// The indexes of the snapshots in `directory`, newest first; empty where there is no such directory.
///
/// # Errors
/// [`LogError::Io`].
pub(crate) fn list(files: &dyn Files, directory: &Path) -> Result<Vec<u64>, LogError> {
    Ok(names(files, directory)?.iter().filter_map(|name| index_of(name)).rev().collect())
}

fn names(files: &dyn Files, directory: &Path) -> Result<Vec<String>, LogError> {
    match files.list(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(LogError::io("list", directory)),
    }
}

/// Where the snapshot as of `index` stands.
pub(crate) fn path(directory: &Path, index: u64) -> PathBuf {
    directory.join(format!("{index:016x}{SUFFIX}"))
}

impl SnapshotStore {
    /// Looks at what is in `directory`: the newest snapshot as of an entry in `covered` is read whole, and where it is
    /// damaged, the one before. Later ones than that were never taken for good, and are removed; so is what was not
    /// finished. With the store comes what a person should read.
    ///
    /// `covered` goes from the last entry that the log does not hold any more to the last that it knows to be committed.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] when the log does not hold its first entry any more, and no snapshot stands in for what was
    /// cut. [`LogError::Io`].
    pub(crate) fn open(
        files: Arc<dyn Files>,
        directory: &Path,
        covered: (u64, u64),
    ) -> Result<(SnapshotStore, Vec<String>), LogError> {
        for name in names(&*files, directory)?.iter().filter(|name| name.ends_with(TEMPORARY_SUFFIX)) {
            let path = directory.join(name);
            files.remove(&path).map_err(LogError::io("remove", &path))?;
        }
        let (mut kept, mut warnings) = (Vec::new(), Vec::new());
        for index in list(&*files, directory)? {
            let path = path(directory, index);
            if index > covered.1 {
                files.remove(&path).map_err(LogError::io("remove", &path))?;
            } else if index >= covered.0 && kept.len() < SNAPSHOTS_KEPT {
                match look(&*files, &path, kept.is_empty()) {
                    Ok(found) => kept.push(found),
                    Err(error) if error.is_damage() => warnings.push(format!("not used: {error}")),
                    Err(error) => return Err(error),
                }
            }
        }
        if kept.is_empty() && covered.0 > 0 {
            let why = "the log was cut, and no sound snapshot stands in for what was cut";
            return Err(LogError::corrupt(&path(directory, covered.0), 0, why));
        }
        let (directory, known) = (directory.to_owned(), Known { kept, ..Known::default() });
        Ok((SnapshotStore { files, directory, known: Mutex::new(known) }, warnings))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // What is known is changed after the files are, so it is sound whatever its holder panicked of.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept, newest first.
    pub(crate) fn kept(&self) -> Vec<Kept> {
        self.lock().kept.clone()
    }

    /// The newest that is kept.
    pub(crate) fn newest(&self) -> Option<SnapshotName> {
        self.lock().kept.first().map(|kept| kept.name)
    }

    /// Up to where the log may be cut: behind the older of two snapshots, for the case that the newest is damaged; 0 while there is
    /// no more than one.
    pub(crate) fn cut_to(&self) -> u64 {
        let known = self.lock();
        known.kept.last().filter(|_| known.kept.len() > 1).map_or(0, |oldest| oldest.name.index)
    }

    /// Drops all: the state that they hold, up to this entry, has proved to be wrong.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub(crate) fn forget(&self, index: u64) -> Result<(), LogError> {
        let mut known = self.lock();
        known.wrong_up_to = known.wrong_up_to.max(index);
        known.kept.clear();
        self.drop_others(&known)
    }

    /// Opens a snapshot to read it.
    ///
    /// # Errors
    /// As [`SnapshotReader::open`].
    pub(crate) fn reader(&self, index: u64) -> Result<SnapshotReader, LogError> {
        SnapshotReader::open(&*self.files, &path(&self.directory, index))
    }

    /// The file of a snapshot that is kept, for whoever sends it: it can be read as long as it is open, even if the snapshot
    /// is dropped meanwhile.
    ///
    /// # Errors
    /// [`LogError::Io`], where it was dropped already.
    pub(crate) fn file(&self, index: u64) -> Result<Arc<dyn crate::log::files::File>, LogError> {
        let path = path(&self.directory, index);
        Ok(self.files.open(&path).map_err(LogError::io("open", &path))?.into())
    }

    /// Writes a snapshot, keeps it as the newest, and drops those that are too many.
    ///
    /// # Errors
    /// [`LogError::Full`] or [`LogError::Refused`]: nothing was changed, and another one may succeed. [`LogError::Io`]: the
    /// node must stop.
    pub(crate) fn write(&self, frozen: Frozen) -> Result<Kept, LogError> {
        let (files, about) = (&*self.files, frozen.about.clone());
        files.create_directory(&self.directory).map_err(LogError::io("make", &self.directory))?;
        let path = path(&self.directory, about.index);
        let temporary = temporary_of(&path);
        let written = files.create(&temporary).and_then(|file| frozen.write_to(&*file));
        let (bytes, checksum) = written.map_err(|error| {
            // Whatever the removal says: the first error is the one to report, and opening removes what is left.
            let _ = files.remove(&temporary);
            refused_or_failed(&temporary, error)
        })?;
        let name = SnapshotName { index: about.index, term: about.term, bytes, checksum };
        self.publish(&temporary, Kept { name, about })
    }

    /// Gives a snapshot of this node's own its name, and keeps it. One that is older than what came from another node
    /// meanwhile is dropped.
    fn publish(&self, temporary: &Path, new: Kept) -> Result<Kept, LogError> {
        let mut known = self.lock();
        if let Some(newer) = known.newest().filter(|newest| newest.name.index >= new.name.index) {
            self.files.remove(temporary).map_err(LogError::io("remove", temporary))?;
            return Ok(newer.clone());
        }
        if new.name.index <= known.wrong_up_to {
            self.files.remove(temporary).map_err(LogError::io("remove", temporary))?;
            return Err(LogError::Refused("the state of a snapshot has proved to be wrong"));
        }
        self.rename(temporary, new.name.index)?;
        known.kept.insert(0, new.clone());
        known.kept.truncate(SNAPSHOTS_KEPT);
        self.drop_others(&known)?;
        Ok(new)
    }

    fn rename(&self, from: &Path, index: u64) -> Result<(), LogError> {
        let path = path(&self.directory, index);
        self.files.rename(from, &path).map_err(LogError::io("rename", from))?;
        self.files.sync_directory(&self.directory).map_err(LogError::io("sync", &self.directory))
    }

    /// A snapshot of another node is whole and durable: it gets its name.
    pub(super) fn arrived(&self, file: &Path, new: Kept) -> Result<(), LogError> {
        let mut known = self.lock();
        self.rename(file, new.name.index)?;
        known.arrived = Some(new);
        Ok(())
    }

    /// The snapshot of another node that arrived is what the log goes on from: all others are dropped, for the log between
    /// them and this one is gone. `None`: none arrived, or another one.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub(crate) fn installed(&self, index: u64) -> Result<Option<Kept>, LogError> {
        let mut known = self.lock();
        let Some(arrived) = known.arrived.take_if(|arrived| arrived.name.index == index) else {
            return Ok(None);
        };
        known.kept = vec![arrived.clone()];
        self.drop_others(&known)?;
        Ok(Some(arrived))
    }

    fn drop_others(&self, known: &Known) -> Result<(), LogError> {
        for index in list(&*self.files, &self.directory)? {
            let mut kept = known.kept.iter().chain(&known.arrived);
            if !kept.any(|kept| kept.name.index == index) {
                let path = path(&self.directory, index);
                self.files.remove(&path).map_err(LogError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    pub(super) fn files(&self) -> &Arc<dyn Files> {
        &self.files
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

pub(super) fn look(files: &dyn Files, path: &Path, whole: bool) -> Result<Kept, LogError> {
    let mut reader = SnapshotReader::open(files, path)?;
    let about = reader.about().clone();
    let mut name = SnapshotName { index: about.index, term: about.term, bytes: reader.bytes(), checksum: 0 };
    if whole {
        name = reader.verify()?;
    }
    match path.file_name().and_then(|file| index_of(file.to_str()?)) == Some(name.index) {
        true => Ok(Kept { name, about }),
        false => Err(LogError::corrupt(path, 0, "its name is another snapshot's")),
    }
}

/// A full disk, and a state that cannot be written, leave everything as it was.
fn refused_or_failed(path: &Path, error: io::Error) -> LogError {
    match error.kind() {
        _ if crate::log::files::is_full(&error) => LogError::Full { file: path.to_owned(), bytes: 0 },
        io::ErrorKind::InvalidData => LogError::Refused("the state cannot be written into a snapshot"),
        _ => LogError::io("write", path)(error),
    }
}
