//! How the log fails.

use std::io;
use std::path::{Path, PathBuf};

use super::Watermark;
use super::files::is_full;
use super::format::segment;

/// Why a call on the log failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The file system failed. The node must stop: what was written last may be lost, now or later.
    #[error("could not {action} {}: {source}", file.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file or directory.
        file: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// No space was left to allocate ahead. Nothing was written, the log goes on, and the same call may succeed later.
    #[error("the disk is full: {} could not grow by {bytes} bytes", file.display())]
    Full {
        /// The file that could not grow.
        file: PathBuf,
        /// By how much it was to grow.
        bytes: u64,
    },
    /// Bytes that were synced are not what was written.
    #[error("{} is corrupt at byte {offset}: {why}", file.display())]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Where the damaged part begins, in bytes.
        offset: u64,
        /// What is wrong there.
        why: &'static str,
    },
    /// A file was written by a version of Boat that this one does not know.
    #[error("{} has format version {found}; this program reads version {known}", file.display())]
    Version {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The version that is known.
        known: u32,
    },
    /// The log holds less than it once had synced: its disk lost writes, or an old copy was put in its place.
    #[error("the log in {} went back in time: it had synced {watermark}, and holds {found}", directory.display())]
    Regressed {
        /// The log's directory.
        directory: PathBuf,
        /// What had been synced.
        watermark: Watermark,
        /// What is there.
        found: Watermark,
    },
    /// An earlier write or sync failed, so nothing may be written any more.
    #[error("the log stopped at an earlier failure: {0}")]
    Poisoned(String),
    /// The write breaks a rule of the log. Nothing was written, and the log goes on.
    #[error("refused to write to the log: {0}")]
    Refused(&'static str),
    /// Entries were asked for that the log does not hold.
    #[error(
        "entries {low} to {high} (exclusive) are not all in the log, which holds {first_index} to {last_index}"
    )]
    OutOfRange {
        /// The first index asked for.
        low: u64,
        /// The index behind the last one asked for.
        high: u64,
        /// The first index that is there.
        first_index: u64,
        /// The last index that is there.
        last_index: u64,
    },
}

impl LogError {
    /// Turns an error of the file system into one that says what was being done to `file`.
    pub(crate) fn io<'a>(action: &'static str, file: &'a Path) -> impl FnOnce(io::Error) -> LogError + 'a {
        move |source| LogError::Io { action, file: file.to_owned(), source }
    }

    /// Like [`LogError::io`] for growing `file` by `bytes`: a full disk is told apart.
    pub(crate) fn growing<'a>(file: &'a Path, bytes: u64) -> impl FnOnce(io::Error) -> LogError + 'a {
        move |source| match is_full(&source) {
            true => LogError::Full { file: file.to_owned(), bytes },
            false => LogError::Io { action: "allocate", file: file.to_owned(), source },
        }
    }

    pub(crate) fn corrupt(file: &Path, offset: u64, why: &'static str) -> LogError {
        LogError::Corrupt { file: file.to_owned(), offset, why }
    }

    /// Whether what is on the disk is not what was written, rather than that it could not be read or written.
    pub fn is_damage(&self) -> bool {
        matches!(self, LogError::Corrupt { .. } | LogError::Version { .. } | LogError::Regressed { .. })
    }

    /// The damaged file, and from which byte on; where the log went back in time, the place at which it ends.
    pub(crate) fn place(&self) -> Option<(PathBuf, u64)> {
        match self {
            LogError::Corrupt { file, offset, .. } => Some((file.clone(), *offset)),
            LogError::Version { file, .. } => Some((file.clone(), 0)),
            LogError::Regressed { directory, found, .. } if found.segment > 0 => {
                Some((segment::path(directory, found.segment), found.segment_bytes))
            }
            LogError::Regressed { directory, .. } => Some((directory.clone(), 0)),
            _ => None,
        }
    }

    /// Whether what was synced is not there any more: the directory must not be used under its identity again. A version
    /// that is not known is none of that: another program may read it.
    pub fn is_loss(&self) -> bool {
        matches!(self, LogError::Corrupt { .. } | LogError::Regressed { .. })
    }

    /// Whether the log goes on as if the call had not been made.
    pub fn is_harmless(&self) -> bool {
        matches!(self, LogError::Full { .. } | LogError::Refused(_) | LogError::OutOfRange { .. })
    }
}
