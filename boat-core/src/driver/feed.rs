//! Committed entries on their way from the driver to the applier.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::log::LogEntry;

/// The bytes of entries that wait in memory, at most. A slower applier reads them from the log instead.
const FEED_BYTES_MAX: usize = 32 << 20;

#[derive(Debug, Default)]
struct Waiting {
    /// Contiguous, up to `committed`; empty when the applier has to catch up from the log.
    entries: VecDeque<LogEntry>,
    bytes: usize,
    committed: u64,
    /// Whether the applier may take anything: only a member's may, which has heard of all decisions.
    is_open: bool,
    look_again: bool,
    /// A snapshot as of this entry is about to take the log's place.
    awaited: u64,
    /// A snapshot was installed as of this entry: what stands before it is not in the log any more.
    installed: u64,
    stopped: bool,
}

/// What the applier pulls from.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

/// What the applier gets.
#[derive(Debug)]
pub(crate) enum Pulled {
    /// The next entries; none when only something else has changed.
    Entries(Vec<LogEntry>),
    /// They are in the log, up to and including this index.
    InLog(u64),
    /// They are not in the log any more: a snapshot stands in for them.
    Installed,
    /// There is nothing more to come.
    Stopped,
}

impl Feed {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says up to where the log was committed when it was opened.
    pub(crate) fn start(&self, committed: u64) {
        self.lock().committed = committed;
        self.changed.notify_one();
    }

    /// The node is a member: the applier may begin.
    pub(crate) fn open(&self) {
        self.lock().is_open = true;
        self.changed.notify_one();
    }

    /// Hands over the next committed entries.
    pub(crate) fn push(&self, entries: Vec<LogEntry>) {
        let mut waiting = self.lock();
        let Some(last) = entries.last() else { return };
        waiting.committed = last.index;
        let bytes: usize = entries.iter().map(|entry| entry.data.len()).sum();
        if waiting.bytes + bytes > FEED_BYTES_MAX {
            waiting.entries.clear();
            waiting.bytes = 0;
        } else {
            waiting.bytes += bytes;
            waiting.entries.extend(entries);
        }
        drop(waiting);
        self.changed.notify_one();
    }

    /// A snapshot as of `index` is about to take the log's place. Nothing is applied until it has.
    pub(crate) fn await_install(&self, index: u64) {
        let mut waiting = self.lock();
        if index > waiting.committed {
            waiting.awaited = waiting.awaited.max(index);
        }
    }

    /// Whether the entry at `index` is behind a snapshot that takes the log's place.
    pub(crate) fn awaits_install(&self, index: u64) -> bool {
        self.lock().awaited >= index
    }

    /// A snapshot as of `index` took the log's place: the applier goes on from there.
    pub(crate) fn install(&self, index: u64) {
        let mut waiting = self.lock();
        waiting.installed = waiting.installed.max(index);
        waiting.committed = waiting.committed.max(index);
        drop(waiting);
        self.changed.notify_one();
    }

    /// Wakes the applier, though nothing new is there.
    pub(crate) fn look_again(&self) {
        self.lock().look_again = true;
        self.changed.notify_one();
    }

    /// Stops the applier.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_one();
    }

    /// Whether [`Feed::stop`] was called.
    pub(crate) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// How many bytes of entries wait in memory.
    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// The last committed entry.
    pub(crate) fn committed(&self) -> u64 {
        self.lock().committed
    }

    /// Waits for the entry at `next` and takes what is there from it on, at most about `bytes_max`.
    pub(crate) async fn pull(&self, next: u64, bytes_max: usize) -> Pulled {
        loop {
            // Made before looking: a push in between is not missed.
            let changed = self.changed.notified();
            if let Some(pulled) = self.try_pull(next, bytes_max) {
                return pulled;
            }
            changed.await;
        }
    }

    fn try_pull(&self, next: u64, bytes_max: usize) -> Option<Pulled> {
        let mut waiting = self.lock();
        if waiting.stopped {
            return Some(Pulled::Stopped);
        }
        if waiting.awaited >= next {
            return (waiting.installed >= waiting.awaited).then_some(Pulled::Installed);
        }
        if std::mem::take(&mut waiting.look_again) {
            return Some(Pulled::Entries(Vec::new()));
        }
        if !waiting.is_open {
            return None;
        }
        while waiting.entries.front().is_some_and(|entry| entry.index < next) {
            waiting.pop();
        }
        if waiting.entries.front().is_none_or(|entry| entry.index > next) {
            return (next <= waiting.committed).then_some(Pulled::InLog(waiting.committed));
        }
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while bytes < bytes_max
            && let Some(entry) = waiting.pop()
        {
            bytes += entry.data.len();
            taken.push(entry);
        }
        Some(Pulled::Entries(taken))
    }

    /// Waits until there is nothing more to come.
    pub(crate) async fn stopped(&self) {
        loop {
            let changed = self.changed.notified();
            if self.is_stopped() {
                return;
            }
            changed.await;
        }
    }
}

impl Waiting {
    fn pop(&mut self) -> Option<LogEntry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.data.len();
        Some(entry)
    }
}
