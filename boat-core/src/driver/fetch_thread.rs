//! Reads old entries for followers that lag behind, so that the driver never waits for the disk.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::Event;
use super::shared::Shared;
use crate::log::{LogError, LogReader};
use crate::replica::FETCHES_MAX;

/// A range of the log, by index, and how many bytes of it to read at the most.
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
    thread: Option<JoinHandle<()>>,
}

impl FetchThread {
    pub(crate) fn start(reader: LogReader, shared: Arc<Shared>) -> std::io::Result<Self> {
        let (fetches, asked) = sync_channel::<Fetch>(FETCHES_MAX);
        let name = format!("boat-{}-fetch", shared.node);
        #[expect(
            clippy::disallowed_methods,
            reason = "a thread that only reads: the driver must not wait for the disk"
        )]
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            for Fetch { low, high, bytes_max } in asked {
                match reader.entries(low, high, bytes_max) {
                    Ok(entries) => shared.inbox.push(Event::Fetched { low, entries }),
                    // It was cut off meanwhile: a snapshot stands in for it.
                    Err(LogError::OutOfRange { .. }) => {
                        shared.inbox.push(Event::Fetched { low, entries: Vec::new() });
                    }
                    Err(error) => return shared.inbox.push(super::unreadable(&error)),
                }
            }
        })?;
        Ok(FetchThread { fetches: Some(fetches), thread: Some(thread) })
    }

    /// Asks for a range. Does not wait: the replica has no more than [`FETCHES_MAX`] of them under way.
    pub(crate) fn ask(&self, fetch: Fetch) {
        if let Some(fetches) = &self.fetches {
            // When the thread is gone, why is in the inbox.
            let _ = fetches.send(fetch);
        }
    }

    /// Ends the thread.
    pub(crate) fn finish(&mut self) {
        self.fetches = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the fetch thread panicked");
        }
    }
}
