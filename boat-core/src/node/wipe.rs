//! Wiping a node on purpose: `POST /control {"cmd":"exit"}` (design D13).

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Interface, Node};
use crate::WipeError;
use crate::directory::{Directory, STALE};
use crate::driver::Event;
use crate::log::files::RealFiles;

/// How long a leader is looked for, or another one waited for, before a wipe is refused.
const ASK_MAX: Duration = Duration::from_secs(5);

impl<I: Interface> Node<I> {
    /// Asks whether the others can do without what is on this node's disk, and hands leadership over first if it leads.
    ///
    /// # Errors
    /// [`WipeError`]: the node must stay as it is.
    pub async fn prepare_wipe(&self) -> Result<(), WipeError> {
        let (verdict, answer) = oneshot::channel();
        let asked = Instant::now();
        self.inner.shared.inbox.push(Event::MayLeave { within: ASK_MAX, verdict });
        match answer.await {
            Ok(Some(true)) => Ok(()),
            Ok(Some(false)) => Err(WipeError::WouldLoseQuorum),
            Ok(None) | Err(_) => Err(WipeError::NoLeader(asked.elapsed())),
        }
    }

    /// Deletes the node's directory and kills this process with signal 9: what a lost machine looks like to the others.
    /// To be called only after [`Node::prepare_wipe`] said that they can do without it.
    pub fn wipe_and_kill(&self) {
        // The driver must have ended before its files go: nothing may be promised on a disk that is being deleted.
        self.inner.shared.stopping.store(true, Ordering::Release);
        self.inner.shared.inbox.push(Event::Stop { gracefully: false });
        self.inner.end_threads();
        let path = &self.inner.config.data_dir;
        let marked = Directory::mark_stale(&RealFiles, path, "the node was wiped on request");
        if let Err(error) = marked.map_err(|error| error.to_string()).and_then(|()| remove(path)) {
            log::error!("node {}: could not delete {}: {error}", self.id(), path.display());
        }
        log::warn!("node {}: wiped, killing itself", self.id());
        kill_own_process();
    }
}

/// Deletes a directory that is marked stale; the mark goes last, so that what is left after a crash is not taken for whole.
fn remove(path: &Path) -> Result<(), String> {
    let entries = std::fs::read_dir(path).map_err(|error| error.to_string())?;
    for entry in entries.flatten().filter(|entry| entry.file_name() != STALE) {
        let path = entry.path();
        let removed =
            if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    std::fs::remove_dir_all(path).map_err(|error| error.to_string())
}

#[cfg(unix)]
fn kill_own_process() {
    use rustix::process::{Signal, getpid, kill_process};
    if let Err(error) = kill_process(getpid(), Signal::KILL) {
        log::error!("could not kill this process: {error}");
    }
}

#[cfg(not(unix))]
fn kill_own_process() {
    std::process::abort();
}
