//! Keeps an eye on the disk's free space: below a reserve nothing new is accepted (design D10).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::shared::Shared;
use super::{Event, now};
use crate::log::files::Files;

/// How often the disk is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Looks at the free space of one directory's disk, no more often than it has to.
#[derive(Debug)]
pub(crate) struct FreeSpace {
    files: Arc<dyn Files>,
    directory: PathBuf,
    bytes_min: u64,
    looked: Option<Instant>,
}

impl FreeSpace {
    pub(crate) fn new(files: Arc<dyn Files>, directory: PathBuf, bytes_min: u64) -> Self {
        FreeSpace { files, directory, bytes_min, looked: None }
    }

    /// Whether a write to this disk may take a while.
    pub(crate) fn may_wait(&self) -> bool {
        self.files.may_wait()
    }

    /// Raises the alarm or takes it back, where the disk was not looked at lately.
    pub(crate) fn look(&mut self, shared: &Shared) {
        let time = now();
        if self.bytes_min == 0 || self.looked.is_some_and(|looked| time < looked + LOOK_EVERY) {
            return;
        }
        self.looked = Some(time);
        // A disk that does not tell is judged by its writes.
        let Ok(free_bytes) = self.files.free_bytes(&self.directory) else { return };
        let full = free_bytes < self.bytes_min;
        if shared.disk_full.swap(full, Ordering::AcqRel) == full {
            return;
        }
        let (node, bytes_min) = (shared.node, self.bytes_min);
        match full {
            true => log::error!(
                "node {node}: {free_bytes} bytes are free on the disk, at least {bytes_min} must be: nothing new is \
                 accepted until there is more space"
            ),
            false => log::info!("node {node}: there is space on the disk again"),
        }
        shared.inbox.push(Event::DiskFull(full));
        shared.changed();
    }
}
