//! Looking at the data directory of a node that does not run: what it holds, which requests, and whether it is sound.
//!
//! Nothing is written: files are opened for reading only, the boot count stays, and nothing is repaired. While a
//! [`StoppedDirectory`] lives it shares the directory's lock with others who look; a node cannot start.
//!
//! ```
//! use boat_core::inspect::{StoppedDirectory, Verdict};
//! use boat_core::transport::local::LocalNetwork;
//! use boat_core::{Context, Model, Node};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Upper;
//!
//! impl Model for Upper {
//!     type Request = String;
//!     type Response = String;
//!     fn predict(&mut self, _: &Context, text: String) -> String {
//!         text.to_uppercase()
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let temporary = tempfile::tempdir()?;
//! # let path = temporary.path().join("boat-0");
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! runtime.block_on(async {
//!     let node = Node::builder(0).data_dir(&path).members("0=a:1".parse()?);
//!     let node = node.transport(LocalNetwork::new().transport()).start(Upper).await?;
//!     node.ready().await?;
//!     node.predict("hello".to_owned()).key("first").await?;
//!     node.shutdown().await?;
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//!
//! let stopped = StoppedDirectory::open(&path)?;
//! let requests = stopped.requests(1..=u64::MAX, |_| {})?.collect::<Result<Vec<_>, _>>()?;
//! assert_eq!(requests.len(), 1);
//! assert_eq!((requests[0].position, &requests[0].body[..]), (1, &b"\"hello\""[..]));
//! assert_eq!(stopped.verify(|_| {})?.verdict, Verdict::Sound);
//! # Ok(())
//! # }
//! ```

mod display;
mod error;
mod inspection;
mod record;
mod replay;
mod snapshots;
mod verification;
mod view;

use std::fs::{File, TryLockError};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::InspectError;
pub use record::RequestRecord;
pub use replay::Requests;
pub use snapshots::SnapshotView;
pub use verification::{Verdict, Verification};
pub use view::{
    GenesisView, HardStateView, IdentityView, Inspection, LogView, MemberView, MembershipView, SegmentView,
    TornTailView, WatermarkView,
};

use crate::directory;
use crate::log::StoppedLog;
use crate::log::files::ReadOnlyFiles;

/// The data directory of a node that does not run.
#[derive(Debug)]
pub struct StoppedDirectory {
    path: PathBuf,
    /// Held, not read. A copy of a directory may have none.
    _lock: Option<File>,
}

/// How far long work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// How many bytes of the log were read.
    pub bytes: u64,
    /// How many there are, about: some at the end may not have to be read.
    pub bytes_total: u64,
}

impl StoppedDirectory {
    /// Takes the directory at `path` for reading, until this is dropped. A directory that was set aside (`aside-0`) or
    /// copied can be read, too.
    ///
    /// # Errors
    /// [`InspectError::NoDirectory`] if nothing of a node stands there, [`InspectError::InUse`] while a node runs in it;
    /// [`InspectError::Io`].
    pub fn open(path: &Path) -> Result<Self, InspectError> {
        let there = [directory::IDENTITY, directory::GENESIS, directory::LOG];
        if !there.iter().any(|name| path.join(name).exists()) {
            return Err(InspectError::NoDirectory(path.to_owned()));
        }
        Ok(StoppedDirectory { path: path.to_owned(), _lock: lock(path)? })
    }

    /// The log.
    fn log(&self) -> Result<Option<StoppedLog>, crate::log::LogError> {
        StoppedLog::read(Arc::new(ReadOnlyFiles), &self.path.join(directory::LOG))
    }

    /// Says what the directory holds. What is damaged is left out, and named in [`Inspection::problems`].
    ///
    /// Positions are found by reading the whole log, which takes as long as that does and can be left out. `progress` is
    /// told of it from time to time.
    ///
    /// # Errors
    /// [`InspectError::Io`], or [`InspectError::Log`] with an error of the file system.
    pub fn inspect(
        &self,
        with_positions: bool,
        mut progress: impl FnMut(Progress),
    ) -> Result<Inspection, InspectError> {
        inspection::inspect(self, with_positions, &mut progress)
    }

    /// The committed requests with these positions, as far as the log holds them, in order. Reads the log from its first entry
    /// on, or from the oldest snapshot where it was cut, because positions are given by applying (requests that were retries or
    /// refused get none). `progress` is told of it
    /// from time to time.
    ///
    /// Positions do not depend on what the model answered, so no model is needed.
    ///
    /// # Errors
    /// [`InspectError::NoPositions`] if the limits of sessions are not known, or the log was cut and no sound snapshot
    /// stands in for the rest; [`InspectError::Damaged`], [`InspectError::Log`], [`InspectError::Io`]. The iterator ends with its first
    /// error.
    pub fn requests<'p>(
        &self,
        positions: RangeInclusive<u64>,
        progress: impl FnMut(Progress) + 'p,
    ) -> Result<Requests<'p>, InspectError> {
        replay::requests(self, positions, Box::new(progress))
    }

    /// Reads everything, and checks every checksum, that each batch and segment follows the one before it, that indexes are
    /// dense and terms never fall, that nothing committed was overwritten, and that the log holds what it had once synced; and
    /// every snapshot.
    /// `progress` is told of it from time to time.
    ///
    /// # Errors
    /// [`InspectError::Io`], or [`InspectError::Log`] with an error of the file system. Damage is a [`Verdict`].
    pub fn verify(&self, mut progress: impl FnMut(Progress)) -> Result<Verification, InspectError> {
        verification::verify(self, &mut progress)
    }
}

/// Shares the lock with others who look. Where there is no such file no node has ever run, and none is made.
fn lock(path: &Path) -> Result<Option<File>, InspectError> {
    let file = path.join(directory::LOCK);
    let lock = match File::open(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(InspectError::io(&file))?,
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Err(InspectError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(InspectError::io(&file)(error)),
    }
}
