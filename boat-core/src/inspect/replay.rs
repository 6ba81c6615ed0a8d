//! Positions, found as a node finds them: by running the applier's bookkeeping over the committed entries.

use std::collections::VecDeque;
use std::fmt;
use std::ops::RangeInclusive;

use bytes::Bytes;

use super::{InspectError, Progress, RequestRecord, StoppedDirectory, snapshots};
use crate::apply::{Applied, Applier, Batch, SessionLimits};
use crate::directory::{self, GENESIS};
use crate::log::files::ReadOnlyFiles;
use crate::log::{EntryKind, LogEntry, Scan, StoppedLog};
use crate::{CallOutcome, Command, Malformed};

/// A replay without a model: every call has an empty output.
pub(super) struct Replay<'p> {
    /// `None` when there is nothing to read.
    scan: Option<Scan>,
    entries: VecDeque<LogEntry>,
    block: Vec<LogEntry>,
    applier: Applier,
    batch: Batch,
    bytes_total: u64,
    progress: Box<dyn FnMut(Progress) + 'p>,
}

/// One entry after it was applied.
pub(super) struct Replayed {
    pub(super) entry: LogEntry,
    /// The position that each of its requests got; `None` for retries and for what was refused.
    pub(super) positions: Vec<Option<u64>>,
    pub(super) time_ms: u64,
}

impl<'p> Replay<'p> {
    pub(super) fn new(
        stopped: &StoppedDirectory,
        log: Option<&StoppedLog>,
        progress: Box<dyn FnMut(Progress) + 'p>,
    ) -> Result<Self, InspectError> {
        let limits = limits(stopped)?;
        let commit = log.map_or(0, |log| log.state.hard_state.commit);
        let applier = match log {
            Some(log) if log.reader.first_index() > 1 => {
                snapshots::applier(stopped, (log.reader.first_index() - 1, commit), limits)?
            }
            _ => Applier::new(limits),
        };
        let scan = match log {
            Some(log) if commit > applier.index() => {
                Some(log.reader.scan_ahead(applier.index() + 1, commit + 1)?)
            }
            _ => None,
        };
        let committed = log.iter().flat_map(|log| &log.spans).filter(|span| span.first_index <= commit);
        let bytes_total = committed.map(|span| span.end_offset.saturating_sub(span.offset)).sum();
        let (entries, block, batch) = (VecDeque::new(), Vec::new(), Batch::default());
        Ok(Replay { scan, entries, block, applier, batch, bytes_total, progress })
    }

    /// The position of the last request that was applied.
    pub(super) fn position(&self) -> u64 {
        self.applier.position()
    }

    /// Applies the next entry.
    pub(super) fn next(&mut self) -> Result<Option<Replayed>, InspectError> {
        if self.entries.is_empty() {
            let Some(scan) = &mut self.scan else { return Ok(None) };
            scan.next_block(&mut self.block)?;
            self.entries.extend(self.block.drain(..));
            (self.progress)(Progress { bytes: scan.bytes(), bytes_total: self.bytes_total });
        }
        self.entries.pop_front().map(|entry| self.apply(entry)).transpose()
    }

    fn apply(&mut self, entry: LogEntry) -> Result<Replayed, InspectError> {
        let Replay { applier, batch, .. } = self;
        let index = entry.index;
        applier.admit(batch, &entry).map_err(|why| InspectError::Entry { index, why })?;
        let outcomes = vec![CallOutcome::Output(Bytes::new()); batch.calls.len()];
        let mut positions = Vec::with_capacity(batch.requests());
        applier.complete(batch, outcomes, |_, _, applied| {
            positions.push(match applied {
                Applied { result: Ok(outcome), replayed: false } => Some(outcome.position),
                _ => None,
            });
        });
        Ok(Replayed { entry, positions, time_ms: applier.time_ms() })
    }
}

/// The limits that decide which requests are applied.
fn limits(stopped: &StoppedDirectory) -> Result<SessionLimits, InspectError> {
    let path = &stopped.path;
    let genesis = directory::genesis(&ReadOnlyFiles, path);
    let genesis = genesis.map_err(InspectError::reading(&path.join(GENESIS)))?;
    let (genesis, _) =
        genesis.ok_or(InspectError::NoPositions("there is no genesis with the limits of sessions"))?;
    Ok(genesis.limits)
}

/// Requests by position. Made by [`StoppedDirectory::requests`].
pub struct Requests<'p> {
    replay: Replay<'p>,
    positions: RangeInclusive<u64>,
    /// Those of the last entry that were not given out yet.
    waiting: VecDeque<RequestRecord>,
    has_failed: bool,
}

pub(super) fn requests<'p>(
    stopped: &StoppedDirectory,
    positions: RangeInclusive<u64>,
    progress: Box<dyn FnMut(Progress) + 'p>,
) -> Result<Requests<'p>, InspectError> {
    let log = stopped.log()?;
    let replay = Replay::new(stopped, log.as_ref(), progress)?;
    Ok(Requests { replay, positions, waiting: VecDeque::new(), has_failed: false })
}

impl Requests<'_> {
    /// The last position that was come by: once the iterator has ended before the range did, that of the last request.
    pub fn position(&self) -> u64 {
        self.replay.position()
    }

    fn fill(&mut self) -> Result<(), InspectError> {
        while self.waiting.is_empty() && self.replay.position() < *self.positions.end() {
            let Some(replayed) = self.replay.next()? else { break };
            if self.replay.position() >= *self.positions.start() {
                let index = replayed.entry.index;
                self.take(replayed).map_err(|why| InspectError::Entry { index, why })?;
            }
        }
        Ok(())
    }

    fn take(&mut self, replayed: Replayed) -> Result<(), Malformed> {
        let Replayed { entry, positions, time_ms } = replayed;
        if entry.kind != EntryKind::Normal || entry.data.is_empty() {
            return Ok(());
        }
        let command = Command::decode(&entry.data)?;
        for (request, position) in command.requests.into_iter().zip(positions) {
            let Some(position) = position.filter(|position| self.positions.contains(position)) else {
                continue;
            };
            let (index, term) = (entry.index, entry.term);
            let (kind, origin, body) = (request.kind, request.origin, request.body);
            self.waiting.push_back(RequestRecord { position, index, term, kind, origin, time_ms, body });
        }
        Ok(())
    }
}

impl Iterator for Requests<'_> {
    type Item = Result<RequestRecord, InspectError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        if let Err(error) = self.fill() {
            self.has_failed = true;
            return Some(Err(error));
        }
        self.waiting.pop_front().map(Ok)
    }
}

impl fmt::Debug for Requests<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("positions", &self.positions).finish_non_exhaustive()
    }
}
