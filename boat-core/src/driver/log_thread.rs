//! Who writes the log: a thread that takes whatever writes have gathered and syncs once for all of them, or the driver
//! itself, where it has nothing else to do than to wait for its own small write.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

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
/// The bytes of entries that the driver writes itself at once, at most: a few milliseconds on a slow disk.
const INLINE_BYTES_MAX: usize = 256 << 10;

/// A write on its way to the disk.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) mark: u64,
    pub(crate) write: Box<LogWrite>,
    pub(crate) sync: bool,
}

impl Write {
    pub(super) fn bytes(&self) -> usize {
        self.write.entries.iter().map(|entry| entry.data.len()).sum()
    }
}

/// The log and the eye on its disk. Held by whoever writes.
#[derive(Debug)]
struct Writer {
    log: Log,
    space: FreeSpace,
    /// Where a clock began that does not go back; the machine's may.
    started: Instant,
    shared: Arc<Shared>,
}

impl Writer {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Makes what was appended durable, or only readable.
    fn finish(&mut self, sync: bool) -> Result<(), LogError> {
        if !sync {
            return self.log.flush();
        }
        self.shared.wellbeing.sync_begins();
        self.log.sync(self.now_ms())?;
        self.shared.wellbeing.sync_ended();
        Ok(())
    }
}

/// The driver's side of the log. Dropping it ends the thread, after everything was written.
#[derive(Debug)]
pub(crate) struct LogThread {
    writer: Arc<Mutex<Writer>>,
    writes: Option<SyncSender<Write>>,
    /// How many writes the thread was given and has not finished.
    unfinished: Arc<AtomicUsize>,
    shared: Arc<Shared>,
    may_wait: bool,
    thread: Option<JoinHandle<()>>,
}

impl LogThread {
    pub(crate) fn start(log: Log, space: FreeSpace, shared: Arc<Shared>) -> std::io::Result<Self> {
        let may_wait = space.may_wait();
        let (writes, receiver) = sync_channel(WRITES_MAX);
        let writer = Arc::new(Mutex::new(Writer { log, space, started: now(), shared: shared.clone() }));
        let unfinished = Arc::<AtomicUsize>::default();
        let name = format!("boat-{}-log", shared.node);
        let thread =
            LogLoop { writer: writer.clone(), unfinished: unfinished.clone(), shared: shared.clone() };
        #[expect(
            clippy::disallowed_methods,
            reason = "the log's own thread: the driver must not wait for the disk"
        )]
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            if let Err(error) = thread.run(&receiver) {
                thread.shared.inbox.push(Event::StorageFailed(error.to_string()));
            }
        })?;
        Ok(LogThread { writer, writes: Some(writes), unfinished, shared, may_wait, thread: Some(thread) })
    }

    /// Queues writes. When the thread has ended, why is in the inbox.
    pub(crate) fn write(&self, writes: impl IntoIterator<Item = Write>) {
        let Some(queue) = &self.writes else { return };
        for write in writes {
            self.unfinished.fetch_add(1, Ordering::AcqRel);
            let _ = queue.send(write);
        }
    }

    /// Whether a write may wait for a disk.
    pub(crate) fn may_wait(&self) -> bool {
        self.may_wait
    }

    /// Writes and syncs in the calling thread, which spares two changes of threads, and gives the last mark. Where other
    /// writes are under way, these are many bytes, or the disk is full, they are queued instead: `None`.
    ///
    /// Where a write may wait for a disk, only for a driver for whom nothing depends on its going on: a leader's followers wait
    /// for its heartbeats.
    ///
    /// # Errors
    /// The log cannot be written any more.
    pub(crate) fn write_here(&self, writes: Vec<Write>) -> Result<Option<u64>, LogError> {
        let bytes: usize = writes.iter().map(Write::bytes).sum();
        let is_idle = self.unfinished.load(Ordering::Acquire) == 0;
        let writer = self.writer.try_lock().ok().filter(|_| is_idle && bytes <= INLINE_BYTES_MAX);
        let Some(mut writer) = writer else {
            self.write(writes);
            return Ok(None);
        };
        writer.space.look(&self.shared);
        let (mut mark, mut sync) = (None, false);
        let mut writes = writes.into_iter();
        for write in writes.by_ref() {
            match writer.log.append(&write.write) {
                Ok(()) => (mark, sync) = (Some(write.mark), sync || write.sync),
                Err(LogError::Full { .. }) => {
                    // The thread waits for space.
                    self.write([write]);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        writer.finish(sync)?;
        drop(writer);
        self.write(writes);
        Ok(mark)
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

/// What the thread runs.
struct LogLoop {
    writer: Arc<Mutex<Writer>>,
    unfinished: Arc<AtomicUsize>,
    shared: Arc<Shared>,
}

impl LogLoop {
    /// A log whose writer panicked is poisoned by itself where that matters.
    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, writes: &Receiver<Write>) -> Result<(), LogError> {
        loop {
            self.lock().space.look(&self.shared);
            let first = match writes.recv_timeout(SILENT_AFTER) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    let mut writer = self.lock();
                    let now_ms = writer.now_ms();
                    writer.log.sync_watermark(now_ms)?;
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let (mut mark, mut sync, mut finished) = (first.mark, first.sync, 1);
            let mut writer = self.lock();
            if !self.append(&mut writer, &first.write)? {
                return Ok(());
            }
            for next in writes.try_iter().take(WRITES_MAX) {
                if !self.append(&mut writer, &next.write)? {
                    return Ok(());
                }
                (mark, sync, finished) = (next.mark, sync || next.sync, finished + 1);
            }
            writer.finish(sync)?;
            drop(writer);
            self.unfinished.fetch_sub(finished, Ordering::AcqRel);
            self.shared.inbox.push_persisted(mark);
        }
        let mut writer = self.lock();
        writer.finish(true)
    }

    /// Appends, waiting for space where the disk is full: what is not written is never acknowledged, so nothing is lost by
    /// waiting. False: the node stops, and the write was not made.
    fn append(&self, writer: &mut Writer, write: &LogWrite) -> Result<bool, LogError> {
        let mut said = false;
        loop {
            match writer.log.append(write) {
                Ok(()) => return Ok(true),
                Err(error @ LogError::Full { .. }) => {
                    if self.shared.stopping.load(Ordering::Acquire) {
                        return Ok(false);
                    }
                    if !std::mem::replace(&mut said, true) {
                        log::error!("node {}: {error}; waiting for space", self.shared.node);
                    }
                    // The disk may have been filled at once, before anybody looked.
                    writer.space.look(&self.shared);
                    std::thread::park_timeout(FULL_DISK_AGAIN);
                }
                Err(error) => return Err(error),
            }
        }
    }
}
