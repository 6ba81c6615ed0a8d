//! Reads old entries for followers that lag behind, so that the driver never waits for the disk; and no faster than leaves
//! room for everybody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::shared::Shared;
use super::{Event, now};
use crate::log::{LogEntry, LogError, LogReader};
use crate::replica::FETCHES_MAX;

/// How often is looked at how much is appended.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// How much faster than others append who lags is caught up with, at least.
const AHEAD_OF_APPENDS: u64 = 2;

/// A range of the log, by index, and how many bytes of it to read at the most. An empty range waits for its turn only.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fetch {
    pub(crate) low: u64,
    pub(crate) high: u64,
    pub(crate) bytes_max: u64,
}

/// The asking side of the thread that reads. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct FetchThread {
    fetches: Option<SyncSender<Fetch>>,
    /// The bytes that were ever appended to the log.
    appended: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl FetchThread {
    pub(crate) fn start(
        reader: LogReader,
        shared: Arc<Shared>,
        bytes_per_second: u64,
    ) -> std::io::Result<Self> {
        let (fetches, asked) = sync_channel::<Fetch>(FETCHES_MAX);
        let appended = Arc::<AtomicU64>::default();
        let name = format!("boat-{}-fetch", shared.node);
        let mut pace = Pace::new(bytes_per_second, appended.clone(), now());
        #[expect(
            clippy::disallowed_methods,
            reason = "a thread that only reads: the driver must not wait for the disk"
        )]
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            for fetch in asked {
                wait(pace.wait(fetch.bytes_max, now()), &shared);
                match read(&reader, fetch) {
                    Ok(entries) => shared.inbox.push(Event::Fetched { low: fetch.low, entries }),
                    Err(error) => return shared.inbox.push(super::unreadable(&error)),
                }
            }
        })?;
        Ok(FetchThread { fetches: Some(fetches), appended, thread: Some(thread) })
    }

    /// Asks for a range. Does not wait: the replica has no more than [`FETCHES_MAX`] of them under way.
    pub(crate) fn ask(&self, fetch: Fetch) {
        if let Some(fetches) = &self.fetches {
            // When the thread is gone, why is in the inbox.
            let _ = fetches.send(fetch);
        }
    }

    /// So many bytes were appended to the log: others must not lag behind for ever.
    pub(crate) fn appended(&self, bytes: usize) {
        self.appended.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Ends the thread, which does not wait any more once the node stops.
    pub(crate) fn finish(&mut self) {
        self.fetches = None;
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                log::error!("the fetch thread panicked");
            }
        }
    }
}

fn read(reader: &LogReader, Fetch { low, high, bytes_max }: Fetch) -> Result<Vec<LogEntry>, LogError> {
    if low == high {
        return Ok(Vec::new());
    }
    match reader.entries(low, high, bytes_max) {
        // It was cut off meanwhile: a snapshot stands in for it.
        Err(LogError::OutOfRange { .. }) => Ok(Vec::new()),
        read => read,
    }
}

fn wait(mut left: Duration, shared: &Shared) {
    let until = now() + left;
    while !left.is_zero() && !shared.stopping.load(Ordering::Acquire) {
        std::thread::park_timeout(left);
        left = until.saturating_duration_since(now());
    }
}

/// When the next range's turn is.
#[derive(Debug)]
struct Pace {
    bytes_per_second_min: u64,
    bytes_per_second: u64,
    appended: Arc<AtomicU64>,
    /// When was last looked at what is appended, and what it was then.
    measured: (Instant, u64),
    /// From when on the next range may be read.
    next: Instant,
}

impl Pace {
    fn new(bytes_per_second: u64, appended: Arc<AtomicU64>, now: Instant) -> Pace {
        Pace {
            bytes_per_second_min: bytes_per_second.max(1),
            bytes_per_second: bytes_per_second.max(1),
            appended,
            measured: (now, 0),
            next: now,
        }
    }

    /// How long so many bytes have to wait.
    fn wait(&mut self, bytes: u64, now: Instant) -> Duration {
        let (at, before) = self.measured;
        let took = now.saturating_duration_since(at);
        if took >= MEASURE_EVERY {
            let appended = self.appended.load(Ordering::Relaxed);
            let per_second = u128::from(appended - before) * 1_000 / took.as_millis().max(1);
            let per_second = u64::try_from(per_second).unwrap_or(u64::MAX).saturating_mul(AHEAD_OF_APPENDS);
            self.bytes_per_second = per_second.max(self.bytes_per_second_min);
            self.measured = (now, appended);
        }
        let turn = self.next.max(now);
        self.next = turn + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        turn - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_wait_for_those_before_them() {
        let began = now();
        let mut pace = Pace::new(1_000, Arc::default(), began);
        assert_eq!(pace.wait(100, began), Duration::ZERO);
        assert_eq!(pace.wait(100, began), Duration::from_millis(100));
        assert_eq!(pace.wait(100, began + Duration::from_millis(150)), Duration::from_millis(50));
        assert_eq!(pace.wait(100, began + Duration::from_millis(900)), Duration::ZERO, "nothing is saved up");
        assert_eq!(pace.wait(100, began + Duration::from_millis(900)), Duration::from_millis(100));
    }

    #[test]
    fn who_lags_comes_nearer_whatever_is_appended() {
        let (began, appended) = (now(), Arc::<AtomicU64>::default());
        let mut pace = Pace::new(1_000, appended.clone(), began);
        appended.store(2_000, Ordering::Relaxed);
        let later = began + MEASURE_EVERY;
        assert_eq!(pace.wait(4_000, later), Duration::ZERO);
        assert_eq!(pace.wait(1, later), Duration::from_secs(1), "twice as fast as 2,000 bytes a second");
    }
}
