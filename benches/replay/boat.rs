//! Boat's log, scanned and replayed.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use benches::{Result, Shape, Workload};
use boat_core::apply::{Applier, Batch, SessionLimits};
use boat_core::log::files::RealFiles;
use boat_core::log::{EntryKind, HardState, Log, LogConfig, LogEntry, LogReader, LogWrite};
use boat_core::{Call, CallOutcome, Membership};
use bytes::Bytes;

use crate::WRITE_REQUESTS;
use crate::decode::Decode;

/// As many calls as a node hands to its predictor at once, about.
const BATCH_CALLS_MAX: usize = 1_024;

/// A log that was written.
pub(crate) struct BoatLog {
    reader: LogReader,
    requests: u64,
}

impl BoatLog {
    /// Writes a log of so many writes.
    pub(crate) fn write(directory: &Path, shape: Shape, writes: usize) -> Result<BoatLog> {
        let (files, genesis) = (Arc::new(RealFiles), Membership::default());
        let (mut log, _) = Log::open(files, directory, LogConfig::default(), genesis)?;
        let mut workload = Workload::new(shape);
        let mut index = 0;
        for _ in 0..writes {
            let hard_state = Some(HardState { term: 1, vote: 1, commit: index });
            let entries = (0..WRITE_REQUESTS / shape.entry_requests).map(|_| {
                index += 1;
                LogEntry { index, term: 1, kind: EntryKind::Normal, data: workload.command().into() }
            });
            log.append(&LogWrite { entries: entries.collect(), hard_state, ..LogWrite::default() })?;
        }
        log.sync(0)?;
        Ok(BoatLog { reader: log.reader(), requests: workload.requests() })
    }

    /// Decodes every request.
    pub(crate) fn scan(&self, decode: Decode) -> Result<()> {
        let mut scan = self.reader.scan_ahead(1, self.reader.last_index() + 1)?;
        let (mut entries, mut requests) = (Vec::new(), 0);
        while scan.next_block(&mut entries)? {
            for entry in &entries {
                requests += decode(&entry.data, &entry.data)?;
            }
        }
        self.check(requests)
    }

    /// Applies every request as a node does that starts.
    pub(crate) fn replay(&self) -> Result<()> {
        let mut scan = self.reader.scan_ahead(1, self.reader.last_index() + 1)?;
        let (mut applier, mut batch) = (Applier::new(SessionLimits::default()), Batch::default());
        let mut entries = Vec::new();
        while scan.next_block(&mut entries)? {
            for (n, entry) in entries.iter().enumerate() {
                applier.admit(&mut batch, entry)?;
                if batch.calls.len() >= BATCH_CALLS_MAX || n + 1 == entries.len() {
                    let outcomes: Vec<_> = batch.calls.iter().map(model).collect();
                    applier.complete(&mut batch, outcomes, |_, _, applied| {
                        black_box(applied);
                    });
                }
            }
        }
        black_box(applier.digest());
        self.check(applier.position())
    }

    fn check(&self, requests: u64) -> Result<()> {
        if requests == self.requests { Ok(()) } else { Err(format!("{requests} requests were found").into()) }
    }
}

/// The model that does nothing.
fn model(call: &Call) -> CallOutcome {
    black_box(call);
    CallOutcome::Output(Bytes::new())
}
