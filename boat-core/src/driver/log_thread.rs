//! The only thread that writes the log: takes whatever writes have gathered, and syncs once for all of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::free_space::FreeSpace;
use super::shared::Shared;
use super::{Event, now};
use crate::log::{Log, LogError, LogWrite};

/// How many writes may wait for the disk. The driver waits beyond that; uncommitted bytes bound it far earlier.
const WRITES_MAX: usize = 4_096;
/// After how long without a write the watermark is synced and the disk looked at.
const SILENT_AFTER: Duration = Duration::from_secs(1);
/// How often a full disk is tried again.
const FULL_DISK_AGAIN: Duration = Duration::from_millis(100);

/// A write on its way to the disk.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) mark: u64,
    pub(crate) write: LogWrite,
    pub(crate) sync: bool,
}

/// The sending side of the log thread. Dropping it ends the thread, after everything was written.
#[derive(Debug)]
pub(crate) struct LogThread {
    writes: Option<SyncSender<Write>>,
    thread: Option<JoinHandle<()>>,
}

impl LogThread {
    pub(crate) fn start(log: Log, space: FreeSpace, shared: Arc<Shared>) -> std::io::Result<Self> {
        let (writes, receiver) = sync_channel(WRITES_MAX);
        let name = format!("boat-{}-log", shared.node);
        #[expect(
            clippy::disallowed_methods,
            reason = "the log's own thread: the driver must not wait for the disk"
        )]
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            if let Err(error) = run(log, space, &receiver, &shared) {
                shared.inbox.push(Event::StorageFailed(error.to_string()));
            }
        })?;
        Ok(LogThread { writes: Some(writes), thread: Some(thread) })
    }

    /// Queues a write. False: the thread has ended, after it said why.
    pub(crate) fn write(&self, write: Write) -> bool {
        self.writes.as_ref().is_some_and(|writes| writes.send(write).is_ok())
    }

    /// Waits until everything is written, and ends the thread.
    pub(crate) fn finish(&mut self) {
        self.writes = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the log thread panicked");
        }
    }
}

fn run(
    mut log: Log,
    mut space: FreeSpace,
    writes: &Receiver<Write>,
    shared: &Shared,
) -> Result<(), LogError> {
    // A clock that does not go back; the machine's may.
    let started = now();
    let now_ms = || u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    loop {
        space.look(shared);
        let first = match writes.recv_timeout(SILENT_AFTER) {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => {
                log.sync_watermark(now_ms())?;
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let (mut mark, mut sync) = (first.mark, first.sync);
        if !append(&mut log, &first.write, shared)? {
            return Ok(());
        }
        for next in writes.try_iter().take(WRITES_MAX) {
            if !append(&mut log, &next.write, shared)? {
                return Ok(());
            }
            (mark, sync) = (next.mark, sync || next.sync);
        }
        if sync {
            shared.wellbeing.sync_begins();
            log.sync(now_ms())?;
            shared.wellbeing.sync_ended();
        } else {
            log.flush()?;
        }
        shared.inbox.push(Event::Persisted(mark));
    }
    log.sync(now_ms())
}

/// Appends, waiting for space where the disk is full: what is not written is never acknowledged, so nothing is lost by
/// waiting. False: the node stops, and the write was not made.
fn append(log: &mut Log, write: &LogWrite, shared: &Shared) -> Result<bool, LogError> {
    let mut said = false;
    loop {
        match log.append(write) {
            Ok(()) => return Ok(true),
            Err(error @ LogError::Full { .. }) => {
                if shared.stopping.load(Ordering::Acquire) {
                    return Ok(false);
                }
                if !std::mem::replace(&mut said, true) {
                    log::error!("node {}: {error}; waiting for space", shared.node);
                }
                std::thread::park_timeout(FULL_DISK_AGAIN);
            }
            Err(error) => return Err(error),
        }
    }
}
