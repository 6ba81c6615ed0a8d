//! Why a directory could not be looked at.

use std::io;
use std::path::{Path, PathBuf};

use crate::Malformed;
use crate::directory::ReadError;
use crate::log::LogError;

/// Why a directory, or a part of it, could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// Nothing of a node stands there.
    #[error("{} is no data directory: it holds neither an identity nor a genesis nor a log", .0.display())]
    NoDirectory(PathBuf),
    /// A node runs in it.
    #[error("data directory {} is in use: a node runs in it; stop that first", .0.display())]
    InUse(PathBuf),
    /// The file system failed.
    #[error("could not read {}: {source}", file.display())]
    Io {
        /// Which file.
        file: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// A file beside the log is not what was written.
    #[error("{} is corrupt: {why}", file.display())]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        why: Malformed,
    },
    /// The log could not be read, or not on.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A committed entry carries no command that this program knows.
    #[error("entry {index} cannot be read: {why}")]
    Entry {
        /// Which entry.
        index: u64,
        /// What is wrong with it.
        why: Malformed,
    },
    /// Positions cannot be found.
    #[error("positions are not known: {0}")]
    NoPositions(&'static str),
}

impl InspectError {
    pub(super) fn io(file: &Path) -> impl FnOnce(io::Error) -> InspectError + '_ {
        move |source| InspectError::Io { file: file.to_owned(), source }
    }

    pub(super) fn reading(file: &Path) -> impl FnOnce(ReadError) -> InspectError + '_ {
        move |error| match error {
            ReadError::Io(source) => InspectError::Io { file: file.to_owned(), source },
            ReadError::Malformed(why) => InspectError::Damaged { file: file.to_owned(), why },
        }
    }

    /// Whether what was read is wrong, rather than that it could not be read.
    pub fn is_damage(&self) -> bool {
        match self {
            InspectError::Damaged { .. } | InspectError::Entry { .. } => true,
            InspectError::Log(error) => error.is_damage(),
            _ => false,
        }
    }

    /// The exit status for a process that ends because of this error: 2 damage, 64 no data directory, 74 the file system
    /// failed, 75 in use, 70 else (after BSD's `sysexits.h`, as [`Error::exit_status`](crate::Error::exit_status)).
    pub fn exit_status(&self) -> u8 {
        match self {
            error if error.is_damage() => 2,
            InspectError::NoDirectory(_) => 64,
            InspectError::InUse(_) => 75,
            InspectError::Io { .. } | InspectError::Log(LogError::Io { .. }) => 74,
            _ => 70,
        }
    }
}
