//! The seam between Boat and its disk: every system call that touches a data directory goes through [`Files`].
//!
//! [`RealFiles`] is the disk, [`ReadOnlyFiles`] the same for those who only look, [`MemoryFiles`] one that ends with the
//! process. `SimFiles` (feature `sim`) is a disk in memory that loses what was not synced, tears writes
//! and fails calls on demand.

use std::fmt::Debug;
use std::io;
use std::path::Path;

mod memory;
mod read_only;
mod real;
#[cfg(any(test, feature = "sim"))]
mod sim;

pub use memory::MemoryFiles;
pub use read_only::ReadOnlyFiles;
pub use real::RealFiles;
#[cfg(any(test, feature = "sim"))]
pub use sim::{CallKind, Fault, SimFiles};

/// A file system.
///
/// # Contract
/// - What a directory lists (creations, renames, removals) is durable only after [`Files::sync_directory`] of it.
/// - `rename` replaces what stood under the new name, and a crash leaves one or the other.
/// - A call that fails may have had its effect or not, in part or whole.
pub trait Files: Send + Sync + Debug {
    /// Makes an empty file, or empties the one that is there, and opens it for reading and writing.
    ///
    /// # Errors
    /// What the file system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Opens a file that exists for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if it does not exist; else what the file system says.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Gives a file or a directory another name in the same file system.
    ///
    /// # Errors
    /// What the file system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if it does not exist; else what the file system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is no such directory; else what the file system says.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// Makes a directory, and those above it that are missing, durably. One that is there already is no error.
    ///
    /// # Errors
    /// What the file system says.
    fn create_directory(&self, directory: &Path) -> io::Result<()>;

    /// Makes what the directory lists durable.
    ///
    /// # Errors
    /// What the file system says.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;

    /// How many bytes may still be written in the file system that holds `directory`.
    ///
    /// # Errors
    /// What the file system says.
    fn free_bytes(&self, directory: &Path) -> io::Result<u64>;

    /// Whether a call may wait for a device, so that it should not be made where others wait for the calling thread.
    /// Default: yes.
    fn may_wait(&self) -> bool {
        true
    }
}

/// An open file. Calls may come from several threads at once; offsets are in bytes from its start.
pub trait File: Send + Sync + Debug {
    /// Reads until `buffer` is full or the file ends, and says how much was read.
    ///
    /// # Errors
    /// What the file system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes`, growing the file where it must.
    ///
    /// # Errors
    /// What the file system says; some part may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Writes `count` zeros, growing the file where it must. Writing there later needs no further space, and syncing it
    /// no further bookkeeping of the file system.
    ///
    /// # Errors
    /// What the file system says ([`is_full`] when there is no space); some part may have been written.
    fn allocate(&self, offset: u64, count: u64) -> io::Result<()>;

    /// Makes everything that was written durable, and the file's length with it (`fdatasync`).
    ///
    /// # Errors
    /// What the file system says. What was written before may then be lost even if a later call succeeds.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts the file, or makes it longer with zeros.
    ///
    /// # Errors
    /// What the file system says.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// How long the file is.
    ///
    /// # Errors
    /// What the file system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file holds nothing.
    ///
    /// # Errors
    /// What the file system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Whether an error says that no space is left: on the disk, or within a quota.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Makes `path` hold exactly `bytes`, durably: after a crash it holds what it held before, or `bytes`, never a part.
///
/// The bytes go to a temporary beside it (`NAME.tmp`), which is synced and renamed; then the directory is synced.
///
/// # Errors
/// What the file system says. The temporary is then removed, where that is still possible.
pub fn write_file_atomically(files: &dyn Files, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let temporary = temporary_of(path);
    let written = files.create(&temporary).and_then(|file| {
        file.write_at(bytes, 0)?;
        file.sync_data()
    });
    if let Err(error) = written.and_then(|()| files.rename(&temporary, path)) {
        // The first error is the one to report; a temporary that stays is overwritten next time.
        let _ = files.remove(&temporary);
        return Err(error);
    }
    files.sync_directory(directory)
}

/// All of a file.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] if there is none, [`io::ErrorKind::InvalidData`] if it is longer than `bytes_max`; else
/// what the file system says.
pub fn read_file(files: &dyn Files, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let file = files.open(path)?;
    let too_long = || io::Error::new(io::ErrorKind::InvalidData, format!("longer than {bytes_max} bytes"));
    let count = usize::try_from(file.len()?).ok().filter(|count| *count <= bytes_max).ok_or_else(too_long)?;
    let mut bytes = vec![0; count];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Where a file is written before it gets its name: `NAME.tmp`.
pub(crate) fn temporary_of(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY_SUFFIX);
    name.into()
}

/// How the names of temporaries end.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";
