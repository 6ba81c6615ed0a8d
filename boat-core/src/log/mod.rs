//! The durable log: one append-only set of segments holding entries, hard state and membership.
//!
//! [`Log`] is the write half: what is appended gathers, one sync makes all of it durable, and the first failure ends it.
//! [`LogReader`] is the read half: it fetches entries for followers and scans them for replay, from any thread.
//! [`files`] is the seam to the disk, which tests replace. The files themselves are drawn in `docs/log-format.md`.
//!
//! ```
//! use std::sync::Arc;
//! use boat_core::Membership;
//! use boat_core::log::{EntryKind, HardState, Log, LogConfig, LogEntry, LogWrite, files::RealFiles};
//!
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path();
//! let genesis = Membership::default();
//! let (mut log, _) = Log::open(Arc::new(RealFiles), directory, LogConfig::default(), genesis.clone())?;
//! let entry = LogEntry { index: 1, term: 1, kind: EntryKind::Normal, data: "hello".into() };
//! let hard_state = HardState { term: 1, vote: 1, commit: 0 };
//! log.append(&LogWrite { entries: vec![entry.clone()], hard_state: Some(hard_state), ..LogWrite::default() })?;
//! log.sync(0)?;
//! assert_eq!(log.reader().entries(1, 2, u64::MAX)?, [entry.clone()]);
//! drop(log);
//!
//! let (_, recovered) = Log::open(Arc::new(RealFiles), directory, LogConfig::default(), genesis)?;
//! assert_eq!(recovered.hard_state, hard_state);
//! assert_eq!(recovered.tail, [entry]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ahead;
mod blocks;
mod catalog;
mod config;
mod entry;
mod error;
pub mod files;
mod format;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod reader;
mod recover;
mod scan;
mod segment;
mod state;
mod stopped;
mod tail;
mod verify;
mod walk;
mod watermark;
mod writer;

pub use config::LogConfig;
pub use entry::{EntryKind, HardState, LogEntry, LogStart, LogWrite};
pub use error::LogError;
pub(crate) use format::membership;
pub use reader::LogReader;
pub use recover::Recovered;
pub use scan::Scan;
pub(crate) use stopped::{SegmentFile, StoppedLog};
pub(crate) use verify::Verified;
pub use watermark::Watermark;
pub use writer::Log;
